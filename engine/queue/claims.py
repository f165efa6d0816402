"""Claims: a worker's hold on chunks.

A claim is a token in a worker's directory, whose lock the worker holds. The directory is made in `tmp/`, locked, then
renamed into `workers/`: a visible directory is locked, or its worker is dead. Ids are never reused. When the process
dies, the kernel frees the lock, and any other worker may take the directory apart: journal the deaths, move the
tokens, remove the lock last.
"""

from __future__ import annotations

import calendar
import contextlib
import errno
import math
import os
import re
import time
from collections.abc import Callable
from typing import Any

from engine.queue import journal
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.job_state import fold, is_due
from engine.queue.segments import Chunk, read_jobs
from engine.storage import disk, processes
from engine.storage.locks import Lock, living_holder, read_note

_BEGAN = "%Y%m%dT%H%M%S"
_SLOT = 64  # bytes a thread has in `inflight`
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_SURE = b"sure"  # what a note of a death holds; earlier versions of the engine read it

Forget = Callable[[str, tuple[dict[str, Any], ...], float | None], None]


class Worker:
    """A worker's directory: its lock, its tokens, and what each of its threads is doing.

    Without threads it holds chunks for another purpose (`engine.queue.gathering`), and onlookers see no worker.
    """

    def __init__(self, queue: Queue, worker_id: str, threads: int) -> None:
        self.queue = queue
        self.id = worker_id
        self.dir = os.path.join(queue.workers, worker_id)
        self._cursor: list[Chunk] = []
        born = os.path.join(queue.tmp, worker_id)
        disk.mkdir(born)
        self._lock = Lock(os.path.join(born, "lock"))
        self._lock.take(note={"threads": threads} if threads else None)
        disk.create(os.path.join(born, "inflight"), b"\n" * (threads * _SLOT), sync=False)
        self._inflight = os.open(os.path.join(born, "inflight"), os.O_RDWR | os.O_CLOEXEC)
        disk.rename(born, self.dir)
        self._lock.path = os.path.join(self.dir, "lock")

    # what each thread does
    def begin(self, thread: int, chunk: Chunk, video_id: str) -> None:
        """Note that a thread starts a job, before it does."""
        text = f"{chunk.name} {video_id}".encode()
        disk.pwrite(self._inflight, text.ljust(_SLOT - 1) + b"\n", thread * _SLOT)

    def end(self, thread: int) -> None:
        """Note that a thread's job has its journal line."""
        disk.pwrite(self._inflight, b"\n" * _SLOT, thread * _SLOT)

    # tokens
    def claim(self, now: float) -> Chunk | None:
        """Take a chunk that is free: one whose deferral is over, else the next pending one."""
        for when, chunk, name in deferred_chunks(self.queue):
            if is_due(when, now) and self._take(os.path.join(self.queue.deferred, name), chunk):
                return chunk
        while self._cursor or self._list_pending():
            chunk = self._cursor.pop()
            if self.take(chunk):
                return chunk
        return None

    def take(self, chunk: Chunk) -> bool:
        """Take this very chunk if it is pending."""
        return self._take(os.path.join(self.queue.pending(chunk.segment), chunk.token), chunk)

    def take_deferred(self, chunk: Chunk, name: str) -> bool:
        """Take this very chunk, whose token lies in deferred/ under this name, before its time."""
        return self._take(os.path.join(self.queue.deferred, name), chunk)

    def _list_pending(self) -> bool:
        """Look again which chunks are pending: those of the first segment that has any, last first."""
        for segment in self.queue.segments():
            found = chunks_in(self.queue.pending(segment), segment)
            if found:
                self._cursor = found[::-1]
                return True
        return False

    def _take(self, path: str, chunk: Chunk) -> bool:
        try:
            disk.rename(path, os.path.join(self.dir, chunk.name))
        except FileNotFoundError:  # another was first
            return False
        return True

    def finish(self, chunk: Chunk) -> None:
        """Every job of the chunk is final and durable: hand its token to the monitor."""
        disk.rename(
            os.path.join(self.dir, chunk.name), os.path.join(self.queue.done(chunk.segment), chunk.token)
        )

    def give_back(self, chunk: Chunk, not_before: float | None) -> None:
        """Let go of a chunk: untouched ones to pending/, others to deferred/ with the time of the earliest job."""
        release(self.queue, os.path.join(self.dir, chunk.name), chunk, not_before)

    def abandon(self) -> None:
        """Leave everything as a killed process does: another worker takes the directory apart."""
        os.close(self._inflight)
        self._lock.release()

    def close(self) -> None:
        """Remove the directory, its lock last. All tokens must have left it."""
        os.close(self._inflight)
        _remove(self.dir, self._lock)


def release(queue: Queue, token_path: str, chunk: Chunk, not_before: float | None) -> None:
    """Free a token: to pending/ when its chunk has no journal yet, to deferred/ otherwise.

    So deferred/ and workers/ together hold every touched chunk that is not done, which is what lets a count
    of the queue read no more journals than it must.
    """
    if not_before is None:
        target = os.path.join(queue.pending(chunk.segment), chunk.token)
    else:
        target = os.path.join(queue.deferred, f"{max(0, math.ceil(not_before)):010d}~{chunk.name}")
    with contextlib.suppress(FileNotFoundError):
        disk.rename(token_path, target)


def _remove(path: str, lock: Lock) -> None:
    """Remove a worker's directory; its lock goes last, so that nobody else starts on it meanwhile."""
    _unlink(path, "inflight", "died", "lock")
    lock.release()
    with contextlib.suppress(FileNotFoundError):
        try:
            disk.rmdir(path)
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _unlink(path: str, *names: str) -> None:
    for name in names:
        disk.unlink_quietly(os.path.join(path, name))


