"""When the requests of a probe may leave: by the queue's own budget, or at a rate."""

from __future__ import annotations

import threading
import time

from engine.budget import Outcome
from engine.budget.limiter import Budget
from engine.errors import Interrupted
from engine.model import Failure, Kind, Permit

_OUTCOMES = {Kind.BLOCKED: Outcome.BLOCKED, Kind.NETWORK: Outcome.NETWORK, Kind.PROXY: Outcome.NETWORK}


class RatePacer:
    """Requests of an egress begin at least `interval_s` apart; 0: no pacing."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_s: dict[int, float] = {}
        self._lock = threading.Lock()

    def take(self, egress: int) -> Permit:
        with self._lock:
            now = time.monotonic()
            due_s = max(now, self._next_s.get(egress, 0.0))
            self._next_s[egress] = due_s + self._interval_s
        time.sleep(due_s - now)
        return Permit(egress, 0, float("inf"), due_s)

    def unused(self, permit: Permit) -> None: ...
    def report(self, permit: Permit, failure: Failure | None, video_id: str) -> None: ...
    def closed(self, egress: int) -> str:
        return ""


class BudgetPacer:
    """Permits of a queue's budget: a run under way and the probe together keep the rate, and a block stops both.

    An egress that cools down is not asked: what it would answer is the reason why it cools down.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._stop = threading.Event()

    def take(self, egress: int) -> Permit:
        permit = self._budget.take(egress=egress, stop=self._stop, if_usable=True)
        if permit is None:
            raise Interrupted
        return permit

    def unused(self, permit: Permit) -> None:
        self._budget.unused(permit)

    def report(self, permit: Permit, failure: Failure | None, video_id: str) -> None:
        """Say what became of it. What is wrong with one way (a timeout, 400) says nothing against the egress."""
        outcome = Outcome.OK if failure is None else _OUTCOMES.get(failure.kind, Outcome.OTHER)
        if failure is not None and failure.dead_egress:
            outcome = Outcome.DEAD
        after_s = failure.retry_after_s if failure else None
        self._budget.report(permit, outcome, job=video_id, retry_after_s=after_s)

    def closed(self, egress: int) -> str:
        state = self._budget.peek(egress)
        if state is None or self._budget.usable(egress):
            return ""
        left_s = max(state.open_until - time.monotonic(), 0.0)
        return f"the queue's budget keeps it closed for {max(1, round(left_s / 60))} min more"
