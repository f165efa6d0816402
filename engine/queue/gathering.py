"""Gathering small segments into one, so that what a queue costs follows its jobs and not how often it was seeded.

Two sorts are gathered, each with its like: segments to which nothing has happened, every token of them in pending/;
and segments that are through, every token in filed/. When eight of one order of size are there they become one of
the next: each job moves a few times at most, however many seedings there are.

    their tokens claimed, as a worker does it       (of untouched ones; who finds one gone puts the others back)
      -> gather.json, durable: which are to become which
      -> directories, journals, filed tokens and caches of the new segment, durable
      -> its file in segments/, durable             from here on it counts, and they do not: for every reader at once
      -> its free tokens, durable
      -> theirs removed, with their journals, segments and caches, durable
      -> gather.json removed

A gathering that was cut off is undone when the new segment's file is not there, else completed, by the next who holds
seed.lock: a seeding, the monitor, a run's start. The claims of a dead gatherer are freed like a dead worker's, unless
the new segment counts: then they stand for nothing (`engine.queue.claims`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict

from engine.errors import UsageError
from engine.queue import claims
from engine.queue.directory import Gathering, Queue, chunks_in, numbered, worker_ids
from engine.queue.id_index import remove_cache, write_cache
from engine.queue.joined_segment import Joined, Unfit, join
from engine.queue.segments import SEGMENT_JOBS, Chunk, Header, read_ids
from engine.queue.tokens import files, make_directories, next_number, publish_tokens
from engine.storage import disk
from engine.storage.checksum import sealed

MANY = 8  # segments of one sort and one order of size become one
UNTOUCHED_JOBS = SEGMENT_JOBS // MANY  # a bigger one stays as it is
FILED_JOBS = 16_384 // MANY  # the same of one that is through: its journals have a few KB a job
_PARENTS = ("pending", "segments", "journal", "done", "filed")


def gather(queue: Queue, *, filed: bool, start: bool = False) -> int:
    """Gather what there is enough of; returns how many segments became part of another.

    The caller holds seed.lock and, with `filed`, where those that are through are gathered as well, monitor.lock. At
    the `start` of a run all untouched ones become one, as if they had been seeded at once. What is damaged is left
    alone. Raises OSError when the disk fails.
    """
    complete(queue)
    gone = 0
    if start:
        untouched, _ = _sorts(queue, _headers(queue))
        if len(untouched) > 1:
            with contextlib.suppress(Unfit):
                _become_one(queue, untouched, filed=False)
                gone += len(untouched)
    orders: dict[int, list[Header]] = defaultdict(list)
    for header in _headers(queue):
        orders[_order(header.jobs)].append(header)
    for order in range(_order(SEGMENT_JOBS) + 1):  # what comes of one may be enough for the next
        if len(orders[order]) < MANY:
            continue
        untouched, through = _sorts(queue, orders[order])
        for group, are_filed in ((untouched, False), (through, True)):
            if len(group) >= MANY and (filed or not are_filed):
                try:
                    made = _become_one(queue, group, filed=are_filed)
                except Unfit:
                    continue
                orders[_order(made.jobs)].append(made)
                gone += len(group)
    return gone


def complete(queue: Queue) -> bool:
    """Complete or undo a gathering that was cut off; True when there was one. The caller holds seed.lock."""
    if not os.path.lexists(queue.gathering):
        return False
    under_way = queue.gathered() or _derived(queue)
    if under_way.counts:
        _succeed(queue, under_way)
    else:
        _remove(queue, under_way.into)
    _over(queue)
    return True


# ---- which ------------------------------------------------------------------------------------------------
def _headers(queue: Queue) -> list[Header]:
    """The headers of all segments but those that cannot be read."""
    found = []
    for number in queue.segments():
        with contextlib.suppress(UsageError):
            found.append(queue.header(number))
    return found


def _order(jobs: int) -> int:
    """Up to 7 jobs are of order 0, up to 63 of order 1, and so on: eight of one order make one of a higher."""
    return (max(1, jobs).bit_length() - 1) // 3


def _sorts(queue: Queue, headers: list[Header]) -> tuple[list[Header], list[Header]]:
    """Those to which nothing has happened, and those that are through; as many as may become one."""
    untouched, through = [], []
    for header in headers:
        if header.jobs <= UNTOUCHED_JOBS and _count(queue.pending(header.segment)) == header.chunks:
            untouched.append(header)
        elif header.jobs <= FILED_JOBS and _count(queue.filed(header.segment)) == header.chunks:
            through.append(header)
    return _at_most(untouched, UNTOUCHED_JOBS * MANY), _at_most(through, FILED_JOBS * MANY)


def _count(path: str) -> int:
    try:
        return len(os.listdir(path))
    except FileNotFoundError:
        return -1


def _at_most(headers: list[Header], jobs: int) -> list[Header]:
    kept = []
    for header in headers:
        jobs -= header.jobs
        if jobs < 0:
            break
        kept.append(header)
    return kept


# ---- the steps --------------------------------------------------------------------------------------------
def _become_one(queue: Queue, headers: list[Header], *, filed: bool) -> Header:
    """Make one segment of these, and remove them. Raises Unfit when they cannot become one now, OSError."""
    new = join(queue, next_number(queue), headers, filed=filed)
    into = new.head.segment
    holder = None if filed else _claim(queue, new.chunks)
    try:
        value = {"schema_version": 1, "into": into, "of": [its.segment for its in headers], "filed": filed}
        disk.publish(queue.gathering, (json.dumps(sealed(value)) + "\n").encode(), tmp_dir=queue.tmp)
        disk.sync_dir(queue.root)
        _make(queue, new, filed=filed)
        _succeed(queue, Gathering(into, tuple(its.segment for its in headers), filed, counts=True))
        _over(queue)
    except BaseException:
        if holder is not None:
            holder.abandon()
        raise
    if holder is not None:
        holder.close()
    return new.head


def _claim(queue: Queue, chunks: list[Chunk]) -> claims.Worker:
    """Claim these chunks, all of them. Raises Unfit when a worker was first with one."""
    holder = claims.Worker(queue, f"{claims.run_id()}.0.0", 0)
    try:
        if all(map(holder.take, chunks)):
            return holder
        for chunk in chunks:
            holder.give_back(chunk, None)  # one that it has not got stays where it is
    except BaseException:
        holder.abandon()
        raise
    holder.close()
    raise Unfit


def _make(queue: Queue, new: Joined, *, filed: bool) -> None:
    """The new segment, its file last."""
    number = new.head.segment
    path = queue.segment(number)
    make_directories(queue, number)
    for k, data in new.journals.items():
        disk.create(os.path.join(queue.journal_dir(number), f"{k}.jsonl"), data)
    write_cache(queue, number, new.ids)
    if filed:
        disk.sync_dir(queue.journal_dir(number))
        for token in new.tokens():
            disk.create(os.path.join(queue.filed(number), token), b"", sync=False)
        disk.sync_dir(queue.filed(number))
    disk.publish(path, new.data, tmp_dir=queue.tmp)
    disk.sync_dir(os.path.dirname(path))


def _succeed(queue: Queue, its: Gathering) -> None:
    """The new segment counts: publish it, and remove what it stands for. Does nothing where that is done."""
    disk.sync_dir(queue.path("segments"))  # who gave it its name may have died before that
    if its.into not in numbered(queue.path("pending")):
        if its.filed:
            disk.ensure_dir(queue.pending(its.into))
            disk.sync_dir(queue.path("pending"))
        else:
            publish_tokens(queue, its.into)
    for worker_id in worker_ids(queue):
        path = os.path.join(queue.workers, worker_id)
        for chunk in chunks_in(path):
            if chunk.segment in its.of:
                disk.unlink_quietly(os.path.join(path, chunk.name))
    for number in its.of:
        _remove(queue, number)


def _remove(queue: Queue, number: int) -> None:
    """Remove all of a segment: by their names, and nothing that is named in another way."""
    directories = (queue.pending(number), queue.done(number), queue.filed(number))
    for path in directories:
        for chunk in chunks_in(path, number):
            disk.unlink_quietly(os.path.join(path, chunk.token))
    books = queue.journal_dir(number)
    for name in os.listdir(books) if os.path.isdir(books) else ():
        k, _, rest = name.partition(".")
        if rest == "jsonl" and k.isascii() and k.isdigit():
            disk.unlink_quietly(os.path.join(books, name))
    remove_cache(queue, number)
    for path in (*directories, books):
        if os.path.isdir(path):
            disk.rmdir(path)
    disk.unlink_quietly(queue.segment(number))  # last: by it a note that cannot be read is made out


def _over(queue: Queue) -> None:
    """What was made and removed is so for good; the note of it goes last."""
    for name in _PARENTS:
        disk.sync_dir(queue.path(name))
    disk.unlink(queue.gathering)
    disk.sync_dir(queue.root)


# ---- a note that cannot be read ---------------------------------------------------------------------------
def _derived(queue: Queue) -> Gathering:
    """The gathering under way, found in the files themselves: the last segment holds all jobs of the others meant, or
    has no file yet."""
    there = files(queue)
    into = max([*there, *numbered(queue.path("journal"))], default=0)
    if into not in there:
        return Gathering(into, (), filed=False, counts=False)
    ids = set(read_ids(queue.segment(into)))
    of = tuple(its for its in there if its != into and ids.issuperset(read_ids(queue.segment(its))))
    filed = bool(of) and bool(chunks_in(queue.filed(into), into))
    return Gathering(into, of, filed, counts=True)
