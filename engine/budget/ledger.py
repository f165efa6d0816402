"""The records of a run's egresses: read without the lock, or loaded and stored under it.

A record that cannot be believed (torn, damaged, of another boot) is judged under the lock only, and repaired
there and then: a wait that is read from a bad record could last for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from engine.budget.pacing import begun_anew, emptied, fresh, plausible
from engine.budget.records import BudgetFile
from engine.budget.register import Register
from engine.budget.settings import BudgetSettings
from engine.budget.state import (
    RECORD_BYTES,
    EgressState,
    egress_key,
    egress_label,
    offset,
    pack,
    salvage,
    unpack,
)
from engine.model import EgressSpec

READS = 3  # without the lock a record may be read while it is written


class Loaded(NamedTuple):
    """An egress as it is under the lock, and the time it was loaded at."""

    state: EgressState
    now: float
    wall: float


class Ledger:
    """Egresses by their place in the run's list."""

    def __init__(self, file: BudgetFile, egresses: Sequence[EgressSpec], settings: BudgetSettings) -> None:
        self.keys = [egress_key(spec) for spec in egresses]
        self.register = Register(file, settings)
        self._labels = [egress_label(spec) for spec in egresses]
        self._file = file
        self._settings = settings
        self._places: list[int] = []
        self._pending_lock = threading.Lock()
        self._pending: dict[int, list[int]] = {}  # egress: requests (below 0: not sent after all), bytes

    def __len__(self) -> int:
        return len(self.keys)

    def enter(self, *, new_run: bool = False) -> None:
        """Find or make the records, under the lock."""
        self._places = self.register.enter(self.keys, self._labels, new_run=new_run)

    def steer(self, settings: BudgetSettings) -> None:
        """Judge and make records by these settings from now on."""
        self._settings = settings
        self.register.steer(settings)

    def peek(self, egress: int) -> EgressState | None:
        """An egress without the lock; None for a record that only the lock's holder may judge."""
        for _ in range(READS):
            state = self._believed(egress, self._file.read(self._places[egress]))
            if state is not None:
                return state
        return None

    def peek_all(self) -> list[EgressState | None]:
        """All egresses, by one read."""
        data = self._file.read_all()
        starts = [offset(place) for place in self._places]
        return [
            self._believed(egress, data[start : start + RECORD_BYTES]) for egress, start in enumerate(starts)
        ]

    def load(self, egress: int) -> Loaded:
        """Under the lock: an egress, repaired on disk if need be."""
        state = unpack(self._file.read(self._places[egress]))
        if state is not None and state.key != self.keys[egress]:
            self.enter()  # another process made order after a damage: look where the record is now
            state = unpack(self._file.read(self._places[egress]))
        now, wall = time.monotonic(), time.time()
        if state is None or state.key != self.keys[egress]:
            state = self._mended(egress, now, wall)
            self.store(egress, state)
        elif not plausible(state, now, self._settings):
            state = emptied(state, now, wall, self._settings)
            self.store(egress, state)
        return Loaded(state, now, wall)

    def store(self, egress: int, state: EgressState) -> None:
        """Under the lock: write an egress, and with it what was counted in this process."""
        if egress in self._pending:
            with self._pending_lock:
                requests, n = self._pending.pop(egress)
            state = state._replace(
                requests=max(state.requests + requests, 0), body_bytes=max(state.body_bytes + n, 0)
            )
        self._file.write(self._places[egress], pack(state))

    def add(self, egress: int, *, requests: int = 0, body_bytes: int = 0) -> None:
        """Count in this process; written with the next store."""
        with self._pending_lock:
            pending = self._pending.setdefault(egress, [0, 0])
            pending[0] += requests
            pending[1] += body_bytes

    def pending(self) -> list[int]:
        """The egresses with something counted and not yet written."""
        with self._pending_lock:
            return list(self._pending)

    def after_fork(self) -> None:
        """In a forked child: what is pending is the parent's to write."""
        self._pending_lock = threading.Lock()
        self._pending = {}

    def _believed(self, egress: int, record: bytes) -> EgressState | None:
        state = unpack(record)
        if state is None or state.key != self.keys[egress]:
            return None
        return state if plausible(state, time.monotonic(), self._settings) else None

    def _mended(self, egress: int, now: float, wall: float) -> EgressState:
        """A damaged record begins again with an empty bucket; its counters stay if they look right."""
        key, label = self.keys[egress], self._labels[egress]
        left = salvage(self._file.read(self._places[egress]), key)
        if left is None:
            left = fresh(key, label, now, wall, self._settings)
        return begun_anew(left, label, now, wall, self._settings)
