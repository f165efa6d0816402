"""The audit: a whole queue passes at any stage, and each sort of damage is found."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import cpu_s
from support import (
    OK,
    Hand,
    add,
    batch,
    batch_of,
    damage,
    file_rows,
    finish,
    ids,
    output_of,
    some_fail,
    worked,
)

from engine import verify
from engine.errors import DamagedError, HeldError, NoQueueError
from engine.model import Kind
from engine.queue.directory import Queue, chunks_in
from engine.queue.id_index import Known
from engine.queue.journal import Journal, encode
from engine.queue.manifest import read_checkpoint
from engine.recovery.repair import repair
from engine.seeding.seed import publish_tokens
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_a_finished_batch_is_whole(tmp_path: Path) -> None:
    queue = worked(tmp_path, 80, some_fail, segments=2)
    found = verify.check(queue.root)
    assert found.jobs == found.rows == 80
    assert sum(found.states.values()) == 80
    assert found.states["pending"] == found.states["deferred"] == 0
    assert found.states["absent"] == found.kinds["private"]
    assert found.files == 2 * found.states["ok"] > 0
    assert found.notes == []
    assert json.loads(json.dumps(found.to_json()))["ok"] is True


def test_an_empty_queue_and_a_fresh_one_are_whole(tmp_path: Path) -> None:
    queue = batch(tmp_path, 0)
    assert verify.check(queue.root).jobs == 0
    add(queue, ids(20))
    assert verify.check(queue.root).states["pending"] == 20
    with pytest.raises(NoQueueError):
        verify.audit(str(tmp_path / "elsewhere"))


def test_a_stopped_run_is_whole_and_the_lag_is_a_note(tmp_path: Path) -> None:
    queue = batch(tmp_path, 64)
    hand = Hand(queue)
    hand.work(1)
    hand.close()
    found = verify.check(queue.root)
    assert (found.states["ok"], found.states["pending"], found.rows) == (16, 48, 0)
    assert "16 row(s) not filed yet" in found.notes
    file_rows(queue)
    assert verify.check(queue.root).rows == 16


def test_waiting_jobs_count_as_deferred(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue, lambda name: 900.0 if name in ids(5) else OK)
    hand.work(1)
    hand.close()
    file_rows(queue)
    found = verify.check(queue.root)
    assert (found.states["deferred"], found.states["ok"]) == (5, 11)


def test_a_killed_worker_leaves_no_damage(tmp_path: Path) -> None:
    queue = batch(tmp_path, 48)
    hand = Hand(queue)
    hand.work(1, sync=False, move=False)
    hand.output.close()
    hand.die()
    file_rows(queue)
    found = verify.check(queue.root)
    assert found.states["ok"] == 16
    assert found.rows == 0


def test_files_of_unpromised_rows_may_be_missing(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue)
    hand.work(1, sync=False, move=False)
    hand.output.close()
    hand.die()
    one = ids(1)[0]
    os.unlink(os.path.join(output_of(queue), one[:2], f"{one}.md"))
    found = verify.check(queue.root)
    assert any("not yet promised" in note for note in found.notes)


def _manifest(change: Callable[[list[str]], list[str]]) -> Callable[[Queue], None]:
    def harm(queue: Queue) -> None:
        with open(queue.manifest, encoding="utf-8") as file:
            lines = file.read().splitlines()
        data = "".join(line + "\n" for line in change(lines)).encode()
        with open(queue.manifest, "wb") as file:
            file.write(data)
        _checkpoint({"length": len(data)})(queue)

    return harm


def _first_row(**fields: object) -> Callable[[Queue], None]:
    return _manifest(lambda lines: [json.dumps({**json.loads(lines[0]), **fields}), *lines[1:]])


def _checkpoint(fields: dict[str, object]) -> Callable[[Queue], None]:
    def harm(queue: Queue) -> None:
        with open(queue.checkpoint, encoding="utf-8") as file:
            value = json.load(file)
        value.update(fields)
        with open(queue.checkpoint, "w", encoding="utf-8") as file:
            json.dump(value, file)

    return harm


def _write(path: Callable[[Queue], str], data: bytes = b"x") -> Callable[[Queue], None]:
    def harm(queue: Queue) -> None:
        os.makedirs(os.path.dirname(path(queue)), exist_ok=True)
        with open(path(queue), "wb") as file:
            file.write(data)

    return harm


def _ok_file(queue: Queue) -> str:
    with open(queue.manifest, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return os.path.join(output_of(queue), next(row for row in rows if row["status"] == "ok")["files"]["md"])


def _failed_id(queue: Queue) -> str:
    with open(queue.manifest, encoding="utf-8") as file:
        return str(next(row for line in file if (row := json.loads(line))["status"] != "ok")["video_id"])


def _left_over(queue: Queue) -> None:
    """A record and a text that this queue wrote for a job that failed in the end."""
    name = _failed_id(queue)
    record = json.dumps({"video_id": name, "batch": batch_of(queue)}).encode()
    _write(lambda q: f"{output_of(q)}/{name[:2]}/{name}.json", record)(queue)
    _write(lambda q: f"{output_of(q)}/{name[:2]}/{name}.md")(queue)


def _swap_for_link(queue: Queue) -> None:
    path = _ok_file(queue)
    os.rename(path, path + ".moved")
    os.rename(path + ".moved", os.path.join(queue.root, "copy"))
    os.symlink(os.path.join(queue.root, "copy"), path)


def _filed(queue: Queue) -> str:
    return os.path.join(queue.filed(0), chunks_in(queue.filed(0), 0)[0].token)


def _double(where: str) -> Callable[[Queue], None]:
    def harm(queue: Queue) -> None:
        chunk = chunks_in(queue.filed(0), 0)[0]
        name = {"pending": f"pending/000000/{chunk.token}", "deferred": f"deferred/0000000000~{chunk.name}"}[
            where
        ]
        with open(queue.path(*name.split("/")), "w"):
            pass

    return harm


def _reopen_one(queue: Queue) -> None:
    book = Journal(queue.journal(chunks_in(queue.filed(0), 0)[0]))
    book.write("reopen", {"job": ids(1)[0], "why": "test"})
    book.close()


def _segment(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Queue], None]:
    def harm(queue: Queue) -> None:
        with open(queue.segment(0), "rb") as file:
            lines = file.readlines()
        with open(queue.segment(0), "wb") as file:
            file.writelines(change(lines))

    return harm


def _foreign_job(queue: Queue) -> None:
    with open(os.path.join(queue.journal_dir(0), "0.jsonl"), "ab") as file:
        file.write(encode("try", {"job": "zzzzzzzzzzz", "not_before": 0}))


def _again_in_the_segments(queue: Queue) -> None:
    """The same ids under another number, seeded past the look-up."""
    with open(queue.segment(0), "rb") as file:
        data = file.read().replace(b'"segment": 0', b'"segment": 1')
    with open(queue.segment(1), "wb") as file:
        file.write(data)
    publish_tokens(queue, 1)
    shutil.rmtree(queue.tmp)
    os.mkdir(queue.tmp)


def _row_of_open_chunk(queue: Queue) -> None:
    """A token back in deferred/ of which the checkpoint has forgotten how far it went."""
    chunk = chunks_in(queue.filed(0), 0)[0]
    os.rename(_filed(queue), os.path.join(queue.deferred, f"0000000000~{chunk.name}"))


def _status(fields: dict[str, object]) -> Callable[[Queue], None]:
    def harm(queue: Queue) -> None:
        with open(queue.status, encoding="utf-8") as file:
            value = json.load(file)
        with open(queue.status, "w", encoding="utf-8") as file:
            json.dump({**value, **fields}, file)

    return harm


def _line(verb: str, **body: object) -> Callable[[Queue], None]:
    """A whole line that no engine writes, behind all others of the first journal."""

    def harm(queue: Queue) -> None:
        with open(os.path.join(queue.journal_dir(0), "0.jsonl"), "ab") as file:
            file.write(encode(verb, {"job": ids(1)[0], **body} if verb != "synced" else body))

    return harm


def _swap_ids(queue: Queue) -> None:
    """The cache holds another id than the segment, and its sum is right."""

    other = Queue(queue.root + ".other")
    shutil.copytree(queue.root, other.root)
    shutil.rmtree(other.path("ids"))
    os.mkdir(other.path("ids"))
    text = Path(other.segment(0)).read_text(encoding="utf-8").replace(ids(1)[0], ids(1, 999)[0])
    Path(other.segment(0)).write_text(text, encoding="utf-8")
    Known(other)
    shutil.rmtree(queue.path("ids"))
    shutil.copytree(other.path("ids"), queue.path("ids"))


def _open_journal_changed(queue: Queue) -> None:
    """A chunk whose rows are in the manifest and that is open; then its journal says something else."""
    hand = Hand(queue, lambda name: 900.0 if name == ids(1, 500)[0] else OK)
    add(queue, ids(16, 500))
    hand.work()
    hand.close()
    file_rows(queue)
    path = os.path.join(queue.journal_dir(1), "0.jsonl")
    with open(path, "rb") as file:
        first, *rest = file.readlines()
    with open(path, "wb") as file:
        file.writelines([rest[0], first, *rest[1:]])


def _to_pending(queue: Queue) -> None:
    chunk = chunks_in(queue.filed(0), 0)[0]
    os.rename(_filed(queue), os.path.join(queue.pending(0), chunk.token))


DAMAGES: dict[str, tuple[Callable[[Queue], None], str]] = {
    "batch unreadable": (_write(lambda q: q.batch, b"{"), "unreadable file"),
    "checkpoint unreadable": (_write(lambda q: q.checkpoint, b"[]"), "unreadable file"),
    "checkpoint gone": (lambda q: os.unlink(q.checkpoint), "lost row"),
    "checkpoint miscounts": (
        _checkpoint({"counts": {"ok": 1, "absent": 0, "failed": 0, "kinds": {}}}),
        "wrong count",
    ),
    "checkpoint miscounts a kind": (
        lambda q: _checkpoint({"counts": {**read_checkpoint(q).counts.to_json(), "kinds": {"proxy": 9}}})(q),
        "wrong count",
    ),
    "checkpoint edited": (_checkpoint({"bad_lines": 7}), "wrong sum"),
    "checkpoint names a stranger": (_checkpoint({"open": {"000007.0.1.1": [0, {}, 0]}}), "stray offset"),
    "checkpoint is ahead of a journal": (
        lambda q: _checkpoint({"open": {chunks_in(q.filed(0), 0)[0].name: [1 << 20, {}, 0]}})(q),
        "journal too short",
    ),
    "journal changed behind the manifest": (_open_journal_changed, "journal changed"),
    "status unreadable": (_write(lambda q: q.status, b"\0" * 40), "unreadable file"),
    "status has seen more jobs": (_status({"total": 41, "pending": 1}), "wrong count"),
    "status does not add up": (_status({"ok": 0}), "wrong count"),
    "cache of other ids": (_swap_ids, "wrong cache"),
    "cache damaged": (lambda q: damage(q.ids(0), 3), "wrong cache"),
    "sum of a cache damaged": (lambda q: damage(q.ids(0) + ".odd", 3, 1), "wrong cache"),
    "try with an odd number": (_line("try", n=-1, not_before=0), "odd line"),
    "try that waits for ever": (_line("try", n=1, not_before=1e15), "odd line"),
    "try of an odd kind": (_line("try", n=1, kind=[]), "odd line"),
    "death without a worker": (_line("died", worker=7), "odd line"),
    "reopened for no reason": (_line("reopen", why=None), "odd line"),
    "vouched for what is to come": (_line("synced", end=1 << 40), "odd line"),
    "row with a list for a status": (_first_row(status=[]), "bad row"),
    "row with a list for a kind": (_first_row(status="failed", kind=[]), "bad row"),
    "token of a filed chunk in pending": (_to_pending, "misplaced token"),
    "manifest cut short": (lambda q: os.truncate(q.manifest, 100), "manifest too short"),
    "manifest line unreadable": (lambda q: damage(q.manifest, 0), "bad row"),
    "manifest row twice": (_manifest(lambda lines: [*lines, lines[0]]), "duplicate row"),
    "manifest row lost": (_manifest(lambda lines: lines[1:]), "lost row"),
    "manifest row of a stranger": (_first_row(video_id="zzzzzzzzzzz"), "stray row"),
    "row differs from its journal": (_first_row(title="another"), "row differs"),
    "row without a field": (
        _manifest(
            lambda lines: [
                json.dumps({"video_id": json.loads(lines[0])["video_id"], "status": "ok"}),
                *lines[1:],
            ]
        ),
        "bad row",
    ),
    "row with status and kind at odds": (
        _first_row(status="failed", kind="private", files={}, sha256={}),
        "bad row",
    ),
    "row with an unknown status": (_first_row(status="fine"), "bad row"),
    "row with an unknown kind": (_first_row(status="failed", kind="tired"), "bad row"),
    "ok row with a kind": (_first_row(status="ok", kind="network"), "bad row"),
    "ok row without a record": (_first_row(status="ok", kind=None, files={}, sha256={}), "bad row"),
    "row with a foreign path": (_first_row(files={"json": "../../etc/passwd"}), "bad row"),
    "row with a negative count": (_first_row(requests=-1), "bad row"),
    "row with a number for a time": (_first_row(finished_at=1), "bad row"),
    "row before its time": (_row_of_open_chunk, "row too early"),
    "file gone": (lambda q: os.unlink(_ok_file(q)), "bad file"),
    "file changed": (lambda q: damage(_ok_file(q), 3), "bad file"),
    "file is a link": (_swap_for_link, "bad file"),
    "file of a job that failed": (_left_over, "stray file"),
    "temporary output": (
        _write(lambda q: f"{output_of(q)}/.engine-tmp/run.0.1/.dQw4w9WgXcQ.json.0a1b2c3d.tmp"),
        "stray temporary file",
    ),
    "temporary file in the output": (
        _write(lambda q: f"{output_of(q)}/dQ/.dQw4w9WgXcQ.md.0a1b2c3d.tmp"),
        "stray temporary file",
    ),
    "leftover in tmp": (_write(lambda q: q.path("tmp", ".status.json.0a1b2c3d.tmp")), "stray temporary file"),
    "temporary file in the queue": (
        _write(lambda q: q.path(".status.json.0a1b2c3d.tmp")),
        "stray temporary file",
    ),
    "token lost": (lambda q: os.unlink(_filed(q)), "lost token"),
    "token doubled as pending": (_double("pending"), "doubled token"),
    "token doubled as deferred": (_double("deferred"), "doubled token"),
    "token of no chunk": (_write(lambda q: os.path.join(q.done(0), "99.5.16")), "stray token"),
    "token of no segment": (_write(lambda q: os.path.join(q.deferred, "0~000007.0.1.1")), "stray token"),
    "no token": (_write(lambda q: os.path.join(q.pending(0), "0.41")), "stray file"),
    "pending back to front": (_write(lambda q: q.path("pending", "000000", "0.1")), "stray file"),
    "job open in a filed chunk": (_reopen_one, "row without work"),
    "journal gone": (lambda q: os.unlink(os.path.join(q.journal_dir(0), "0.jsonl")), "row without work"),
    "journal of no chunk": (_write(lambda q: os.path.join(q.journal_dir(0), "77.jsonl")), "stray file"),
    "journal names a stranger": (_foreign_job, "stray job"),
    "segment gone": (lambda q: os.unlink(q.segment(0)), "lost segment"),
    "segment header damaged": (lambda q: damage(q.segment(0), 1), "bad segment"),
    "segment lost a line": (_segment(lambda lines: lines[:-1]), "bad segment"),
    "segment line damaged": (_segment(lambda lines: [lines[0], b"{]\n", *lines[2:]]), "bad segment"),
    "segment names an id twice": (_segment(lambda lines: [*lines[:-1], lines[1]]), "duplicate job"),
    "job in two segments": (_again_in_the_segments, "duplicate job"),
    "input changed": (
        _segment(lambda lines: [its.replace(b'"row": 0', b'"row": 9') for its in lines]),
        "bad row",
    ),
    "retry cut off": (_write(lambda q: q.retry, b"{}"), "unfinished retry"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found(tmp_path: Path, name: str) -> None:
    queue = worked(tmp_path, 40, lambda video: Kind.NETWORK if video in ids(6, 3) else OK)
    assert verify.audit(queue.root).ok
    harm, what = DAMAGES[name]
    harm(queue)
    found = verify.audit(queue.root)
    assert what in found.totals, found.totals
    assert found.to_json()["ok"] is False
    with pytest.raises(DamagedError) as caught:
        verify.check(queue.root)
    assert caught.value.exit_code == 14
    assert what in str(caught.value)


def test_a_journal_line_that_goes_bad_in_a_filed_chunk_loses_its_job(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    damage(os.path.join(queue.journal_dir(0), "0.jsonl"), 40)
    found = verify.audit(queue.root)
    assert found.totals == {"row without work": 1}
    assert any("damaged journal line" in note for note in found.notes)


def test_bad_lines_that_lose_no_job_are_a_note(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    path = os.path.join(queue.journal_dir(0), "0.jsonl")
    with open(path, "wb") as file:
        file.write(b"\x00\xff nonsense\nfinal {} 00000000\n")
    os.chmod(path, 0o600)
    finish(queue)
    found = verify.check(queue.root)
    assert found.notes == ["2 damaged journal line(s), counted as absent"]


def test_what_others_may_read_is_a_note(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    os.chmod(queue.manifest, 0o644)
    os.chmod(queue.segment(0), 0o620)
    assert verify.check(queue.root).notes == [
        "2 file(s) of the queue that others may read: `chmod -R go= DIR`"
    ]


def test_odd_ids_are_in_the_cache_as_text(tmp_path: Path) -> None:
    """Ids whose last two bits are not 0 have no number of 64 bits."""
    queue = batch(tmp_path, 16)
    add(queue, ["aaaaaaaaaaB", "-_-_-_-_-_-"])
    assert verify.check(queue.root).jobs == 18
    damage(queue.ids(1) + ".odd", 12)
    assert "wrong cache" in verify.audit(queue.root).totals


def test_the_audit_shares_no_reader_with_the_engine() -> None:
    """Names of paths, the nouns, and who holds a lock: nothing that folds, claims or files."""
    allowed = {
        "engine.errors",
        "engine.model",
        "engine.output.formats",  # the list of names
        "engine.queue.directory",
        "engine.storage.locks",
        "engine.verify",
    }
    names = {"Queue", "open_queue", "living_holder", "living_claims", "is_locked", "who"}
    for path in Path(verify.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("engine"):
                assert any(f"{node.module}.".startswith(f"{its}.") for its in allowed), (path, node.module)
                if str(node.module) == "engine.output.formats":
                    assert {its.name for its in node.names} == {"SUFFIXES"}, path
                if str(node.module).startswith("engine.queue"):
                    assert {its.name for its in node.names} <= names, path
            elif isinstance(node, ast.Import):
                assert not any(its.name.startswith("engine") for its in node.names), path


def test_what_is_not_ours_in_the_output_directory_is_a_note(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16, lambda name: Kind.PRIVATE if name == ids(1)[0] else OK)
    failed = f"{ids(1)[0][:2]}/{ids(1)[0]}"
    record = json.dumps({"video_id": ids(1)[0], "batch": "f" * 32}).encode()
    for name in ("readme.txt", "zz/zzzzzzzzzzz.md", "half.tmp", f"{failed}.json", f"{failed}.md"):
        data = record if name.endswith("json") else b"x"
        _write(lambda q, name=name: os.path.join(output_of(q), name), data)(queue)
    assert verify.check(queue.root).notes == [
        "2 file(s) in the output directory that are not this engine's",
        "1 file(s) in the output directory of videos that are not in this queue",
        "2 file(s) in the output directory under names of this queue's videos that it did not write; they stay",
    ]


def test_the_report_shows_twenty_of_a_sort(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40)
    for segment in os.scandir(output_of(queue)):
        for file in os.scandir(segment.path):
            os.unlink(file.path)
    found = verify.audit(queue.root)
    assert found.totals == {"bad file": 80}
    lines = list(found.lines())
    assert lines[-2:] == ["bad file: and 60 more", "40 jobs (40 ok), 40 rows, 80 files: 80 problems found"]
    assert len(lines) == 22


def test_it_steps_back_beside_a_live_run_or_seeding(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    for path in (queue.run_lock, queue.seed_lock):
        with take_or_say_who(path, "run"), pytest.raises(HeldError, match=str(os.getpid())):
            verify.audit(queue.root)
    hand = Hand(queue)
    with pytest.raises(HeldError):
        verify.audit(queue.root)
    hand.close()
    assert verify.audit(queue.root).ok


def test_the_note_of_a_dead_run_is_no_run(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    code = (
        "import os, sys; from engine.storage.locks import take_or_say_who; "
        "take_or_say_who(sys.argv[1], 'run'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, queue.run_lock], check=False)
    assert os.path.getsize(queue.run_lock) > 0
    assert verify.audit(queue.root).ok


def test_a_larger_batch_takes_longer_by_what_it_is_larger(tmp_path: Path) -> None:
    small, large = (worked(tmp_path / str(count), count, lambda name: Kind.PRIVATE) for count in (300, 3000))
    assert verify.audit(large.root).ok
    least_s = cpu_s(lambda: verify.audit(small.root))
    assert cpu_s(lambda: verify.audit(large.root), 1) < 40 * least_s, (
        "ten times; its square would be a hundred"
    )


@pytest.mark.parametrize("byte", [b".", b"=", b"+", b"\xff", b" "])
def test_an_id_that_is_none_is_damage_and_no_trouble(tmp_path: Path, byte: bytes) -> None:
    """Not even for the comparison with the cache of ids, which decodes them."""
    queue = worked(tmp_path, 16)
    data = Path(queue.segment(0)).read_bytes()
    name = ids(16)[3].encode()
    Path(queue.segment(0)).write_bytes(data.replace(name, name[:4] + byte + name[5:]))
    assert "bad segment" in verify.audit(queue.root).totals


def test_what_others_keep_beside_a_transcript_is_theirs(tmp_path: Path) -> None:
    """A format that this queue does not write, under the name of one of its videos: neither damage nor removed."""
    queue = worked(tmp_path, 8)
    theirs = [path.with_suffix(".txt") for path in Path(output_of(queue)).glob("??/*.json")]
    for path in theirs:
        path.write_text("mine")
    found = verify.audit(queue.root)
    assert found.ok, found.problems
    assert any("did not write" in note for note in found.notes)
    assert repair(queue.root).audit.ok
    assert [path.read_text() for path in theirs] == ["mine"] * 8
