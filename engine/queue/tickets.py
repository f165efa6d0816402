"""Tickets: how `--limit N` is kept exactly by several processes.

A job takes a ticket before it starts and keeps it when it becomes final; one that comes back returns it. The
number left lies in one small file under its own lock. A process that is killed takes its tickets with it, so
the limit is never exceeded, only perhaps not reached.
"""

from __future__ import annotations

import os
import threading

from filelock import lock_descriptor, unlock_descriptor

from engine.queue.directory import Queue
from engine.storage import disk

_DIGITS = 20


class Tickets:
    """A process's hold on the tickets of this run."""

    def __init__(self, queue: Queue) -> None:
        self._fd = os.open(queue.path("tickets"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._changed = threading.Condition()
        self._out = 0  # taken here, and neither kept nor given back yet

    def take(self) -> bool:
        """Take one; False when none is left."""
        return self._change(-1)

    def give_back(self) -> None:
        self._change(1)

    def keep(self) -> None:
        """A job that took one is final."""
        with self._changed:
            self._out -= 1
            self._changed.notify_all()

    def spent(self) -> bool:
        """Whether none is left just now."""
        return self._left() <= 0

    def settled(self, within_s: float = 0.0) -> bool:
        """Whether every ticket taken here was kept or given back, waited for so long at most."""
        with self._changed:
            return self._changed.wait_for(lambda: self._out == 0, within_s)

    def _left(self) -> int:
        try:
            return int(os.pread(self._fd, _DIGITS, 0))
        except ValueError:  # damaged: the limit is not exceeded, only perhaps not reached
            return 0

    def _change(self, by: int) -> bool:
        with self._changed:
            if self._fd < 0:
                return False
            lock_descriptor(self._fd, poll_interval=0.001)
            try:
                left = self._left() + by
                if left < 0:
                    return False
                disk.pwrite(self._fd, b"%0*d" % (_DIGITS, left), 0)
                self._out -= by
                self._changed.notify_all()
                return True
            finally:
                unlock_descriptor(self._fd)

    def close(self) -> None:
        """Let go of the file. A late thread then gets nothing, and never writes to who has its number next."""
        with self._changed:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def issue(queue: Queue, count: int) -> None:
    """Begin a run with so many tickets."""
    disk.publish(queue.path("tickets"), b"%0*d" % (_DIGITS, count), tmp_dir=queue.tmp, sync=False)
