"""In which order the egresses of a run are free, and which of them had a success last.

All records are read again four times a second, for other processes use them too; in between this process's own
grants keep the order.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import NamedTuple

from engine.budget.circuit_breaker import recalled
from engine.budget.pacing import ready_at
from engine.budget.state import AWAY, EgressState, State
from engine.budget.store import SLICE_S, Store

Avoid = Callable[[int], bool]


class Seat(NamedTuple):
    """An egress in the order: when it is free, then who rested longest."""

    ready: float
    tat: float
    egress: int
    closed: bool


class Order:
    """The egresses of a process's budget. `first` and `reseat` are for one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.begin()

    def begin(self) -> None:
        """Forget everything; also what a forked child does."""
        self._heap: list[Seat] = []
        self._heap_at = 0.0
        self._latest: list[tuple[float, int]] = []  # the two latest successes: when, by which egress
        self._surveyed_at = 0.0

    def first(self, now: float, avoid: Avoid | None) -> Seat:
        """The egress that is free first. One to be avoided only when no other is closed."""
        if now - self._heap_at >= SLICE_S:
            self._heap = [
                Seat(0.0, 0.0, egress, True) if state is None else _seat(egress, state)
                for egress, state in enumerate(self._survey(now))
            ]
            heapq.heapify(self._heap)
            self._heap_at = now
        first = self._heap[0]
        if avoid is not None and avoid(first.egress):
            return min((seat for seat in self._heap if seat.closed and not avoid(seat.egress)), default=first)
        return first

    def reseat(self, egress: int, state: EgressState) -> None:
        """Put an egress where it belongs now."""
        if self._heap and self._heap[0].egress == egress:
            heapq.heapreplace(self._heap, _seat(egress, state))
            return
        for at, seat in enumerate(self._heap):
            if seat.egress == egress:
                self._heap[at] = _seat(egress, state)
                heapq.heapify(self._heap)
                return

    def others_ok_at(self, egress: int) -> float | None:
        """When another egress had its last success, 0 when none had any; None when there is no other."""
        if len(self._store) == 1:
            return None
        now = time.monotonic()
        if now - self._surveyed_at >= SLICE_S:
            self._survey(now)
        return next((at for at, number in self._latest if number != egress), 0.0)

    def recall(self) -> None:
        """When no egress works any more, see that those are tried soon that were retired for a while."""
        states = self._store.peek_all()
        if any(state is None or state.state == State.CLOSED for state in states):
            return
        for egress, state in enumerate(states):
            if state is not None and state.flags & AWAY:
                with self._store.transaction(egress) as record:
                    record.state = recalled(record.state, record.now, record.wall, self._store.settings)

    def _survey(self, now: float) -> list[EgressState | None]:
        states = self._store.peek_all()
        successes = ((state.ok_at, egress) for egress, state in enumerate(states) if state is not None)
        self._latest = heapq.nlargest(2, successes)
        self._surveyed_at = now
        return states


def _seat(egress: int, state: EgressState) -> Seat:
    return Seat(ready_at(state), state.tat, egress, state.state == State.CLOSED)
