"""Each way to damage a queue that the audit claims to find, by name: what does it, and what the audit calls it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from support import OK, Hand, add, batch_of, damage, file_rows, ids, output_of

from engine.queue.directory import Queue, chunks_in
from engine.queue.id_index import QueueIds
from engine.queue.journal import Journal, encode
from engine.queue.manifest import read_checkpoint
from engine.seeding.seed import publish_tokens


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


def write(path: Callable[[Queue], str], data: bytes = b"x") -> Callable[[Queue], None]:
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
    write(lambda q: f"{output_of(q)}/{name[:2]}/{name}.json", record)(queue)
    write(lambda q: f"{output_of(q)}/{name[:2]}/{name}.md")(queue)


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
    QueueIds(other)
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
    "batch unreadable": (write(lambda q: q.batch, b"{"), "unreadable file"),
    "checkpoint unreadable": (write(lambda q: q.checkpoint, b"[]"), "unreadable file"),
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
    "status unreadable": (write(lambda q: q.status, b"\0" * 40), "unreadable file"),
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
        write(lambda q: f"{output_of(q)}/.engine-tmp/run.0.1/.dQw4w9WgXcQ.json.0a1b2c3d.tmp"),
        "stray temporary file",
    ),
    "temporary file in the output": (
        write(lambda q: f"{output_of(q)}/dQ/.dQw4w9WgXcQ.md.0a1b2c3d.tmp"),
        "stray temporary file",
    ),
    "leftover in tmp": (write(lambda q: q.path("tmp", ".status.json.0a1b2c3d.tmp")), "stray temporary file"),
    "temporary file in the queue": (
        write(lambda q: q.path(".status.json.0a1b2c3d.tmp")),
        "stray temporary file",
    ),
    "token lost": (lambda q: os.unlink(_filed(q)), "lost token"),
    "token doubled as pending": (_double("pending"), "doubled token"),
    "token doubled as deferred": (_double("deferred"), "doubled token"),
    "token of no chunk": (write(lambda q: os.path.join(q.done(0), "99.5.16")), "stray token"),
    "token of no segment": (write(lambda q: os.path.join(q.deferred, "0~000007.0.1.1")), "stray token"),
    "no token": (write(lambda q: os.path.join(q.pending(0), "0.41")), "stray file"),
    "pending back to front": (write(lambda q: q.path("pending", "000000", "0.1")), "stray file"),
    "job open in a filed chunk": (_reopen_one, "row without work"),
    "journal gone": (lambda q: os.unlink(os.path.join(q.journal_dir(0), "0.jsonl")), "row without work"),
    "journal of no chunk": (write(lambda q: os.path.join(q.journal_dir(0), "77.jsonl")), "stray file"),
    "journal names a stranger": (_foreign_job, "stray job"),
    "segment gone": (lambda q: os.unlink(q.segment(0)), "lost segment"),
    "segment header damaged": (lambda q: damage(q.segment(0), 1), "bad segment"),
    "segment lost a line": (_segment(lambda lines: lines[:-1]), "bad segment"),
    "segment line damaged": (_segment(lambda lines: [lines[0], b"{]\n", *lines[2:]]), "bad segment"),
    "segment names an id twice": (_segment(lambda lines: [*lines[:-1], lines[1]]), "duplicate job"),
    "job in two segments": (_again_in_the_segments, "duplicate job"),
    "input changed": (
        _segment(lambda lines: [line.replace(b'"row": 0', b'"row": 9') for line in lines]),
        "bad row",
    ),
    "retry cut off": (write(lambda q: q.retry, b"{}"), "unfinished retry"),
}
