"""Claims: a worker's hold on chunks.

A claim is a token in a worker's directory, whose lock the worker holds. The directory is made in `tmp/`, locked, then
renamed into `workers/`: a visible directory is locked, or its worker is dead. Ids are never reused. When the process
dies, the kernel frees the lock, and any other worker may take the directory apart (`engine.queue.dead_workers`).
"""

from __future__ import annotations

import calendar
import contextlib
import errno
import math
import os
import re
import time
from typing import Any

from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.job_state import is_due
from engine.queue.segments import Chunk
from engine.storage import disk, processes
from engine.storage.locks import Lock, living_holder, read_note

_BEGAN = "%Y%m%dT%H%M%S"
_SLOT = 64  # bytes a thread has in `inflight`
_ID = re.compile(r"[A-Za-z0-9_-]{11}")


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
    def begin(self, thread: int, chunk: str, video_id: str) -> None:
        """Note that a thread starts a job of the chunk of this name, before it does."""
        text = f"{chunk} {video_id}".encode()
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
        remove(self.dir, self._lock)


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


def remove(path: str, lock: Lock) -> None:
    """Remove a worker's directory; its lock goes last, so that nobody else starts on it meanwhile."""
    unlink(path, "inflight", "died", "lock")
    lock.release()
    with contextlib.suppress(FileNotFoundError):
        try:
            disk.rmdir(path)
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def unlink(path: str, *names: str) -> None:
    for name in names:
        disk.unlink_quietly(os.path.join(path, name))


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
