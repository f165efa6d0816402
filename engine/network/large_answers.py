"""Large answers are handled one at a time, which bounds the memory of a process.

A transcript of 31 MB takes some 300 MB while it is decoded, parsed and rendered. So a thread whose answer grows
beyond `LARGE_BYTES` waits for the one slot before it reads on. It keeps the slot until the output is written: leaving
the thread's outermost `scope` gives it back.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

LARGE_BYTES = 2 << 20
POLL_S = 0.25
WAIT_MAX_S = 600.0


class LargeAnswerSlot:
    """One slot for all threads of a process: whoever has it may hold a large answer."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(1)
        self._mine = threading.local()

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Give back a slot taken inside, at the end of the outermost scope."""
        outermost = not getattr(self._mine, "inside", False)
        self._mine.inside = True
        try:
            yield
        finally:
            if outermost:
                self._mine.inside = False
                if self.mine:
                    self._mine.slot = False
                    self._free.release()

    @property
    def mine(self) -> bool:
        """Whether this thread has the slot."""
        return bool(getattr(self._mine, "slot", False))

    def take(self, give_up: Callable[[], bool] = lambda: False, wait_max_s: float = WAIT_MAX_S) -> bool:
        """Wait for the slot, inside a scope. False when `give_up` returns True, or after `wait_max_s`."""
        if not getattr(self._mine, "inside", False):
            raise RuntimeError("the slot may only be taken inside a scope, which gives it back")
        waited_s = 0.0
        while not self.mine:
            if self._free.acquire(timeout=POLL_S):
                self._mine.slot = True
            else:
                waited_s += POLL_S
                if give_up() or waited_s >= wait_max_s:
                    return False
        return True


large_slot = LargeAnswerSlot()
