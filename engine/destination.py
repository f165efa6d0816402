"""Is the output directory there, and is it this queue's? Asked before a run or an audit believes what lies in it.

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
import json
import os
import shlex
from collections.abc import Iterator
from enum import Enum
from typing import Any

from engine import folding, marker
from engine.config import place_of
from engine.errors import HeldError, UsageError
from engine.manifest import read_checkpoint
from engine.queue import journal
from engine.queue.chunk import Chunk
from engine.queue.fold import fold
from engine.queue.layout import Queue
from engine.queue.lock import living_holder
from engine.queue.mounts import refuse_remote
from engine.queue.tail import touched_chunks

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
        raise UsageError(
            f"the output directory {output} belongs to the queue {first}; the queue {root} is a copy of that one, or "
            f"was brought back from a copy. Go on with {first}. If this is the one to go on with: `engine verify "
            f"--repair {where} -o {there}`. If it is to have an output of its own: copy that one, too, and `engine "
            f"verify --repair {where} -o COPY`"
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
    directory, or nothing of this queue in it; HeldError while the queue that it belonged to is at work.
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
    if note is None and any_ok(queue) and not any_file(queue, output):
        raise UsageError(
            f"-o {output}: nothing of the queue {os.path.abspath(queue.root)} lies there. Name the directory that "
            "its output was moved to"
        )
    if note is not None and note.queue and not marker.is_queue_of(note, queue):
        holder = living_holder(Queue(note.queue).run_lock)
        if holder:
            raise HeldError(
                f"a run of the queue {note.queue} (pid {holder.get('pid')}) is at work in {output}"
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


def any_ok(queue: Queue) -> bool:
    """Whether a job of this queue is `ok`."""
    known = read_checkpoint(queue)
    if known is not None and known.counts.ok:
        return True
    return any(row.get("status") == "ok" for path in _journals(queue) for row in _finals(path, brief=True))


def any_file(queue: Queue, output: str) -> bool:
    """Whether a file that an `ok` row of this queue names is in this directory."""
    return any(_record_is_there(output, row) for row in _ok_rows(queue))


def _ok_rows(queue: Queue) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError), open(queue.manifest, "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                if isinstance(row, dict) and row.get("status") == "ok":
                    yield row
    for path in _journals(queue):
        yield from (row for row in _finals(path) if row.get("status") == "ok")


def _record_is_there(output: str, row: dict[str, Any]) -> bool:
    video_id = row.get("video_id")
    if not isinstance(video_id, str) or "/" in video_id or "\0" in video_id:
        return False
    return os.path.isfile(os.path.join(output, video_id[:2], f"{video_id}.json"))


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
