"""Gathering small segments into one, so that a queue costs what its jobs cost, however often it was seeded.

Two sorts are gathered, each apart: untouched segments (every token in pending/) and finished ones (every token in
filed/). Eight of one order of size become one of the next, so each job moves only a few times.

    claim their tokens, as a worker does            (untouched ones; if one is gone already, give the others back)
      -> gather.json, durable: which become which
      -> directories, journals, filed tokens and caches of the new segment, durable
      -> its file in segments/, durable             from now on it counts and they do not, for every reader at once
      -> its pending tokens, durable
      -> the old tokens, journals, segments and caches removed, durable
      -> gather.json removed

The next to hold seed.lock (a seeding, the monitor, a starting run) completes an interrupted gathering if the new
segment's file exists, and undoes it otherwise. The claims of a dead gatherer are freed like a dead worker's, unless
the new segment counts: then they mean nothing (`engine.queue.claims`).
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict

from engine.errors import UsageError
from engine.queue import checked_json, claims
from engine.queue.directory import Gathering, Queue, chunks_in, segment_numbers, worker_ids
from engine.queue.joined_segment import CannotJoin, Joined, join
from engine.queue.segments import SEGMENT_JOBS, Chunk, SegmentHeader, read_ids
from engine.queue.tokens import make_directories, next_segment_number, publish_tokens, segment_files
from engine.storage import disk

MANY = 8  # this many segments of one sort and one order of size become one
UNTOUCHED_JOBS = SEGMENT_JOBS // MANY  # a bigger one stays as it is
FILED_JOBS = 16_384 // MANY  # fewer of a finished one, whose journals have a few KB a job
_PARENTS = ("pending", "segments", "journal", "done", "filed")


def gather(queue: Queue, *, filed: bool, start: bool = False) -> int:
    """Gather the segments of which there are enough; returns how many became part of another.

    `filed`: gather finished ones too. `start`: a run starts, and all untouched ones become one, as if they had been
    seeded at once. The caller holds seed.lock and, with `filed`, monitor.lock. Damaged ones are left alone. Raises
    OSError when the disk fails.
    """
    complete(queue)
    gone = 0
    if start:
        untouched, _ = _sorts(queue, _headers(queue))
        if len(untouched) > 1:
            with contextlib.suppress(CannotJoin):
                _become_one(queue, untouched, filed=False)
                gone += len(untouched)
    orders: dict[int, list[SegmentHeader]] = defaultdict(list)
    for header in _headers(queue):
        orders[_order(header.jobs)].append(header)
    for order in range(_order(SEGMENT_JOBS) + 1):  # one more of the next order may be enough there
        if len(orders[order]) < MANY:
            continue
        untouched, finished = _sorts(queue, orders[order])
        for group, are_filed in ((untouched, False), (finished, True)):
            if len(group) < MANY or (are_filed and not filed):
                continue
            with contextlib.suppress(CannotJoin):
                made = _become_one(queue, group, filed=are_filed)
                orders[_order(made.jobs)].append(made)
                gone += len(group)
    return gone


def complete(queue: Queue) -> bool:
    """Complete or undo an interrupted gathering; True when there was one. The caller holds seed.lock."""
    if not os.path.lexists(queue.gathering):
        return False
    under_way = queue.gathering_under_way() or _reconstructed(queue)
    if under_way.counts:
        _replace_old(queue, under_way)
    else:
        _remove(queue, under_way.into)
    _conclude(queue)
    return True


# ---- which ------------------------------------------------------------------------------------------------
def _headers(queue: Queue) -> list[SegmentHeader]:
    """The headers of all segments, except those that cannot be read."""
    found = []
    for number in queue.segments():
        with contextlib.suppress(UsageError):
            found.append(queue.header(number))
    return found


def _order(jobs: int) -> int:
    """0 for up to 7 jobs, 1 for up to 63, and so on: eight of one order make one of a higher."""
    return (max(1, jobs).bit_length() - 1) // 3


def _sorts(queue: Queue, headers: list[SegmentHeader]) -> tuple[list[SegmentHeader], list[SegmentHeader]]:
    """(untouched ones, finished ones), each only as many as may become one."""
    untouched, finished = [], []
    for header in headers:
        if header.jobs <= UNTOUCHED_JOBS and _count(queue.pending(header.segment)) == header.chunks:
            untouched.append(header)
        elif header.jobs <= FILED_JOBS and _count(queue.filed(header.segment)) == header.chunks:
            finished.append(header)
    return _at_most(untouched, UNTOUCHED_JOBS * MANY), _at_most(finished, FILED_JOBS * MANY)


def _count(path: str) -> int:
    try:
        return len(os.listdir(path))
    except FileNotFoundError:
        return -1


def _at_most(headers: list[SegmentHeader], jobs: int) -> list[SegmentHeader]:
    kept = []
    for header in headers:
        jobs -= header.jobs
        if jobs < 0:
            break
        kept.append(header)
    return kept


# ---- the steps --------------------------------------------------------------------------------------------
def _become_one(queue: Queue, headers: list[SegmentHeader], *, filed: bool) -> SegmentHeader:
    """Make one segment of these, and remove them. Raises CannotJoin when they cannot become one now, OSError."""
    new = join(queue, next_segment_number(queue), headers, filed=filed)
    into, of = new.head.segment, tuple(header.segment for header in headers)
    holder = None if filed else _claim(queue, new.chunks)
    try:
        note = {"schema_version": 1, "into": into, "of": list(of), "filed": filed}
        disk.publish_durably(queue.gathering, checked_json.to_bytes(note), tmp_dir=queue.tmp)
        _make(queue, new, filed=filed)
        _replace_old(queue, Gathering(into, of, filed, counts=True))
        _conclude(queue)
    except BaseException:
        if holder is not None:
            holder.abandon()
        raise
    if holder is not None:
        holder.close()
    return new.head


def _claim(queue: Queue, chunks: list[Chunk]) -> claims.Worker:
    """Claim these chunks, all of them. Raises CannotJoin when a worker was first with one."""
    holder = claims.Worker(queue, f"{claims.run_id()}.0.0", 0)
    try:
        if all(map(holder.take, chunks)):
            return holder
        for chunk in chunks:
            holder.give_back(chunk, None)  # has no effect on one that it did not get
    except BaseException:
        holder.abandon()
        raise
    holder.close()
    raise CannotJoin


def _make(queue: Queue, new: Joined, *, filed: bool) -> None:
    """Make the new segment, its file last."""
    from engine.queue.id_cache import write_cache  # numpy, which most monitors never need

    number = new.head.segment
    make_directories(queue, number)
    for k, data in new.journals.items():
        disk.create(os.path.join(queue.journal_dir(number), f"{k}.jsonl"), data)
    write_cache(queue, number, new.ids)
    if filed:
        disk.sync_dir(queue.journal_dir(number))
        for token in new.tokens():
            disk.create(os.path.join(queue.filed(number), token), b"", sync=False)
        disk.sync_dir(queue.filed(number))
    disk.publish_durably(queue.segment(number), new.data, tmp_dir=queue.tmp)


def _replace_old(queue: Queue, under_way: Gathering) -> None:
    """Publish the new segment, which counts already, and remove the old ones. What is done already is skipped."""
    disk.sync_dir(queue.path("segments"))  # the process that renamed it may have died before it did this
    if under_way.into not in segment_numbers(queue.path("pending")):
        if under_way.filed:
            disk.ensure_dir(queue.pending(under_way.into))
            disk.sync_dir(queue.path("pending"))
        else:
            publish_tokens(queue, under_way.into)
    for worker_id in worker_ids(queue):
        path = os.path.join(queue.workers, worker_id)
        for chunk in chunks_in(path):
            if chunk.segment in under_way.of:
                disk.unlink_quietly(os.path.join(path, chunk.name))
    for number in under_way.of:
        _remove(queue, number)


def _remove(queue: Queue, number: int) -> None:
    """Remove everything of a segment, and nothing that has another name."""
    from engine.queue.id_cache import remove_cache

    directories = (queue.pending(number), queue.done(number), queue.filed(number))
    for path in directories:
        for chunk in chunks_in(path, number):
            disk.unlink_quietly(os.path.join(path, chunk.token))
    journals = queue.journal_dir(number)
    for name in os.listdir(journals) if os.path.isdir(journals) else ():
        k, _, rest = name.partition(".")
        if rest == "jsonl" and k.isascii() and k.isdigit():
            disk.unlink_quietly(os.path.join(journals, name))
    remove_cache(queue, number)
    for path in (*directories, journals):
        if os.path.isdir(path):
            disk.rmdir(path)
    disk.unlink_quietly(queue.segment(number))  # last: it is needed to reconstruct a damaged gather.json


def _conclude(queue: Queue) -> None:
    """Make all changes durable, then remove gather.json."""
    for name in _PARENTS:
        disk.sync_dir(queue.path(name))
    disk.unlink(queue.gathering)
    disk.sync_dir(queue.root)


# ---- a damaged gather.json --------------------------------------------------------------------------------
def _reconstructed(queue: Queue) -> Gathering:
    """The gathering under way, from the files themselves.

    It made the last segment, which either holds all jobs of the old ones or has no file yet.
    """
    numbers = segment_files(queue)
    into = max([*numbers, *segment_numbers(queue.path("journal"))], default=0)
    if into not in numbers:
        return Gathering(into, (), filed=False, counts=False)
    ids = set(read_ids(queue.segment(into)))
    of = tuple(old for old in numbers if old != into and ids.issuperset(read_ids(queue.segment(old))))
    filed = bool(of) and bool(chunks_in(queue.filed(into), into))
    return Gathering(into, of, filed, counts=True)
