"""In which order the egresses of a run are free, and which of them had a success last.

Other processes use them too. So the egress that seems to be free first is looked at again before it is chosen, and a
few records are read anew four times a second, one after the other. Egresses that learn together are free at the
same moment, which moves with each permit: they stand in a line of their own, and only its first one in the order.
What a permit costs grows with the logarithm of the number of egresses; only the first one looks at all of them.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from engine.budget.budget_file import SLICE_S
from engine.budget.circuit_breaker import recalled
from engine.budget.pacing import ready_at
from engine.budget.state import AWAY, TOGETHER, EgressState, State
from engine.budget.store import Store

SWEPT = 64  # records that are read anew at once
ASKED = 16  # of those to be avoided, that are asked about again at once
Avoid = Callable[[int, float], bool]  # an egress, since when an answer by it is awaited (0: none is)


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
        self._seats: list[Seat | None] = [None] * len(self._store)
        self._states: list[EgressState | None] = [None] * len(self._store)
        self._heap: list[Seat] = []  # with some that are not in `_seats` any more: those count for nothing
        self._line_of = [0] * len(
            self._store
        )  # the key of its subnet, for an egress that waits for nothing else
        self._lines: dict[int, list[Seat]] = {}  # of each subnet a heap, by who rested longest
        self._fronts: dict[int, Seat] = {}  # of each subnet the seat in `_heap`
        self._aside: dict[int, float] = {}  # to be avoided: until when they are not asked about again
        self._closed = 0  # of `_seats`
        self._seated_at = 0.0
        self._next = 0  # the record that is read anew next
        self._latest: tuple[float, int] = (0.0, -1)  # the latest success: when, by which egress
        self._latest_of_others = 0.0  # by any other than that
        self._looked_at = 0.0
        self._works = 0  # an egress that was closed when it was last needed to know

    def first(self, now: float, avoid: Avoid | None) -> Seat:
        """The egress that is free first. One to be avoided only when no other is closed."""
        if now - self._seated_at >= SLICE_S:
            self._seat_some(now)
            self._ask_again(now)
        while (top := self._top()) is not None:
            self._seat(top.egress, self._store.peek(top.egress))
            if not self._stands(top):
                continue  # another process has used it
            if avoid is None or top.ready > now or not avoid(top.egress, self._awaited(top.egress, now)):
                break
            heapq.heappop(self._heap)
            self._aside[top.egress] = now + SLICE_S
            self._show_front(self._line_of[top.egress])
        if top is None or (top.ready > now and not top.closed):
            aside = [seat for egress in self._aside if (seat := self._with_slot(egress)) is not None]
            if top is None or (aside and sum(seat.closed for seat in aside) == self._closed):
                return min(aside)
        return top

    def reseat(self, egress: int, state: EgressState | None) -> None:
        """Put an egress where it belongs now."""
        self._seat(egress, state)

    def others_ok_at(self, egress: int) -> float | None:
        """When another egress had its last success, 0 when none had any; None when there is no other."""
        if len(self._store) == 1:
            return None
        now = time.monotonic()
        if now - self._looked_at >= SLICE_S:
            self._looked_at = now
            for number in self._some():
                state = self._store.peek(number)
                if state is not None:
                    self.succeeded(number, state.ok_at)
        return self._latest[0] if self._latest[1] != egress else self._latest_of_others

    def succeeded(self, egress: int, ok_at: float) -> None:
        """Note a success."""
        at, latest = self._latest
        if egress == latest:
            self._latest = (max(at, ok_at), egress)
        elif ok_at > at:
            self._latest, self._latest_of_others = (ok_at, egress), at
        else:
            self._latest_of_others = max(self._latest_of_others, ok_at)

    def recall(self) -> None:
        """When no egress works any more, see that those are tried soon that were retired for a while."""
        count = len(self._store)
        for egress in (*range(self._works, count), *range(self._works)):
            state = self._store.peek(egress)
            if state is None or state.state == State.CLOSED:
                self._works = egress  # the first to be asked next time
                return
        for egress, state in enumerate(self._store.peek_all()):
            if state is not None and state.flags & AWAY:
                with self._store.transaction(egress) as record:
                    record.state = recalled(record.state, record.now, record.wall, self._store.settings)

    def _awaited(self, egress: int, now: float) -> float:
        state = self._states[egress]
        return state.awaited_since(now) if state is not None else 0.0

    # ---- the heap ----------------------------------------------------------------------------------------
    def _top(self) -> Seat | None:
        while self._heap:
            if self._stands(self._heap[0]):
                return self._heap[0]
            heapq.heappop(self._heap)
        return None

    def _stands(self, seat: Seat) -> bool:
        """Whether a seat in the heap is true, as far as is known."""
        line = self._line_of[seat.egress]
        return seat is (self._fronts.get(line) if line else self._seats[seat.egress])

    def _with_slot(self, egress: int) -> Seat | None:
        """An egress's seat, in a line with the slot that is its subnet's next."""
        seat = self._seats[egress]
        if seat is None or not self._line_of[egress]:
            return seat
        state = self._store.peek(egress)
        return seat if state is None else seat._replace(ready=ready_at(state))

    def _show_front(self, key: int) -> None:
        """Put whoever is the first of a line into the heap."""
        line = self._lines.get(key)
        if line is None:
            return
        while line and (line[0] is not self._seats[line[0].egress] or line[0].egress in self._aside):
            heapq.heappop(line)
        front = self._with_slot(line[0].egress) if line else None
        if front is None:
            del self._lines[key]
            self._fronts.pop(key, None)
        elif front != self._fronts.get(key):
            self._fronts[key] = front
            heapq.heappush(self._heap, front)

    def _push(self, seat: Seat) -> None:
        line = self._line_of[seat.egress]
        if line:
            heapq.heappush(self._lines.setdefault(line, []), seat)
            self._show_front(line)
        else:
            heapq.heappush(self._heap, seat)

    def _seat(self, egress: int, state: EgressState | None) -> None:
        """Put an egress where its record says; None: whoever holds the lock will see."""
        before, line, key = self._seats[egress], self._line_of[egress], 0
        if state is None:
            seat = Seat(0.0, 0.0, egress, True)
        elif state is self._states[egress]:
            return
        else:
            self._states[egress] = state
            self.succeeded(egress, state.ok_at)
            rested = self._store.used_last(egress) if state.flags & TOGETHER else state.tat
            key = state.subnet if state.state == State.CLOSED else 0
            seat = Seat(0.0 if key else ready_at(state), rested, egress, state.state == State.CLOSED)
        if seat == before and key == line:
            self._show_front(key)
            return
        self._seats[egress], self._line_of[egress] = seat, key
        self._closed += seat.closed - (before is not None and before.closed)
        self._aside.pop(egress, None)
        if self._heap and self._heap[0] is before:
            heapq.heappop(self._heap)
        self._push(seat)
        self._show_front(line)
        if len(self._heap) > 2 * len(self._seats) + SWEPT:
            self._heap = [
                each
                for each in (*self._seats, *self._fronts.values())
                if each is not None and each.egress not in self._aside and self._stands(each)
            ]
            heapq.heapify(self._heap)

    def _seat_some(self, now: float) -> None:
        """Look at some records again, the first time at all."""
        self._seated_at = now
        if None in self._seats[:1]:
            for egress, state in enumerate(self._store.peek_all()):
                self._seat(egress, state)
        for egress in self._some():
            self._seat(egress, self._store.peek(egress))

    def _some(self) -> Iterable[int]:
        """The egresses whose turn it is to be looked at again."""
        count, since = len(self._store), self._next
        self._next = (since + SWEPT) % count if count > SWEPT else 0
        return ((since + step) % count for step in range(min(SWEPT, count)))

    def _ask_again(self, now: float) -> None:
        for egress, until in list(itertools.islice(self._aside.items(), ASKED)):
            if until > now:
                break
            del self._aside[egress]
            seat = self._seats[egress]
            if seat is not None:
                self._push(seat)
