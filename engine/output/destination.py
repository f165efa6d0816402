"""Checks that the output directory is there and is this queue's, before a run or an audit relies on its files.

| marker of this queue | rows that are ok          | then                                                       |
|----------------------|---------------------------|------------------------------------------------------------|
| ours                 | any                       | OURS: go on                                                |
| names another queue  | any                       | COPIED: this queue is a copy, the output the original's    |
| none                 | none                      | FRESH: made, with its marker, without a question           |
| none                 | some, of a queue that had | FRESH, when a file of such a row is there                  |
|                      | no id until now           |                                                            |
| none                 | some                      | GONE: removed, not mounted, moved, or another directory    |
"""

from __future__ import annotations

import contextlib
import os
import random
import shlex
from collections.abc import Iterator
from enum import Enum
from typing import Any

from engine.errors import UsageError
from engine.output import folding, stored
from engine.output.formats import RECORD
from engine.output.publisher import intact
from engine.queue import journal, marker
from engine.queue.directory import Queue
from engine.queue.job_state import fold
from engine.queue.journal_follower import touched_chunks
from engine.queue.manifest import read_checkpoint, read_rows
from engine.queue.mounts import refuse_remote
from engine.queue.segments import Chunk
from engine.settings import place_of

LOOKED_AT = 400  # rows whose files are looked at before a directory is taken for a queue's output
UNMARKED = "unmarked"  # in batch.json: it got its id after its first run, and no marker yet


class Standing(Enum):
    """How an output directory stands to a queue; see the table above."""

    OURS = "ours"
    FRESH = "fresh"
    COPIED = "copied"
    GONE = "gone"


def standing(queue: Queue, output: str) -> Standing:
    """How this directory stands to the queue. Raises UsageError when `batch.json` cannot be read."""
    batch = queue.read_batch()
    batch_id = marker.id_of(batch)
    note = marker.read(output, batch_id) if batch_id else None
    if note is not None:
        return Standing.OURS if marker.belongs(note, queue, output) else Standing.COPIED
    if not any_ok(queue):
        return Standing.FRESH
    old = not batch_id or batch.get(UNMARKED) is True
    return Standing.FRESH if old and any_file(queue, output) else Standing.GONE


def check(queue: Queue, output: str | None, found: Standing | None = None) -> None:
    """Raise UsageError, with both paths and what to do, when the output directory is not there or another queue's."""
    if output is None:
        return
    found = found or standing(queue, output)
    if found in (Standing.OURS, Standing.FRESH):
        return
    engine, where, there = _command(queue), f"-q {shlex.quote(queue.root)}", shlex.quote(output)
    root = os.path.abspath(queue.root)
    if found is Standing.COPIED:
        note = marker.read(output, marker.id_of(queue.read_batch()))
        first = note.queue if note else "another queue"
        go_on = f"`engine verify --repair {where} -o {there}`"
        if first == os.path.realpath(queue.root):
            raise UsageError(
                f"the queue {root} was brought back from a copy: it is not the directory that its output {output} "
                f"knows. To go on with it: {go_on}"
            )
        raise UsageError(
            f"the output directory {output} belongs to the queue {first}; the queue {root} is a copy of that one. Go "
            f"on with {first}. If the copy is the one to go on with: move {first} away, then {go_on}. If it is to "
            f"have an output of its own: copy that one, too, and `engine verify --repair {where} -o COPY`"
        )
    what = "is another one than before: its marker is missing" if os.path.isdir(output) else "is not there"
    raise UsageError(
        f"the output directory {output} of the queue {root} {what}. Is it not mounted? Then mount it. Was it moved? "
        f"`engine verify --repair {where} -o NEW`. Is it really gone? `{engine} {where} --output-lost` fetches again "
        "what was in it"
    )


def claim(queue: Queue, output: str) -> str:
    """Mark a directory as this queue's output, durably; returns the queue's id.

    The caller holds run.lock and has looked (`check`). A queue without an id gets one here, and `unmarked` says as
    long as the marker is not there that it could not have one.
    """
    batch = queue.read_batch()
    batch_id = marker.id_of(batch)
    if not batch_id:
        batch_id = batch["id"] = marker.new_id()
        batch[UNMARKED] = True
        queue.write_batch(batch)
    mine = marker.Note.of(batch_id, queue.root, output)
    if marker.read(output, batch_id) != mine or marker.leftovers(output, batch_id):
        marker.write(output, mine)
    if batch.pop(UNMARKED, None) is not None:
        queue.write_batch(batch)
    return batch_id


