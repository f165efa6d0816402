"""What a start does to a queue before any worker lives: everything that a crash can have left half done.

Unfinished segments are published, leftovers in `tmp/` removed, a cut-off retry finished, and the tokens compared
with the segments. Tokens carry no data, so a power cut that lost or doubled a rename costs nothing: a missing
token is made again from its segment and its journal, and of two copies the more advanced stays.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from engine.queue import claims, gathering
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.job_state import fold
from engine.queue.journal import lines
from engine.queue.manifest import read_checkpoint, read_rows
from engine.queue.names import DIRS
from engine.queue.segments import Chunk, Header, check_whole, cut, read_jobs
from engine.queue.sweeping import sweep_queue
from engine.recovery import requeue
from engine.seeding.seed import publish_unfinished
from engine.storage import disk
from engine.storage.locks import Lock, take_or_say_who

LEAVE_S = 2.0  # how long workers and a monitor without a supervisor may take to go
_WAITS_FOR_NOTHING = f"{0:010d}"


class _Place(NamedTuple):
    """Where a token lies: its path, and the word for it."""

    path: str
    what: str


def recover(queue: Queue) -> list[str]:
    """Bring the queue into order; the caller holds run.lock and seed.lock and has started no worker yet.

    Takes monitor.lock for the time. Returns sentences that say what was done, none when nothing was to do.
    Raises HeldError when a monitor that is not ours stays, UsageError when a segment cannot be read, OSError
    when the disk fails.
    """
    with take_or_say_who(queue.monitor_lock, "monitor", wait_s=LEAVE_S + 3.0):
        return mend(queue)


def mend(queue: Queue) -> list[str]:
    """`recover` for a caller who holds monitor.lock as well."""
    said: list[str] = []
    for name in DIRS:  # a copy may have left the empty ones behind
        disk.ensure_dir(queue.path(name))
    if gathering.complete(queue):
        said.append("finished gathering small segments, which had been cut off")
    _check_segments(queue)
    said += _unfinished(queue)
    said += _sweep(queue)
    if requeue.complete(queue):
        said.append("finished a retry that had been cut off")
    if _workers_left(queue):
        said += _check_tokens(queue)
        gathering.gather(queue, filed=True, start=True)
    else:
        said.append("a worker of an earlier run still lives (stopped?): the tokens were not checked")
    return said


def _check_segments(queue: Queue) -> None:
    """Before anything is derived from them: with another division into chunks journals would speak of other jobs."""
    for segment in queue.segments():
        queue.header(segment)
        check_whole(queue.segment(segment))


def _unfinished(queue: Queue) -> list[str]:
    before = set(queue.segments())
    publish_unfinished(queue)
    return [
        f"published segment {segment:06d}, whose seeding had been cut off"
        for segment in queue.segments()
        if segment not in before
    ]


def tidy(queue: Queue) -> None:
    """Sweep the queue at the end of a run whose processes are gone, unless a seeding beside it has its own there."""
    lock = Lock(queue.seed_lock)
    if lock.take(note={"what": "tidy"}):
        with lock:
            sweep_queue(queue.root)


def _sweep(queue: Queue) -> list[str]:
    """For who knows that nobody uses tmp/: no seeding, no monitor, no worker about to be born."""
    count = sweep_queue(queue.root)
    return [f"removed {count} leftover(s) in tmp/"] if count else []


def _workers_left(queue: Queue) -> bool:
    """Wait a little for the workers of a supervisor that was killed; whether none lives any more."""
    give_up_at = time.monotonic() + LEAVE_S
    while claims.living(queue):
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(0.02)
    return True


def _tokens(queue: Queue) -> Iterator[tuple[Chunk, _Place]]:
    """Every token and where it lies, the most advanced places first, of deferred ones the soonest first."""
    segments = queue.segments()
    for segment in segments:
        for what, path in (("filed", queue.filed(segment)), ("done", queue.done(segment))):
            for chunk in chunks_in(path, segment):
                yield chunk, _Place(os.path.join(path, chunk.token), what)
    for worker_id in worker_ids(queue):
        path = os.path.join(queue.workers, worker_id)
        for chunk in chunks_in(path):
            yield chunk, _Place(os.path.join(path, chunk.name), "workers")
    for _, chunk, name in deferred_chunks(queue):
        yield chunk, _Place(os.path.join(queue.deferred, name), "deferred")
    for segment in segments:
        for chunk in chunks_in(queue.pending(segment), segment):
            yield chunk, _Place(os.path.join(queue.pending(segment), chunk.token), "pending")


def _check_tokens(queue: Queue) -> list[str]:
    """Compare the tokens with the segments, and mend what differs."""
    found: dict[int, list[tuple[Chunk, _Place]]] = defaultdict(list)
    for chunk, place in _tokens(queue):
        found[chunk.segment].append((chunk, place))
    said: list[str] = []
    missing: list[Chunk] = []
    for segment in queue.segments():
        for path in (queue.journal_dir(segment), queue.done(segment), queue.filed(segment)):
            if disk.ensure_dir(path):
                disk.sync_dir(os.path.dirname(path))
                said.append(f"made {os.path.relpath(path, queue.root)}/ again")
        header = queue.header(segment)
        here = found.pop(segment, [])
        for stray in _astray(queue, segment, here):
            disk.unlink_quietly(stray[1].path)
            here.remove(stray)
            said.append(f"removed the token {stray[0].name} in pending/: work on its chunk has begun")
        if not _right(header, [chunk for chunk, _ in here]):
            said += _unite(queue, segment, here, missing)
    for strays in found.values():
        for chunk, place in strays:
            disk.unlink_quietly(place.path)
            said.append(f"removed the token {chunk.name} in {place.what}/: there is no such segment")
    return said + _make_again(queue, missing)


def _astray(queue: Queue, segment: int, here: list[tuple[Chunk, _Place]]) -> list[tuple[Chunk, _Place]]:
    """Tokens in pending/ whose chunk has a journal: where they belong is for that and the manifest to say.

    Claimed from here, a filed chunk would be filed a second time.
    """
    begun = set(os.listdir(queue.journal_dir(segment)))
    return [
        (chunk, place)
        for chunk, place in here
        if place.what == "pending" and f"{chunk.k}.jsonl" in begun and _touched(queue, chunk)
    ]


def _right(header: Header, chunks: list[Chunk]) -> bool:
    """Whether these tokens are the segment's, each once; cheap, as it is asked at every start."""
    numbers = {chunk.k for chunk in chunks}
    return (
        len(numbers) == len(chunks)
        and sum(chunk.jobs for chunk in chunks) == header.jobs
        and max(numbers, default=-1) == len(numbers) - 1
    )


