"""The budget: permits for all threads of all worker processes, from one file.

Under the lock a slot is computed and written; it is slept for outside. A process sends one thread at a time
to the file (the turnstile), the others queue behind it and cost nothing.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.budget.circuit_breaker import on_outcome, recalled, silent_probe
from engine.budget.egress_order import Avoid, Order
from engine.budget.ledger import Ledger
from engine.budget.pacing import Grant, ready_at, take
from engine.budget.records import SLICE_S, BudgetFile
from engine.budget.settings import BudgetSettings, EgressHealth, Outcome, look_ahead_s
from engine.budget.state import AWAY, CONFIRMED, EgressState, State, Why, job_hash
from engine.errors import Interrupted, NoProxyError
from engine.model import EgressSpec, Permit

CHECK_FILE_S = 1.0
ANY_PHASE = 0.25  # of the look-ahead: who begins an attempt wakes after those who are amid one
SPREAD = 0.25  # and processes wake apart, each time in another order


_LOSSES = (Outcome.NETWORK, Outcome.TIMEOUT, Outcome.EXIT)


class _Candidate(NamedTuple):
    egress: int
    ready: float
    ahead_s: float


class Budget:
    """What a worker process takes its permits from. Safe for threads; after a fork the child has its own."""

    def __init__(
        self,
        file: BudgetFile,
        egresses: Sequence[EgressSpec],
        settings: BudgetSettings,
        on_event: Callable[[str, str, float], None] | None,
    ) -> None:
        self._file = file
        self._settings = settings
        self._names = [spec.name for spec in egresses]
        self._on_event = on_event
        self._ledger = Ledger(file, egresses, settings)
        self._order = Order(self._ledger)
        self._begin()
        file.on_fork = self._after_fork

    def _begin(self) -> None:
        self._any = threading.Lock()
        self._given = [threading.Lock() for _ in self._names]
        self._checked_at = time.monotonic()

    @classmethod
    def open(
        cls,
        path: str,
        egresses: Sequence[EgressSpec],
        settings: BudgetSettings,
        *,
        new_run: bool = False,
        on_stuck: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        on_event: Callable[[str, str, float], None] | None = None,
    ) -> Budget:
        """Open the budget file, making or repairing it if need be.

        `egresses` are those of the run, in the order that permits index. `new_run` is for whoever starts the
        run: retired egresses get another chance, and `snapshot` shows this run's egresses alone. `on_stuck`
        is told when the lock cannot be had for 4 s, and then once a minute. `on_event(name, what, wait_s)`
        is told what happens to an egress, in the thread and process that saw it: `block`, `network_lost` (with
        the cool-down), `probe`, `resume`, `network_back`, `retired` (with the time until it is tried again; 0:
        never in this run).

        Raises UsageError (no egress or more than 1,024, or a file that cannot be opened), DiskError, and
        Interrupted when `stop` is set while it waits for the lock.
        """
        file = BudgetFile(path, on_stuck)
        try:
            self = cls(file, egresses, settings, on_event)
            if not file.lock(stop):
                raise Interrupted
            try:
                self._ledger.enter(new_run=new_run)
            finally:
                file.unlock()
        except BaseException:
            file.close()
            raise
        return self

    def take(
        self,
        *,
        egress: int | None = None,
        stop: threading.Event,
        give_up: Callable[[], bool] | None = None,
        avoid: Avoid | None = None,
    ) -> Permit | None:
        """Wait for permission to send one request, by `egress` or by whichever is free first.

        Egresses for which `avoid` is true are used only when no other works.

        None when `stop` is set, when `give_up()` says so (asked at least every 0.25 s), or when the given
        egress is retired. While all are open it waits for the first cool-down to end and is then the probe.
        Raises NoProxyError when any would do and all are retired, DiskError.
        """
        turnstile = self._any if egress is None else self._given[egress]
        while True:
            while not turnstile.acquire(timeout=SLICE_S):
                if stop.is_set() or (give_up is not None and give_up()):
                    return None
            try:
                permit = self._reserve(egress, stop, give_up, avoid)
            finally:
                turnstile.release()
            if permit is None:
                return None
            wait_s = permit.granted_s - time.monotonic()
            if wait_s > 0 and stop.wait(wait_s):
                self.unused(permit)
                return None
            if not self.stale(permit) and (wait_s <= 0 or self.current(permit)):
                return permit
            self.unused(permit)

    @property
    def settings(self) -> BudgetSettings:
        return self._settings

    def steer(self, settings: BudgetSettings) -> None:
        """Hold to these settings from now on. At another rate every egress begins again, as in a run that begins
        with it: what was learnt is forgotten, a cool-down goes on. Any number of processes may be told the same,
        in any order. Raises DiskError.
        """
        self._settings = settings
        self._ledger.steer(settings)
        with self._file:
            self._ledger.enter()

    def stale(self, permit: Permit) -> bool:
        """Whether it is too late to use this permit: its request would bunch up with others'."""
        return time.monotonic() > permit.expires_s

    def current(self, permit: Permit) -> bool:
        """Whether the permit's egress has not opened since it was granted."""
        state = self._ledger.peek(permit.egress)
        return (
            state is not None
            and state.epoch == permit.epoch
            and state.state in (State.CLOSED, State.HALF_OPEN)
        )

    def usable(self, egress: int) -> bool:
        """Whether this thread may hope for a permit of this egress soon: it is closed, or its probe is ours."""
        state = self._ledger.peek(egress)
        if state is None or state.state == State.CLOSED:
            return True
        return state.state == State.HALF_OPEN and state.holder == threading.get_native_id()

    def calm(self, egress: int) -> bool:
        """Whether an egress is closed: neither cooling down nor being probed."""
        state = self._ledger.peek(egress)
        return state is None or state.state == State.CLOSED

    def look(self, egress: int) -> EgressState | None:
        """An egress as it is now, read without the lock; None for a record that only the lock's holder may judge."""
        return self._ledger.peek(egress)

    def may_confirm(self, egress: int) -> bool:
        """Take the lease for a confirming fetch by an egress; False when one has begun within the last minute."""
        with self._file:
            state, now, _ = self._ledger.load(egress)
            if now < state.confirm_after:
                return False
            self._ledger.store(egress, state._replace(confirm_after=now + self._settings.confirm_each_s))
        return True

    def unused(self, permit: Permit) -> None:
        """Say that no request was sent with this permit: its slot is lost, but it counts as no request."""
        self._ledger.add(permit.egress, requests=-1)

    def report(
        self,
        permit: Permit,
        outcome: Outcome,
        *,
        job: str,
        retry_after_s: float | None = None,
        shown_at: float = 0.0,
    ) -> EgressHealth:
        """Say what became of a request (or of an attempt: with its last permit), and hear how the egress stands.

        `shown_at`: when the attempt began (monotonic clock), if it was shown captions. Raises DiskError.
        """
        others_ok_at = self._order.others_ok_at(permit.egress) if outcome in _LOSSES else None
        with self._file:
            before, now, wall = self._ledger.load(permit.egress)
            after = on_outcome(
                before,
                outcome,
                epoch=permit.epoch,
                granted_s=permit.granted_s,
                job=job_hash(job),
                now=now,
                wall=wall,
                settings=self._settings,
                retry_after_s=retry_after_s,
                others_ok_at=others_ok_at,
                shown_at=shown_at,
            )
            self._ledger.store(permit.egress, after)
        self._moved(permit.egress, before, after, now)
        in_trouble = after.state != State.CLOSED or permit.epoch != after.epoch
        return EgressHealth(in_trouble, bool(after.flags & CONFIRMED), after.ok_at)

    def add_bytes(self, egress: int, n: int) -> None:
        """Count body bytes; they are written together with the next outcome or permit, or by `flush`."""
        self._ledger.add(egress, body_bytes=n)

    def flush(self) -> None:
        """Write what has been counted and not written. Raises DiskError."""
        for egress in self._ledger.pending():
            with self._file:
                self._ledger.store(egress, self._ledger.load(egress).state)

    def lean_off(self) -> bool:
        """Whether the lean way of fetching is switched off now, for all processes."""
        return self._ledger.register.lean_off(time.time())

    def lean_failed(self) -> None:
        """The lean way failed where the full way worked; three in a row switch it off for an hour."""
        self._ledger.register.lean_failed(time.time())

    def lean_worked(self) -> None:
        """The lean way worked: failures are counted from 0 again."""
        self._ledger.register.lean_worked()

    def close(self) -> None:
        """Write what is pending and close the file; only when no thread uses it any more."""
        self.flush()
        self._file.close()

    def _reserve(
        self,
        egress: int | None,
        stop: threading.Event,
        give_up: Callable[[], bool] | None,
        avoid: Avoid | None,
    ) -> Permit | None:
        """Behind the turnstile: wait until a slot may be reserved, and reserve it."""
        holder = threading.get_native_id()
        while not (stop.is_set() or (give_up is not None and give_up())):
            now = time.monotonic()
            if self._file.unlinked():
                if self._file.lock(stop):  # and with that what this process knows is in the new file
                    self._file.unlock()
            elif now - self._checked_at > CHECK_FILE_S:
                self._check_file(now)
            first = self._first(now, holder, avoid) if egress is None else self._one(egress, holder)
            if first.ready == math.inf:
                if egress is None:
                    raise NoProxyError(
                        "no proxy is left that can be used: each has refused for good, as with a wrong user or "
                        "password (407). `engine status` names them; correct the list and run again"
                    )
                return None
            if first.ready > now:
                part = SPREAD * random.random() + (ANY_PHASE if egress is None else 0.0)
                stop.wait(min(first.ready - now + part * first.ahead_s, SLICE_S))
                continue
            permit = self._try(first.egress, holder, stop, in_heap=egress is None)
            if permit is not None:
                return permit
        return None

    def _try(self, egress: int, holder: int, stop: threading.Event, *, in_heap: bool) -> Permit | None:
        """Reserve a slot of this egress under the lock, if it is still to be had."""
        if not self._file.lock(stop):
            return None
        try:
            before, now, wall = self._ledger.load(egress)
            after = before
            if before.state == State.HALF_OPEN and before.holder != holder and now >= before.open_until:
                after = silent_probe(before, now, wall, self._settings, self._order.others_ok_at(egress))
            after, result = take(after, now, self._settings, holder)
            if after is not before:
                self._ledger.store(egress, after)
        finally:
            self._file.unlock()
        if in_heap:
            self._order.reseat(egress, after)
        self._moved(egress, before, after, now)
        if not isinstance(result, Grant):
            return None
        return Permit(egress, result.epoch, result.expires, result.slot)

    def _one(self, egress: int, holder: int) -> _Candidate:
        state = self._ledger.peek(egress)
        if state is None:
            return _Candidate(egress, 0.0, 0.0)
        return _Candidate(egress, ready_at(state, holder), look_ahead_s(state.interval))

    def _first(self, now: float, holder: int, avoid: Avoid | None) -> _Candidate:
        """The egress that is free first."""
        if len(self._ledger) == 1:
            return self._one(0, holder)
        first = self._order.first(now, avoid)
        return _Candidate(first.egress, first.ready, look_ahead_s(0.0))

    def _moved(self, egress: int, before: EgressState, after: EgressState, now: float) -> None:
        """An egress has another state now: say so, and see that one is tried at all."""
        self._tell(egress, before, after, now)
        if after.state != State.CLOSED and before.state == State.CLOSED and len(self._ledger) > 1:
            self._recall()

    def _recall(self) -> None:
        """When no egress works any more, try those soon that were retired for a while."""
        states = self._ledger.peek_all()
        if any(state is None or state.state == State.CLOSED for state in states):
            return
        for egress, egress_state in enumerate(states):
            if egress_state is not None and egress_state.flags & AWAY:
                with self._file:
                    before, now, wall = self._ledger.load(egress)
                    after = recalled(before, now, wall, self._settings)
                    if after is not before:
                        self._ledger.store(egress, after)

    def _check_file(self, now: float) -> None:
        """Once a second: somebody may have removed the file, and new processes would use another."""
        self._checked_at = now
        if self._file.replaced():
            with self._file:
                if self._file.replaced():  # by a file that has two names, else the lock has followed already
                    self._file.follow()
                self._ledger.enter()

    def _after_fork(self) -> None:
        self._begin()
        self._order.begin()
        self._ledger.after_fork()

    def _tell(self, egress: int, before: EgressState, after: EgressState, now: float) -> None:
        if self._on_event is None or (before.epoch == after.epoch and before.state == after.state):
            return
        name, network = self._names[egress], (after.why or before.why) == Why.NETWORK
        if after.state == State.OPEN and after.away > before.away:
            self._on_event(name, "retired", after.open_until - now)
        elif after.state == State.OPEN:
            self._on_event(name, "network_lost" if network else "block", after.open_until - now)
        elif after.state == State.HALF_OPEN:
            self._on_event(name, "probe", 0.0)
        elif after.state == State.RETIRED:
            self._on_event(name, "retired", 0.0)
        elif before.state != State.CLOSED:
            self._on_event(name, "network_back" if network else "resume", 0.0)
