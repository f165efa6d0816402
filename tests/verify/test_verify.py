"""The audit: an intact queue passes at any stage, and each sort of damage is found."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from audited import intact
from patience import cpu_s
from queue_damages import DAMAGES, write
from support import (
    OK,
    Hand,
    add,
    batch,
    damage,
    file_rows,
    finish,
    ids,
    output_of,
    some_fail,
    worked,
)

from engine import verify
from engine.errors import HeldError, NoQueueError
from engine.model import Kind
from engine.recovery.repair import repair
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_a_finished_batch_is_whole(tmp_path: Path) -> None:
    queue = worked(tmp_path, 80, some_fail, segments=2)
    found = intact(queue.root)
    assert found.jobs == found.rows == 80
    assert sum(found.states.values()) == 80
    assert found.states["pending"] == found.states["deferred"] == 0
    assert found.states["absent"] == found.kinds["private"]
    assert found.files == 2 * found.states["ok"] > 0
    assert found.notes == []
    assert json.loads(json.dumps(found.to_json()))["ok"] is True


def test_an_empty_queue_and_a_fresh_one_are_whole(tmp_path: Path) -> None:
    queue = batch(tmp_path, 0)
    assert intact(queue.root).jobs == 0
    add(queue, ids(20))
    assert intact(queue.root).states["pending"] == 20
    with pytest.raises(NoQueueError):
        verify.audit(str(tmp_path / "elsewhere"))


def test_a_stopped_run_is_whole_and_the_lag_is_a_note(tmp_path: Path) -> None:
    queue = batch(tmp_path, 64)
    hand = Hand(queue)
    hand.work(1)
    hand.close()
    found = intact(queue.root)
    assert (found.states["ok"], found.states["pending"], found.rows) == (16, 48, 0)
    assert "16 row(s) not filed yet" in found.notes
    file_rows(queue)
    assert intact(queue.root).rows == 16


def test_waiting_jobs_count_as_deferred(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue, lambda name: 900.0 if name in ids(5) else OK)
    hand.work(1)
    hand.close()
    file_rows(queue)
    found = intact(queue.root)
    assert (found.states["deferred"], found.states["ok"]) == (5, 11)


def test_a_killed_worker_leaves_no_damage(tmp_path: Path) -> None:
    queue = batch(tmp_path, 48)
    hand = Hand(queue)
    hand.work(1, sync=False, move=False)
    hand.output.close()
    hand.die()
    file_rows(queue)
    found = intact(queue.root)
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
    found = intact(queue.root)
    assert any("not durable yet" in note for note in found.notes)


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found(tmp_path: Path, name: str) -> None:
    queue = worked(tmp_path, 40, lambda video: Kind.NETWORK if video in ids(6, 3) else OK)
    assert verify.audit(queue.root).ok
    harm, what = DAMAGES[name]
    harm(queue)
    found = verify.audit(queue.root)
    assert what in found.totals, found.totals
    assert found.to_json()["ok"] is False
    assert what in found.text()


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
    found = intact(queue.root)
    assert found.notes == ["2 damaged journal line(s), counted as missing"]


def test_what_others_may_read_is_a_note(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    os.chmod(queue.manifest, 0o644)
    os.chmod(queue.segment(0), 0o620)
    assert intact(queue.root).notes == ["2 file(s) of the queue that others may read: `chmod -R go= DIR`"]


def test_odd_ids_are_in_the_cache_as_text(tmp_path: Path) -> None:
    """Ids whose last two bits are not 0 have no number of 64 bits."""
    queue = batch(tmp_path, 16)
    add(queue, ["aaaaaaaaaaB", "-_-_-_-_-_-"])
    assert intact(queue.root).jobs == 18
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
        "engine.storage.zstd",  # a library, by its two names
        "engine.verify",
    }
    names = {"Queue", "open_queue", "living_holder", "living_claims", "is_locked", "who"}
    for path in Path(verify.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("engine"):
                assert any(f"{node.module}.".startswith(f"{module}.") for module in allowed), (
                    path,
                    node.module,
                )
                if str(node.module) == "engine.output.formats":
                    assert {alias.name for alias in node.names} == {"SUFFIXES"}, path
                if str(node.module).startswith("engine.queue"):
                    assert {alias.name for alias in node.names} <= names, path
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("engine") for alias in node.names), path


def test_what_is_not_ours_in_the_output_directory_is_a_note(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16, lambda name: Kind.PRIVATE if name == ids(1)[0] else OK)
    failed = f"{ids(1)[0][:2]}/{ids(1)[0]}"
    record = json.dumps({"video_id": ids(1)[0], "batch": "f" * 32}).encode()
    for name in ("readme.txt", "zz/zzzzzzzzzzz.md", "half.tmp", f"{failed}.json", f"{failed}.md"):
        data = record if name.endswith("json") else b"x"
        write(lambda q, name=name: os.path.join(output_of(q), name), data)(queue)
    assert intact(queue.root).notes == [
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
    assert cpu_s(lambda: verify.audit(large.root)) < 40 * least_s, "ten times; its square would be a hundred"


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
