"""The budget file as an object: open it, lock it, read and write its records.

One descriptor a process, for a file lock belongs to the open file; a thread lock in front, because the file
lock does not tell the threads of a process apart. Whoever holds them reads and writes records, nothing else.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType

from engine.budget.remade import taken_over
from engine.budget.state import MAX_EGRESSES, RECORD_BYTES, offset
from engine.errors import DiskError, EngineError, UsageError
from engine.storage import disk
from engine.storage.flock import try_lock, unlock

STUCK_S, STUCK_AGAIN_S = 4.0, 60.0
SLICE_S = 0.25
POLL_S = 0.001
FOLLOW_TIMES = 8
_ALL: weakref.WeakSet[BudgetFile] = weakref.WeakSet()


class BudgetFile:
    """The file behind a budget; `with file:` holds its lock.

    Raises UsageError when it cannot be opened, DiskError when it cannot be written.
    """

    def __init__(self, path: str, on_stuck: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.on_fork: Callable[[], None] | None = None
        self._on_stuck = on_stuck
        self._mutex = threading.Lock()
        self._fd = _open(path)
        self._inode = os.fstat(self._fd).st_ino
        _ALL.add(self)

    def __enter__(self) -> None:
        self.lock()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unlock()

    def lock(self, stop: threading.Event | None = None) -> bool:
        """Wait for both locks; False when `stop` was set first.

        A dead holder's lock is free at once. A holder that lives but does not run (stopped, suspended) is
        told to `on_stuck` after 4 s, again once a minute, and waited for.
        """
        while not self._mutex.acquire(timeout=SLICE_S):
            if stop is not None and stop.is_set():
                return False
        try:
            if self._lock_file(stop) and (not self.unlinked() or self.follow(stop)):
                return True
        except BaseException:
            self._mutex.release()
            raise
        self._mutex.release()
        return False

    def _lock_file(self, stop: threading.Event | None) -> bool:
        return try_lock(self._fd) or self._wait_for_lock(stop)

    def unlock(self) -> None:
        """Give both locks back."""
        try:
            unlock(self._fd)
        finally:
            self._mutex.release()

    def read(self, index: int) -> bytes:
        """Record `index`, short or empty when the file ends before it; without the lock maybe torn."""
        return os.pread(self._fd, RECORD_BYTES, offset(index))

    def read_all(self) -> bytes:
        """The whole file, header first."""
        return os.pread(self._fd, offset(MAX_EGRESSES), 0)

    def write(self, index: int, record: bytes) -> None:
        """Write record `index` in place (-1: the header); only under the lock."""
        self._write_at(offset(index), record)

    def _write_at(self, at: int, data: bytes) -> None:
        try:
            disk.pwrite(self._fd, data, at)
        except OSError as exc:
            raise _error(exc, f"writing {self.path}") from exc

    def unlinked(self) -> bool:
        """Whether the file has no name any more. Who takes the lock then goes over to the one that has it."""
        return os.fstat(self._fd).st_nlink == 0

    def replaced(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino != self._inode
        except OSError:
            return True

    def follow(self, stop: threading.Event | None = None) -> bool:
        """Under both locks: go over to the file that the path leads to now, with what is known from this one.

        Two processes with a file each would each grant the whole rate. Where the new one is removed in its turn, and
        again, this gives up following for now. False when `stop` was set while waiting for the new file's lock.
        """
        for _ in range(FOLLOW_TIMES):
            old = self.read_all()
            self.reopen()
            if not self._lock_file(stop):
                return False
            for at, data in taken_over(old, self.read_all(), time.monotonic()):
                self._write_at(at, data)
            if not self.unlinked():
                break
        return True

    def reopen(self) -> None:
        """Open what the path leads to now. The descriptor keeps its number, for other threads may be reading by it; a
        file lock that was held through it is gone."""
        fd = _open(self.path)
        try:
            os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)
        self._inode = os.fstat(self._fd).st_ino

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
            self.reopen()
        except (
            OSError,
            EngineError,
        ):  # closed: whoever uses it in the child gets an error, never a shared lock
            self.close()
        if self.on_fork is not None:
            self.on_fork()

    def _wait_for_lock(self, stop: threading.Event | None) -> bool:
        tell_at = time.monotonic() + STUCK_S
        while True:
            time.sleep(POLL_S)
            if try_lock(self._fd):
                return True
            if stop is not None and stop.is_set():
                return False
            now = time.monotonic()
            if now >= tell_at:
                tell_at = now + STUCK_AGAIN_S
                self._tell_stuck()

    def _tell_stuck(self) -> None:
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
