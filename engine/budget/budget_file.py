"""The budget file of a process: opened, locked, and followed to where its name leads.

One descriptor a process, for a file lock belongs to the open file; a thread lock in front, because the file lock does
not tell the threads of a process apart.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator

from engine.budget.records import take_over
from engine.budget.state import MAX_EGRESSES, RECORD_BYTES, offset
from engine.errors import DiskError, EngineError, Interrupted, UsageError
from engine.storage import disk
from engine.storage.flock import try_lock, unlock

STUCK_S, STUCK_AGAIN_S = 4.0, 60.0
SLICE_S = 0.25
POLL_S = 0.001
FOLLOW_TIMES = 8
_ALL: weakref.WeakSet[BudgetFile] = weakref.WeakSet()


class BudgetFile:
    """The file's bytes, and its lock.

    Raises UsageError when it cannot be opened, DiskError when it cannot be written. Whatever waits for the lock
    raises Interrupted when its `stop` is set. `on_stuck` is told when the lock's holder lives but does not run
    (stopped, suspended): after 4 s, then once a minute. `on_fork` is called in a forked child.
    """

    def __init__(self, path: str, on_stuck: Callable[[str], None] | None) -> None:
        self.path = path
        self.on_fork: Callable[[], None] = lambda: None
        self._on_stuck = on_stuck
        self._mutex = threading.Lock()
        self._fd = _open(path)
        self._inode = os.fstat(self._fd).st_ino
        _ALL.add(self)

    def removed(self) -> bool:
        """Whether the file has no name any more: another may have what is true."""
        return not os.fstat(self._fd).st_nlink

    def record(self, at: int) -> bytes:
        """The record that lies there."""
        return os.pread(self._fd, RECORD_BYTES, at)

    def read_all(self) -> bytes:
        """All there is."""
        return os.pread(self._fd, offset(MAX_EGRESSES), 0)

    def put(self, at: int, data: bytes) -> None:
        """Write, under the lock."""
        try:
            disk.pwrite(self._fd, data, at)
        except OSError as exc:
            raise _error(exc, f"writing {self.path}") from exc

    @contextlib.contextmanager
    def locked(self, stop: threading.Event | None = None) -> Iterator[None]:
        """Hold both locks, on the file that has the name now. A dead holder's lock is free at once."""
        while not self._mutex.acquire(timeout=SLICE_S):
            if stop is not None and stop.is_set():
                raise Interrupted
        try:
            if not try_lock(self._fd):
                self._wait_for_lock(stop)
            if not os.fstat(self._fd).st_nlink:
                self._follow(stop)
            yield
        finally:
            try:
                unlock(self._fd)
            finally:
                self._mutex.release()

    def replaced(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino != self._inode
        except OSError:
            return True

    def follow(self) -> None:
        """Under the lock, go over to the file that the path leads to now, unless the lock has done so already."""
        if self.replaced():
            self._follow(None)

    def close(self) -> None:
        """Close the descriptor, and with it a lock that is held."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def after_fork(self) -> None:
        """In a forked child: the inherited descriptor shares its lock with the parent's, so use another."""
        if self._fd < 0:
            return
        self._mutex = threading.Lock()
        try:
            self._reopen()
        except (OSError, EngineError):  # whoever uses it in the child gets an error, never a shared lock
            self.close()
        self.on_fork()

    def _follow(self, stop: threading.Event | None) -> None:
        """Under both locks: go over to the file that the path leads to now, with what is known from this one.

        Two processes with a file each would each grant the whole rate. Where the new one is removed in its turn, and
        again, this gives up following for now.
        """
        for _ in range(FOLLOW_TIMES):
            old = self.read_all()
            self._reopen()
            if not try_lock(self._fd):
                self._wait_for_lock(stop)
            for at, data in take_over(old, self.read_all(), time.monotonic()):
                self.put(at, data)
            if os.fstat(self._fd).st_nlink:
                break

    def _reopen(self) -> None:
        """Open what the path leads to now. The descriptor keeps its number, for other threads may be reading by it; a
        file lock that was held through it is gone."""
        fd = _open(self.path)
        try:
            os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)
        self._inode = os.fstat(self._fd).st_ino

    def _wait_for_lock(self, stop: threading.Event | None) -> None:
        tell_at = time.monotonic() + STUCK_S
        while True:
            time.sleep(POLL_S)
            if try_lock(self._fd):
                return
            if stop is not None and stop.is_set():
                raise Interrupted
            now = time.monotonic()
            if now >= tell_at:
                tell_at = now + STUCK_AGAIN_S
                if self._on_stuck is not None:
                    self._on_stuck(
                        f"the budget file {self.path} is locked: a process of this queue's runs seems to be stopped."
                        " Let it go on (kill -CONT) or end it; the others wait until then."
                    )


def _open(path: str) -> int:
    """Open the file, making an empty one if there is none: whoever locks it first fills it.

    In one step: somebody may be removing it as fast as it is made.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, disk.PRIVATE_FILE)
    except OSError as exc:
        raise _error(exc, f"opening {path}") from exc


def _error(exc: OSError, doing: str) -> DiskError | UsageError:
    if disk.is_disk_error(exc) or disk.is_shortage(exc):
        return disk.disk_error(exc, doing)
    return UsageError(f"{doing}: {exc.strerror or exc}. The queue directory must be there and writable.")


def _after_fork_in_child() -> None:
    for each in list(_ALL):
        each.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
