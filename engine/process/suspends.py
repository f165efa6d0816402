"""Suspends: the times in which this process did not run, because it was stopped or its container was frozen.

A thread notes the time four times a second. If its last note is more than 2 s old, nothing in this process ran
since then. Whoever measures how long something took subtracts that, so a suspend costs no deadline. (The monotonic
clock of Linux itself stands still while the machine sleeps.)
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque

from engine.process.threads import start_thread

GAP_S = 2.0
TICK_S = 0.25
KEPT = 64  # suspends that are remembered


class Suspends:
    """The suspends of one process. All times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gaps: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._ticked_at: float | None = None  # None: nobody ticks, so a gap says nothing
        self._watched = False

    def tick(self) -> None:
        """Note that the process runs now."""
        with self._lock:
            now = time.monotonic()
            passed_s = 0.0 if self._ticked_at is None else now - self._ticked_at
            if passed_s < 0:  # another clock, as in tests: what was noted by the first one says nothing here
                self._gaps.clear()
            elif passed_s > GAP_S:
                self._gaps.append((now - passed_s, now))
            self._ticked_at = now

    def lost_s(self, since: float) -> float:
        """For how many seconds the process has not run since then, up to now."""
        self.watch()
        if self._ticked_at is None:
            return 0.0
        self.tick()  # the caller may have woken before the thread has
        return sum(ended - max(began, since) for began, ended in tuple(self._gaps) if ended > since)

    def watch(self) -> None:
        """Tick from a thread of its own. When no further thread can be started, no suspend is noticed."""
        with self._lock:
            if self._watched:
                return
            self._watched = True
        with contextlib.suppress(RuntimeError, MemoryError):
            start_thread(self._go_on, name="suspends")

    def _go_on(self) -> None:
        while True:
            self.tick()
            time.sleep(TICK_S)


class _Mine:
    """Of this process."""

    suspends = Suspends()


def _begin_again() -> None:
    _Mine.suspends = Suspends()


os.register_at_fork(after_in_child=_begin_again)  # the thread stays in the parent


def watch() -> None:
    """Notice the suspends of this process from now on."""
    _Mine.suspends.watch()


def lost_s(since: float) -> float:
    """For how many seconds this process has not run since then (monotonic clock)."""
    return _Mine.suspends.lost_s(since)


def attempt_spanned_suspend(started: float) -> bool:
    """Whether this process was suspended after `started` (monotonic clock): a timeout then says nothing."""
    return lost_s(started) > 0
