"""What the HTTP client asks for amid an attempt: another permit, and the slot for a large answer."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator

from engine.budget.limiter import Budget
from engine.errors import Interrupted
from engine.model import Permit
from engine.network.large_answers import large_slot
from engine.worker.work import Work


class FurtherPermits:
    """Gives the threads of a process what their attempts wait for. A thread that waits here does not hang.

    `abort` ends the waits: then an attempt must step back.
    """

    def __init__(self, budget: Budget, abort: threading.Event) -> None:
        self._budget = budget
        self._abort = abort
        self._mine = threading.local()  # `work`: what the thread has in flight

    @contextlib.contextmanager
    def used_by(self, work: Work) -> Iterator[None]:
        """What this thread asks for inside is for this job; outside it is a control video's."""
        self._mine.work = work
        try:
            yield
        finally:
            self._mine.work = None

    def take(self, egress: int) -> Permit:
        """A permit for a further request of this thread's attempt. Raises Interrupted when it must step back."""
        work = self._work()
        with _waiting(work):
            permit = self._budget.take(egress=egress, stop=self._abort, if_usable=True)
            if permit is None:
                raise Interrupted
            if work is not None:
                work.permit = permit
        return permit

    def take_large_slot(self) -> bool:
        """Wait until this thread may hold a large answer; False when the attempt must step back."""
        with _waiting(self._work()):
            return large_slot.take(self._abort.is_set)

    def _work(self) -> Work | None:
        return getattr(self._mine, "work", None)


@contextlib.contextmanager
def _waiting(work: Work | None) -> Iterator[None]:
    """The time inside does not count as time in which the job's thread may hang."""
    if work is not None:
        work.since = math.inf
    try:
        yield
    finally:
        if work is not None:
            work.since = time.monotonic()
