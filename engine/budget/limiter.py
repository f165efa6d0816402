"""The budget: permits for all threads of all worker processes, from one file.

Under the lock a slot is computed and written; it is slept for outside. A process sends one thread at a time
to the file (the turnstile), the others queue behind it and cost nothing.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

from engine.budget.budget_file import SLICE_S
from engine.budget.circuit_breaker import on_outcome, silent_probe
from engine.budget.egress_order import Avoid, Order
from engine.budget.lease import Lease
from engine.budget.pacing import Grant, ready_at, take
from engine.budget.settings import LOST, BudgetSettings, EgressHealth, Outcome, look_ahead_s
from engine.budget.state import CONFIRMED, TOGETHER, EgressState, State, event, job_hash
from engine.budget.store import Store
from engine.budget.subnet_learning import Subnets
from engine.budget.subnets import on_member_outcome, subnets_of, take_together
from engine.errors import Interrupted, NoProxyError
from engine.model import EgressSpec, Permit

CHECK_FILE_S = 1.0
ANY_PHASE = 0.25  # of the look-ahead: who begins an attempt wakes after those who are amid one
SPREAD = 0.25  # and processes wake apart, each time in another order

NONE_LEFT = (
    "no proxy is left that can be used: each has refused for good, as with a wrong user or password (407)."
    " `engine status` names them; correct the list and run again"
)
OnEvent = Callable[[str, str, float], None] | None  # an egress, what happened, when it is tried again
GiveUp = Callable[[], bool] | None


class Budget:
    """What a worker process takes its permits from. Safe for threads; after a fork the child has its own."""

    def __init__(self, store: Store, egresses: Sequence[EgressSpec], on_event: OnEvent) -> None:
        self._store = store
        self._names = [spec.name for spec in egresses]
        self._on_event = on_event
        self._lease = Lease(store.path)
        self._order = Order(store)
        self._begin()
        # Methods that need only the store; `engine.budget.store` documents them.
        self.peek, self.usable, self.calm, self.flush = store.peek, store.usable, store.calm, store.flush
        store.on_fork, store.on_moved = self._begin, self._moved
        subnets = subnets_of(egresses)
        self._subnets = Subnets(store, subnets, self._event) if any(subnets) else None

    def _begin(self) -> None:
        """Begin with no thread waiting; also what a forked child does."""
        self._any = threading.Lock()
        self._given = [threading.Lock() for _ in self._names]
        self._causes: dict[str, str] = {}
        self._checked_at = time.monotonic()
        self._order.begin()

    @classmethod
    def open(
        cls,
        path: str,
        egresses: Sequence[EgressSpec],
        settings: BudgetSettings,
        *,
        new_run: bool = False,
        on_stuck: Callable[[str], None] | None = None,
        stop: Event | None = None,
        on_event: OnEvent = None,
    ) -> Budget:
        """Open the budget file, making or repairing it if need be.

        `egresses` are those of the run, in the order that permits index. `new_run` is for whoever starts the run:
        retired egresses get another chance, and `snapshot` shows this run's egresses alone. `on_stuck` is told when
        the lock cannot be had for 4 s, and then once a minute. `on_event` is told what happens to an egress, in the
        thread and process that saw it (`engine.budget.state.event`). Raises UsageError (no egress or more than 1,024,
        or a file that cannot be opened), DiskError, and Interrupted when `stop` is set while it waits for the lock.
        """
        return cls(Store(path, egresses, settings, on_stuck, new_run=new_run, stop=stop), egresses, on_event)

    def take(
        self,
        *,
        egress: int | None = None,
        stop: Event,
        give_up: GiveUp = None,
        avoid: Avoid | None = None,
        if_usable: bool = False,
    ) -> Permit | None:
        """Wait for permission to send one request, by `egress` or by whichever is free first.

        Egresses for which `avoid(egress, since when an answer by it is awaited)` is true are used only when no other
        works; 0: no answer is.

        None when `stop` is set, when `give_up()` says so (asked at least every 0.25 s), when the given egress is
        retired, and with `if_usable` also when it is not `usable`. While all are open it waits for the first
        cool-down to end and is then the probe. Raises NoProxyError when any would do and all are retired, DiskError.
        """
        turnstile = self._any if egress is None else self._given[egress]
        while True:
            while not turnstile.acquire(timeout=SLICE_S):
                if stop.is_set() or (give_up is not None and give_up()):
                    return None
            try:
                permit = self._reserve(egress, stop, give_up, avoid, if_usable)
            finally:
                turnstile.release()
            if permit is None:
                return None
            wait_s = permit.granted_s - time.monotonic()
            if wait_s > 0 and stop.wait(wait_s):
                self.unused(permit)
                return None
            if self._still_good(permit, wait_s, stop) and self._lease.valid():
                return permit
            self._too_late(permit, stop)

    def report(
        self,
        permit: Permit,
        outcome: Outcome,
        *,
        job: str,
        retry_after_s: float | None = None,
        shown_at: float = 0.0,
        body_bytes: int = 0,
        cause: str = "",
    ) -> EgressHealth:
        """Say what became of a request (or of an attempt: with its last permit), and hear how the egress stands.

        `shown_at`: when the attempt began (monotonic clock), if it was shown captions. `cause`: in words, why it was
        lost on the way, for `cause_of`. Raises DiskError.
        """
        if cause and outcome in LOST:
            self._causes[self._names[permit.egress]] = cause
        others_ok_at = self._order.others_ok_at(permit.egress) if outcome is not Outcome.OK else None
        with self._store.transaction(permit.egress) as record:
            shared = record.subnet
            told: dict[str, Any] = {
                "granted_s": permit.granted_s,
                "job": job_hash(job),
                "now": record.now,
                "wall": record.wall,
                "settings": self._store.settings,
                "retry_after_s": retry_after_s,
            }
            state = record.state._replace(body_bytes=record.state.body_bytes + body_bytes)
            after = record.state = on_outcome(
                state, outcome, epoch=permit.epoch, others_ok_at=others_ok_at, shown_at=shown_at, **told
            )
            if shared is not None:
                record.subnet = on_member_outcome(shared, outcome, epoch=permit.subnet_epoch, **told)
        self._order.succeeded(permit.egress, after.ok_at)
        if self._subnets is not None and outcome is Outcome.BLOCKED:
            self._subnets.refused(permit.egress, after, shared)
        return health(permit, after, record.subnet)

    def cause_of(self, egress: str) -> str:
        """Why this process last lost a request by the egress of this name, in words; empty when it lost none."""
        return self._causes.get(egress, "")

    def unused(self, permit: Permit) -> None:
        """Say that no request was sent with this permit: its slot is lost, but it counts as no request."""
        self._store.add(permit.egress, requests=-1)

    def add_bytes(self, egress: int, n: int) -> None:
        """Count body bytes of which nothing is reported; they are written with the next outcome or permit."""
        self._store.add(egress, body_bytes=n)

    def current(self, permit: Permit, stop: Event | None = None) -> bool:
        """Whether the permit's egress has not opened since it was granted. Raises DiskError, Interrupted."""
        state = self._store.peek(permit.egress)
        if state is None:  # as while somebody removes the file: what is known of it goes into the next one
            with self._store.transaction(permit.egress, stop) as record:
                state = record.state
        if state.epoch != permit.epoch:  # each opening begins another
            return False
        subnet = self._store.peek_subnet(state.subnet) if state.flags & TOGETHER else None
        return subnet is None or subnet.epoch == permit.subnet_epoch

    def may_confirm(self, egress: int) -> bool:
        """Take the lease for a confirming fetch by an egress; False when one has begun within the last minute."""
        with self._store.transaction(egress) as record:
            if record.now < record.state.confirm_after:
                return False
            record.state = record.state._replace(confirm_after=record.now + self.settings.confirm_each_s)
        return True

    @property
    def settings(self) -> BudgetSettings:
        return self._store.settings

    def apply_settings(self, settings: BudgetSettings) -> None:
        """Hold to these settings from now on. At another rate every egress begins again: what was learnt is
        forgotten, a cool-down goes on. Any number of processes may be told the same, in any order. Raises DiskError.
        """
        self._store.settings = settings
        self._store.enter()

    def close(self) -> None:
        """Write what is pending and close the file; only when no thread uses it any more."""
        self.flush()
        self._store.close()

    def _reserve(
        self, wanted: int | None, stop: Event, give_up: GiveUp, avoid: Avoid | None, if_usable: bool
    ) -> Permit | None:
        """Behind the turnstile: wait until a slot may be reserved, and reserve it."""
        holder = threading.get_native_id()
        among_many = wanted is None and len(self._names) > 1
        while not (stop.is_set() or (give_up is not None and give_up())):
            if not self._lease.valid():
                stop.wait(SLICE_S)
                continue
            now = time.monotonic()
            if now - self._checked_at > CHECK_FILE_S:
                self._checked_at = now
                self._store.follow()
            egress, interval = wanted or 0, 0.0
            if among_many:
                ready, _, egress, _ = self._order.first(now, avoid)
            else:
                state = self._store.peek(egress)
                if if_usable and state and state.state != State.CLOSED and state.holder != holder:
                    return None
                ready, interval = (ready_at(state, holder), state.interval) if state else (0.0, 0.0)
            if ready == math.inf:
                if wanted is None:
                    raise NoProxyError(NONE_LEFT)
                return None
            if ready > now:
                part = SPREAD * random.random() + (ANY_PHASE if wanted is None else 0.0)
                stop.wait(min(ready - now + part * look_ahead_s(interval), SLICE_S))
                continue
            permit = self._try(egress, holder, stop, among_many, further=wanted is not None)
            if permit is not None:
                return permit
        return None

    def _try(
        self, egress: int, holder: int, stop: Event, among_many: bool, *, further: bool
    ) -> Permit | None:
        """Reserve a slot of this egress under the lock, if it is still to be had."""
        try:
            with self._store.transaction(egress, stop) as record:
                state, now, settings = record.state, record.now, self._store.settings
                if state.state == State.HALF_OPEN and state.holder != holder:
                    others_ok_at = self._order.others_ok_at(egress)
                    state = silent_probe(state, now, record.wall, settings, others_ok_at)
                grant: Grant | float
                if record.subnet is None:
                    record.state, grant = take(state, now, settings, holder, further=further)
                else:
                    record.state, record.subnet, grant = take_together(
                        state, record.subnet, now, settings, holder, further=further
                    )
        except Interrupted:
            return None
        state, subnet = record.state, record.subnet
        if among_many:
            self._order.reseat(egress, state if subnet is None else self._store.peek(egress))
        if not isinstance(grant, Grant):
            return None
        probe = State.HALF_OPEN in (state.state, state.state if subnet is None else subnet.state)
        return Permit(
            egress,
            grant.epoch,
            grant.expires,
            grant.slot,
            probe=probe,
            ok_at=state.ok_at,
            subnet_epoch=0 if subnet is None else subnet.epoch,
        )

    def _still_good(self, permit: Permit, waited_s: float, stop: Event) -> bool:
        """Whether a permit that was waited for may be used."""
        if time.monotonic() > permit.expires_s:
            return False
        with contextlib.suppress(Interrupted):
            return waited_s <= 0 or self.current(permit, stop)
        return False

    def _too_late(self, permit: Permit, stop: Event) -> None:
        """A permit cannot be used any more: nobody is to believe that its egress owes an answer."""
        self.unused(permit)
        with contextlib.suppress(Interrupted), self._store.transaction(permit.egress, stop) as record:
            if record.state.epoch == permit.epoch:
                record.state = record.state._replace(asked_at=0.0)

    def _moved(self, egress: int, before: EgressState, after: EgressState, now: float) -> None:
        """An egress has another state now: say so, and when none works any more, try those soon that were retired
        for a while."""
        self._event(egress, *event(before, after, now))
        if before.state == State.CLOSED and len(self._names) > 1:
            self._order.recall()

    def _event(self, egress: int, what: str, wait_s: float) -> None:
        if self._on_event is not None:
            self._on_event(self._names[egress], what, wait_s)


def health(permit: Permit, state: EgressState, subnet: EgressState | None) -> EgressHealth:
    """How an egress stands after an outcome, by its own record and by what it shares."""
    in_trouble = state.state != State.CLOSED or permit.epoch != state.epoch
    confirmed = bool(state.flags & CONFIRMED)
    if subnet is not None:
        in_trouble |= subnet.state != State.CLOSED or permit.subnet_epoch != subnet.epoch
        confirmed |= bool(subnet.flags & CONFIRMED)
    return EgressHealth(in_trouble, confirmed, state.ok_at)
