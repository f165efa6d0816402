"""The fsyncs of one writer with several threads: after one that failed none is tried again.

The kernel may have dropped the pages of a failed fsync, and the next one would report success. So the process that
saw it ends, and whoever takes its work over writes again what it relies on.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator

from engine.storage import disk


class Fsyncs:
    """Remembers the first failed fsync, and raises its error in place of every later one. Thread-safe."""

    def __init__(self) -> None:
        self._failed: tuple[int, str, str] | None = None
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}  # by directory

    def check(self) -> None:
        """Raise the OSError of the fsync that failed, if one did."""
        if self._failed is not None:
            raise OSError(*self._failed)

    @contextlib.contextmanager
    def guarded(self, path: str) -> Iterator[None]:
        """A block that fsyncs `path`, in which one thread at a time may be.

        It is not begun after a failed fsync, and its own failure is remembered.
        """
        self.check()
        try:
            yield
        except OSError as exc:
            self._failed = (exc.errno or errno.EIO, exc.strerror or str(exc), str(exc.filename or path))
            raise

    def sync_dir(self, path: str) -> None:
        """Make a directory's names durable. Threads take turns: one that began beside a failing fsync may succeed."""
        with self._lock:
            turn = self._turns.setdefault(path, threading.Lock())
        with turn, self.guarded(path):
            disk.sync_dir(path)