def move(queue: Queue, output: str, *, relative: bool) -> str:
    """Make another directory (or the same one again) the queue's output; returns a sentence that says so.

    The caller holds the queue's locks. `relative`: the path was given so. Raises UsageError when there is no such
    directory, when it does not hold what the queue's rows say, or when it belongs to the queue that this one is a
    copy of.
    """
    batch = queue.read_batch()
    if not isinstance(batch.get("frozen"), dict):
        raise UsageError("-o: no run has begun this queue yet; say `-o` to its first `engine run`")
    if not os.path.isdir(output):
        raise UsageError(
            f"-o {output}: there is no such directory: name the one that the output was moved to"
        )
    batch_id = marker.id_of(batch)
    note = marker.read(output, batch_id) if batch_id else None
    right, looked = fitting(queue, output)
    if right * 2 < looked:
        raise UsageError(
            f"-o {output}: of {looked:,} transcripts of the queue {os.path.abspath(queue.root)}, {right:,} lie there "
            "as their rows say. Its output was moved to another directory: name that one. If they are gone for good: "
            f"`{_command(queue)} -q {shlex.quote(queue.root)} --output-lost` fetches them again"
        )
    if note is not None and not marker.belongs(note, queue, output) and _original(note, queue):
        raise UsageError(
            f"-o {output}: it belongs to the queue {note.queue}, of which {os.path.abspath(queue.root)} is a copy. "
            "Move that queue away first; or copy the output, too, and name the copy"
        )
    refuse_remote(output, "output directory")
    if not os.access(output, os.W_OK | os.X_OK):
        raise UsageError(f"-o {output}: it cannot be written")
    folding.refuse(output)
    before = marker.output_of(queue)
    claim(queue, output)
    batch = queue.read_batch()
    batch["frozen"].pop("output_relative", None)
    batch["frozen"].update(place_of(queue, output, relative=relative))
    queue.write_batch(batch)
    batch_id = marker.id_of(batch)
    if before is not None and os.path.realpath(before) != os.path.realpath(output):
        old = marker.read(before, batch_id)
        if old is not None and marker.is_queue_of(old, queue):
            marker.remove(before, batch_id)
    return f"the output directory is {output}"


def _original(note: marker.Note, queue: Queue) -> bool:
    """Whether the queue that a marker names is there, in another place than this one, which is a copy of it."""
    if not note.queue or note.queue == os.path.realpath(queue.root) or marker.is_queue_of(note, queue):
        return False
    return marker.is_of(note.queue, note.id)


def fitting(queue: Queue, output: str) -> tuple[int, int]:
    """(how many, of how many) `ok` rows name files that lie in this directory with the right sha256. Of a large queue
    some are drawn."""
    drawn: list[dict[str, Any]] = []
    for number, row in enumerate(ok_rows(queue)):
        if number < LOOKED_AT:
            drawn.append(row)
        elif (at := random.randrange(number + 1)) < LOOKED_AT:
            drawn[at] = row
    return sum(intact(output, row) for row in drawn), len(drawn)


def any_ok(queue: Queue) -> bool:
    """Whether a job of this queue is `ok`."""
    known = read_checkpoint(queue)
    if known is not None and known.counts.ok:
        return True
    return any(row.get("status") == "ok" for path in _journals(queue) for row in _finals(path, brief=True))


def any_file(queue: Queue, output: str) -> bool:
    """Whether a file that an `ok` row of this queue names is in this directory."""
    return any(_record_is_there(output, row) for row in ok_rows(queue))


def ok_rows(queue: Queue) -> Iterator[dict[str, Any]]:
    """The rows of the jobs that are `ok`: those of the manifest, then those that it lacks."""
    yield from (row for row in read_rows(queue) if row.get("status") == "ok")
    for path in _journals(queue):
        yield from (row for row in _finals(path) if row.get("status") == "ok")


def _record_is_there(output: str, row: dict[str, Any]) -> bool:
    files = row.get("files")
    place = files.get(RECORD) if isinstance(files, dict) else None
    return isinstance(place, str) and stored.is_there(output, place)


def _journals(queue: Queue) -> Iterator[str]:
    """The journals whose rows the manifest may lack: all of them when nothing says what it holds."""
    known = read_checkpoint(queue)
    if known is not None:
        chunks = {chunk for name in known.open if (chunk := Chunk.parse(name)) is not None}
        yield from sorted(queue.journal(chunk) for chunk in chunks | set(touched_chunks(queue)))
        return
    for segment in queue.segments():
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(queue.journal_dir(segment))):
                yield os.path.join(queue.journal_dir(segment), name)


def _finals(path: str, *, brief: bool = False) -> Iterator[dict[str, Any]]:
    for state in fold(journal.read(path, brief=brief).entries).jobs.values():
        if state.final is not None:
            yield state.final


def _command(queue: Queue) -> str:
    return "engine rehearse --videos 0" if queue.read_batch().get("rehearsal") else "engine run"