def record_death(queue: Queue, worker_id: str) -> None:
    """Note that a worker died while its supervisor lived: its jobs in flight are suspected.

    Without this note (everything was killed together) nobody is suspected.
    """
    path = os.path.join(queue.workers, worker_id, "died")
    with contextlib.suppress(FileNotFoundError):
        disk.publish(path, _SURE, tmp_dir=queue.tmp, sync=False)


def _is_recorded(path: str) -> bool:
    """Whether the supervisor noted the death of the worker that had this directory."""
    return os.path.exists(os.path.join(path, "died"))


def in_flight(path: str) -> list[tuple[Chunk, str]]:
    """What the threads of the worker in this directory are doing: (chunk, job) each."""
    try:
        with open(os.path.join(path, "inflight"), "rb") as file:
            data = file.read()
    except OSError:
        return []
    found = []
    for at in range(0, len(data), _SLOT):
        parts = data[at : at + _SLOT].decode("ascii", "replace").split()
        chunk = Chunk.parse(parts[0]) if len(parts) == 2 else None
        if chunk is not None and _ID.fullmatch(parts[1]):  # it may be damaged, and becomes a path
            found.append((chunk, parts[1]))
    return found


def reclaim(queue: Queue, run_id: str, forget: Forget) -> int:
    """Take apart the directories of dead workers; returns how many.

    A dead worker of this very run waits until its death is recorded, so that its jobs are suspected. For each job
    that was in flight and has no final, `forget(job, rows, since)` removes what it may have left in the output
    directory. `rows` are its rows in the journal that name files, `since` is when the worker's run began.
    """
    count = 0
    for worker_id in worker_ids(queue):
        path = os.path.join(queue.workers, worker_id)
        if worker_id.startswith(run_id + ".") and not _is_recorded(path):
            continue
        lock = Lock(os.path.join(path, "lock"))
        try:
            if not lock.take(create=False):
                continue
        except FileNotFoundError:
            # Only a directory whose removal was cut off has no lock, or one whose lock a power cut took: nobody
            # lives there, and what is left are perhaps tokens and the small files.
            if chunks_in(path):
                _reclaim_one(queue, path, worker_id, recorded=False, forget=forget)
            _unlink(path, "inflight", "died")
            with contextlib.suppress(OSError):
                disk.rmdir(path)
            continue
        except NotADirectoryError:  # a stray file: `engine verify` names it
            continue
        try:
            _reclaim_one(queue, path, worker_id, recorded=_is_recorded(path), forget=forget)
            _remove(path, lock)
            count += 1
        finally:
            lock.release()
    return count


def _reclaim_one(queue: Queue, path: str, worker_id: str, *, recorded: bool, forget: Forget) -> None:
    busy = in_flight(path)
    for chunk in chunks_in(path):
        gathered = queue.gathering_under_way()
        if gathered is not None and gathered.counts and chunk.segment in gathered.of:
            disk.unlink_quietly(os.path.join(path, chunk.name))  # its jobs are in another segment by now
            continue
        state = fold(journal.lines(queue.journal(chunk)))
        mine = [video_id for in_chunk, video_id in busy if in_chunk == chunk]
        open_jobs = [
            video_id for video_id in mine if (s := state.jobs.get(video_id)) is None or s.final is None
        ]
        if open_jobs:  # of this chunk alone: `inflight` may be damaged and name a job of another
            known = {job.video_id for job in read_jobs(queue.segment(chunk.segment), chunk)}
            open_jobs = [video_id for video_id in open_jobs if video_id in known]
        for video_id in open_jobs:
            job = state.jobs.get(video_id)
            forget(video_id, job.rows if job else (), began_at(worker_id))
        if recorded and open_jobs:
            book = journal.Journal(queue.journal(chunk))
            for video_id in open_jobs:
                alone = len(busy) == 1
                book.write("died", {"job": video_id, "worker": worker_id, "alone": alone, "sure": True})
            book.close()
        touched = bool(state.end) or (recorded and bool(open_jobs))
        release(queue, os.path.join(path, chunk.name), chunk, 0.0 if touched else None)


def living(queue: Queue, run: dict[str, Any] | None = None) -> list[tuple[str, int, list[tuple[Chunk, str]]]]:
    """(id, pid, what is in flight) of each worker that lives.

    An onlooker gives the note of the live `run` and touches no lock: a worker in another pid namespace is then taken
    to live when it is in that run's. Without `run` the caller holds run.lock.
    """
    found = []
    for worker_id in worker_ids(queue):
        path = os.path.join(queue.workers, worker_id)
        note = _living(os.path.join(path, "lock"), run)
        if note is not None:
            found.append((worker_id, int(note["pid"]), in_flight(path)))
    return found


def _living(path: str, run: dict[str, Any] | None) -> dict[str, Any] | None:
    note = read_note(path)
    if run is not None and note is not None and processes.elsewhere(note):
        return note if processes.same_place(note, run) else None
    return living_holder(path)


def began_at(worker_id: str) -> float | None:
    """When the run of this worker began, in seconds since 1970; None when its id does not tell."""
    try:
        return float(calendar.timegm(time.strptime(worker_id.partition("-")[0], _BEGAN)))
    except ValueError:
        return None


def run_id() -> str:
    """A name for a run that no other run has had or will have."""
    return f"{time.strftime(_BEGAN, time.gmtime())}-{os.getpid()}-{os.urandom(3).hex()}"