def _unite(queue: Queue, segment: int, here: list[tuple[Chunk, _Place]], missing: list[Chunk]) -> list[str]:
    """Remove doubled and foreign tokens of a segment; the ones that lack go to `missing`."""
    said: list[str] = []
    wanted = set(cut(queue.segment(segment)))
    kept: dict[Chunk, _Place] = {}
    for chunk, place in here:
        if chunk not in wanted:
            disk.unlink_quietly(place.path)
            said.append(f"removed the token {chunk.name} in {place.what}/: its segment has no such chunk")
        elif chunk in kept:
            # The more advanced one comes first and stays, unless it says more than is so: what a chunk in filed/
            # lacks is never done, and the run would never end.
            spare = place
            if kept[chunk].what == "filed" and not _filed(queue, chunk):
                spare, kept[chunk] = kept[chunk], place
            disk.unlink_quietly(spare.path)
            said.append(f"removed a second token of chunk {chunk.name} in {spare.what}/")
        else:
            kept[chunk] = place
    missing += sorted(wanted - set(kept))
    return said


def _filed(queue: Queue, chunk: Chunk) -> bool:
    """Whether a chunk may be filed: its journal and the manifest hold all its jobs, and no row is awaited."""
    known = read_checkpoint(queue)
    if known is None:
        return True  # all that is filed will be filed anew
    ids = {job.video_id for job in read_jobs(queue.segment(chunk.segment), chunk)}
    final = fold(lines(queue.journal(chunk))).finals() >= chunk.jobs
    return final and chunk.name not in known.open and ids <= _present(queue, ids, known.length)


def _make_again(queue: Queue, missing: list[Chunk]) -> list[str]:
    """Make lost tokens again, each where its journal and the manifest say it belongs."""
    if not missing:
        return []
    checkpoint = read_checkpoint(queue)
    known = checkpoint.open if checkpoint else {}
    # The checkpoint forgets a journal when its chunk is filed. One that it does not name was filed, or its rows
    # were never looked at; the manifest tells which.
    asked = {
        chunk: {job.video_id for job in read_jobs(queue.segment(chunk.segment), chunk)}
        for chunk in missing
        if chunk.name not in known and _touched(queue, chunk)
    }
    present = (
        _present(queue, set().union(*asked.values()), checkpoint.length) if checkpoint and asked else set()
    )
    said: list[str] = []
    for chunk in missing:
        ids = asked.get(chunk, set())
        if ids and ids <= present:
            path, what = os.path.join(queue.filed(chunk.segment), chunk.token), "filed"
        elif _touched(queue, chunk):
            path, what = os.path.join(queue.deferred, f"{_WAITS_FOR_NOTHING}~{chunk.name}"), "deferred"
            if ids & present:  # neither whole nor nothing: the manifest is derived anew from the journals
                disk.unlink_quietly(queue.checkpoint)
                said.append("the manifest does not fit the journals: it will be derived from them anew")
        else:
            path, what = os.path.join(queue.pending(chunk.segment), chunk.token), "pending"
        disk.create(path, b"", sync=False)
        disk.sync_dir(os.path.dirname(path))
        said.append(f"made the token of chunk {chunk.name} again in {what}/")
    return said


def _touched(queue: Queue, chunk: Chunk) -> bool:
    return next(lines(queue.journal(chunk)), None) is not None


def _present(queue: Queue, ids: set[str], length: int) -> set[str]:
    """Which of these ids have a row within the manifest's first `length` bytes."""
    found = (row.get("video_id") for row in read_rows(queue, length))
    return {video_id for video_id in found if isinstance(video_id, str) and video_id in ids}
