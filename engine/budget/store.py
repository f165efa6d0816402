"""The egresses in the budget file: one is read without the lock, or changed under it in one transaction.

A record that cannot be believed (torn, damaged, of another boot) is judged
under the lock only, and repaired there and then: a wait that is read from a bad record could last for ever. What has
been believed once is believed again as long as its bytes are the same.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.budget.budget_file import BudgetFile
from engine.budget.pacing import plausible
from engine.budget.records import FREE, enter, found, place_of, repaired
from engine.budget.settings import BudgetSettings
from engine.budget.state import (
    RECORD_BYTES,
    SUBNET,
    TOGETHER,
    EgressState,
    State,
    egress_key,
    egress_label,
    pack,
    unpack,
)
from engine.budget.subnets import (
    as_seen,
    parted,
    start_factors,
    subnet_key,
    subnet_of,
    subnets_of,
    with_share,
)
from engine.model import EgressSpec

READS = 3  # without the lock a record may be read while it is written
Change = Callable[
    [Sequence[EgressState | None], float, float], tuple[dict[int, EgressState], EgressState | None]
]


@dataclass(slots=True)
class Transaction:
    """An egress under the lock, and the time by both clocks. What is assigned to `state` is written, and to `subnet`,
    which is what the egress shares with others (`engine.budget.subnets`)."""

    state: EgressState
    now: float
    wall: float
    subnet: EgressState | None = None


class Store:
    """The records of a run's egresses, by their place in the run's list, and the file that they are in.

    It raises what `BudgetFile` does. `on_fork` is called in a forked child, `on_moved(egress, before, after, now)`
    after a transaction that took an egress to another state or epoch, `on_subnet_moved` after one that did so with
    what it shares. `new_run` as in `Budget.open`.
    """

    def __init__(
        self,
        path: str,
        egresses: Sequence[EgressSpec],
        settings: BudgetSettings,
        on_stuck: Callable[[str], None] | None = None,
        *,
        new_run: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        self.path = path
        self.settings = settings  # records are judged and made by these
        self.on_fork: Callable[[], None] = lambda: None
        self.on_moved: Callable[[int, EgressState, EgressState, float], None] = lambda *_: None
        self.on_subnet_moved: Callable[[EgressState, EgressState, float], None] = lambda *_: None
        self._keys = [egress_key(spec) for spec in egresses]
        self._labels = [egress_label(spec) for spec in egresses]
        self._at: list[int] = []  # where each egress's record lies
        self._believed: list[tuple[bytes, EgressState] | None] = [None] * len(egresses)
        self._seen: list[tuple[EgressState, EgressState, EgressState] | None] = [None] * len(egresses)
        self._start_factors = start_factors(subnets_of(egresses))
        self._subnet_keys = [subnet_key(name) if (name := subnet_of(spec)) else 0 for spec in egresses]
        self._subnet_at: dict[int, int] = {}  # key: where its record lay when it was last looked for
        self._subnets: dict[int, tuple[bytes, EgressState]] = {}  # believed
        self._counts: dict[int, list[int]] = {}  # egress: requests (below 0: not sent after all), bytes
        self._counting = threading.Lock()
        self._file = BudgetFile(path, on_stuck)
        self._file.on_fork = self._forked
        self.locked, self.close = self._file.locked, self._file.close
        try:
            self.enter(new_run=new_run, stop=stop)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._keys)

    # ---- egresses ----------------------------------------------------------------------------------------
    def enter(self, *, new_run: bool = False, stop: threading.Event | None = None) -> None:
        """Find or make the records of all egresses. Raises UsageError, DiskError, Interrupted."""
        with self.locked(stop):
            self._enter(new_run)

    def peek(self, egress: int) -> EgressState | None:
        """An egress without the lock; None for a record that only the lock's holder may judge."""
        if self._file.removed():
            return None  # the file was removed, so another may have what is true
        for _ in range(READS):
            state = self._judged(egress, self._file.record(self._at[egress]))
            if state is not None:
                return self._as_seen(egress, state) if state.flags & TOGETHER else state
        return None

    def peek_all(self) -> list[EgressState | None]:
        """All egresses, by one read."""
        return [
            self._as_seen(egress, state) if state is not None and state.flags & TOGETHER else state
            for egress, state in enumerate(self.own_states())
        ]

    def used_last(self, egress: int) -> float:
        """When an egress last had a slot, for one that has been looked at and learns with its subnet."""
        believed = self._believed[egress]
        return believed[1].tat if believed is not None else 0.0

    def own_states(self) -> list[EgressState | None]:
        """All egresses as their records have them, whatever their subnets are."""
        data = b"" if self._file.removed() else self._file.read_all()
        return [self._judged(egress, data[at : at + RECORD_BYTES]) for egress, at in enumerate(self._at)]

    def peek_subnet(self, key: int) -> EgressState | None:
        """What the egresses of a subnet share, without the lock; None when there is none that can be believed."""
        for _ in range(READS):
            at = self._subnet_at.get(key)
            if at is None:
                at = found(self._file.read_all(), key)
                if at is None:
                    return None
                self._subnet_at[key] = at
            data = self._file.record(at)
            believed = self._subnets.get(key)
            if believed is not None and believed[0] == data:
                return believed[1]
            state = unpack(data)
            if state is None or state.key != key or not state.flags & SUBNET:
                del self._subnet_at[key]  # it was written meanwhile, or is elsewhere
            elif plausible(state, time.monotonic(), self.settings):
                self._subnets[key] = (data, state)
                return state
        return None

    def _as_seen(self, egress: int, state: EgressState) -> EgressState | None:
        subnet = self.peek_subnet(state.subnet)
        if subnet is None:
            return None
        seen = self._seen[egress]
        if seen is None or seen[0] is not state or seen[1] is not subnet:
            seen = self._seen[egress] = (state, subnet, as_seen(state, subnet, self.settings))
        return seen[2]

    def usable(self, egress: int) -> bool:
        """Whether this thread may hope for a permit of this egress soon: it is closed, or its probe is ours."""
        state = self.peek(egress)
        return state is None or state.state == State.CLOSED or state.holder == threading.get_native_id()

    def calm(self, egress: int) -> bool:
        """Whether an egress is closed: neither cooling down nor being probed."""
        state = self.peek(egress)
        return state is None or state.state == State.CLOSED

    @contextlib.contextmanager
    def transaction(self, egress: int, stop: threading.Event | None = None) -> Iterator[Transaction]:
        """An egress under the lock, repaired if need be. Its new state is written at the end, and with it what was
        counted in this process. Raises DiskError, Interrupted."""
        with self.locked(stop):
            before = self._judged(egress, self._file.record(self._at[egress]))
            if before is None:
                before = self._repair(egress)
            subnet = self.peek_subnet(before.subnet) if before.flags & TOGETHER else None
            now = time.monotonic()
            state = before if subnet is not None else parted(before, now)  # the same where it learns alone
            record = Transaction(state, now, time.time(), subnet)
            yield record
            after = record.state
            if after is not before or egress in self._counts:
                self._write(egress, after)
            if record.subnet is not None and record.subnet is not subnet:
                self._write_subnet(record.subnet)
        if (before.state, before.epoch) != (after.state, after.epoch):
            self.on_moved(egress, before, after, record.now)
        shared = record.subnet
        if (
            subnet is not None
            and shared is not None
            and (subnet.state, subnet.epoch) != (shared.state, shared.epoch)
        ):
            self.on_subnet_moved(subnet, shared, record.now)

    def change(self, change: Change) -> EgressState | None:
        """Change several egresses under one lock: `change(own states, now, wall)` says which, and the record of the
        subnet that they share from then on, if it is to be written. Returns that, unless the file has no room for it:
        then nothing is changed. That record is written last: before it, whoever refers to it goes on alone. Raises
        DiskError."""
        with self.locked():
            states, subnet = change(self.own_states(), time.monotonic(), time.time())
            if subnet is not None:
                place = place_of(self._file.read_all(), subnet.key, set(self._keys))
                if place is None:
                    return None
                self._subnet_at[subnet.key] = place[0]
                for at, data in place[1]:
                    self._file.put(at, data)
            for egress, state in states.items():
                self._write(egress, state)
            if subnet is not None:
                self._write_subnet(subnet)
            return subnet

    def part(self, key: int) -> bool:
        """End what the egresses of a subnet share; False when others have done so. The record goes first: whoever
        still refers to it then goes on alone. Raises DiskError."""
        with self.locked():
            at = found(self._file.read_all(), key)
            if at is None:
                return False
            self._file.put(at, FREE)
            now = time.monotonic()
            for egress, state in enumerate(self.own_states()):
                if state is not None and state.subnet == key:
                    # The refusal was one egress's: the others are not blocked.
                    self._write(
                        egress,
                        parted(state._replace(open_until=0.0) if state.state == State.CLOSED else state, now),
                    )
            return True

    def add(self, egress: int, *, requests: int = 0, body_bytes: int = 0) -> None:
        """Count in this process; written with the egress's next state, or by `flush`."""
        with self._counting:
            counts = self._counts.setdefault(egress, [0, 0])
            counts[0] += requests
            counts[1] += body_bytes

    def flush(self) -> None:
        """Write what has been counted and not written. Raises DiskError."""
        with self._counting:
            egresses = list(self._counts)
        for egress in egresses:
            with self.transaction(egress):
                pass

    def _judged(self, egress: int, data: bytes) -> EgressState | None:
        """The state in a record of this egress, None when it cannot be believed."""
        believed = self._believed[egress]
        if believed is not None and data == believed[0]:
            return believed[1]  # time makes a record no less plausible
        state = unpack(data)
        if state is None or state.key != self._keys[egress]:
            return None
        if not plausible(state, time.monotonic(), self.settings):
            return None
        self._believed[egress] = (data, state)
        return state

    def _write(self, egress: int, state: EgressState) -> None:
        if egress in self._counts:
            with self._counting:
                requests, n = self._counts.pop(egress)
            state = state._replace(
                requests=max(state.requests + requests, 0), body_bytes=max(state.body_bytes + n, 0)
            )
        data = pack(state)
        self._file.put(self._at[egress], data)
        self._believed[egress] = (data, state)

    def _write_subnet(self, state: EgressState) -> None:
        data = pack(state)
        self._file.put(self._subnet_at[state.key], data)
        self._subnets[state.key] = (data, state)

    def _repair(self, egress: int) -> EgressState:
        """Under the lock: put an egress's record right."""
        state = unpack(self._file.record(self._at[egress]))
        if state is not None and state.key != self._keys[egress]:
            self._enter()  # another process made order after a damage: look where the record is now
        data = self._file.record(self._at[egress])
        state = self._judged(egress, data)
        if state is None:
            key, label = self._keys[egress], self._labels[egress]
            state = repaired(data, key, label, time.monotonic(), time.time(), self.settings)
            shared = self.peek_subnet(self._subnet_keys[egress]) if self._subnet_keys[egress] else None
            if shared is not None:
                members = sum(each == self._subnet_keys[egress] for each in self._subnet_keys)
                state = with_share(state, shared, members, time.monotonic())
            self._write(egress, state)
        return state

    def _enter(self, new_run: bool = False) -> None:
        now, wall = time.monotonic(), time.time()
        data = self._file.read_all()
        self._at, writes = enter(
            data,
            self._keys,
            self._labels,
            now,
            wall,
            self.settings,
            new_run=new_run,
            start_factors=self._start_factors,
            subnets=self._subnet_keys,
        )
        for at, record in writes:
            self._file.put(at, record)

    # ---- the file ----------------------------------------------------------------------------------------
    def follow(self) -> None:
        """See that this is the file that the path leads to: it may have lost that name, and kept another."""
        if self._file.replaced():
            with self.locked():
                self._file.follow()
                self._enter()

    def _forked(self) -> None:
        """What is counted is the parent's to write."""
        self._counting, self._counts = threading.Lock(), {}
        self.on_fork()
