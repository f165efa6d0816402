"""Which record belongs to which egress, and what the header keeps for all processes."""

from __future__ import annotations

import time

from engine.budget.pacing import begun_anew, emptied, fresh, plausible
from engine.budget.rate_controller import configure
from engine.budget.records import BudgetFile
from engine.budget.settings import BudgetSettings
from engine.budget.state import (
    AWAY,
    LISTED,
    MAX_EGRESSES,
    RECORD_BYTES,
    EgressState,
    Header,
    State,
    Why,
    offset,
    pack,
    pack_header,
    salvage,
    unpack,
    unpack_header,
)
from engine.errors import UsageError
from engine.storage.processes import boot_digest

HEADER = -1
LEAN_FAILURES = 3
LEAN_OFF_S = 3600.0


class Register:
    """The header of a budget file, and the table of its records."""

    def __init__(self, file: BudgetFile, settings: BudgetSettings) -> None:
        self._file = file
        self._settings = settings
        self._boot = boot_digest()

    def steer(self, settings: BudgetSettings) -> None:
        """Make records by these settings from now on."""
        self._settings = settings

    def enter(self, keys: list[int], labels: list[bytes], *, new_run: bool) -> list[int]:
        """Find or make the records of these egresses; their places in the file, in the same order.

        Records of another boot, damaged ones and those set to another rate are put right on the way. Only
        under the lock. Raises UsageError, DiskError.
        """
        wanted = set(keys)
        if not wanted:
            raise UsageError("A run needs at least one egress.")
        if len(wanted) > MAX_EGRESSES:
            raise UsageError(
                f"{len(wanted):,} egresses are too many; a run can use {MAX_EGRESSES:,}. Give fewer proxies."
            )
        data = self._file.read_all()
        header = unpack_header(data[:RECORD_BYTES])
        end = len(data) if header is None else min(len(data), offset(header.egresses))
        records = [data[at : at + RECORD_BYTES] for at in range(offset(0), end, RECORD_BYTES)]
        states = self._judged(records, wanted, header is not None and header.boot_id == self._boot)
        places = _places(states, keys)
        for key, label, place in zip(keys, labels, places, strict=True):
            states[place] = self._ours(states[place], key, label, new_run)
        for place, state in enumerate(states):
            if state is not None:
                listed = not new_run or state.key in wanted
                record = pack(state if listed else state._replace(flags=state.flags & ~LISTED))
                if place >= len(records) or record != records[place]:
                    self._file.write(place, record)
        # The header last: a crash before it leaves the records to be judged again, which does no harm.
        new = (header or Header(0, b"", 0.0, 0))._replace(egresses=len(states), boot_id=self._boot)
        if new != header:
            self._file.write(HEADER, pack_header(new))
        return places

    def lean_off(self, wall: float) -> bool:
        """Whether the lean way is off; a time further ahead than it can be set is a clock that jumped."""
        header = unpack_header(self._file.read(HEADER))
        return header is not None and 0 < header.lean_off_until - wall <= LEAN_OFF_S

    def lean_failed(self, wall: float) -> None:
        """One more failure in a row; the third switches the lean way off."""
        with self._file:
            header = unpack_header(self._file.read(HEADER))
            if header is None:  # damaged: put right by whoever opens the file next
                return
            header = header._replace(lean_failures=header.lean_failures + 1)
            if header.lean_failures >= LEAN_FAILURES:
                header = header._replace(lean_failures=0, lean_off_until=wall + LEAN_OFF_S)
            self._file.write(HEADER, pack_header(header))

    def lean_worked(self) -> None:
        """No failure in a row any more; looks without the lock first, for this is the common case."""
        header = unpack_header(self._file.read(HEADER))
        if header is None or not header.lean_failures:
            return
        with self._file:
            header = unpack_header(self._file.read(HEADER))
            if header is not None:
                self._file.write(HEADER, pack_header(header._replace(lean_failures=0)))

    def _judged(self, records: list[bytes], keys: set[int], same_boot: bool) -> list[EgressState | None]:
        """The states in these records, made believable; None for one that is free to use."""
        now, wall = time.monotonic(), time.time()
        states: list[EgressState | None] = []
        for record in records:
            state = unpack(record)
            if state is None:
                key = int.from_bytes(record[:8], "little")
                left = salvage(record, key) if key in keys else None  # else the place is free
                if left is not None:
                    state = begun_anew(left, left.label, now, wall, self._settings)
            elif not same_boot or not plausible(state, now, self._settings):
                state = emptied(state, now, wall, self._settings)
            states.append(state)
        return states

    def _ours(self, state: EgressState | None, key: int, label: bytes, new_run: bool) -> EgressState:
        """The record of an egress of this run, at the run's rate."""
        now, wall = time.monotonic(), time.time()
        if state is None:
            state = fresh(key, label, now, wall, self._settings)
        if state.configured != self._settings.configured:
            state = configure(state, self._settings, now)
        if new_run and state.state == State.RETIRED:
            state = state._replace(state=State.CLOSED, why=Why.NONE, fails=0)
        if new_run and state.state == State.OPEN and state.flags & AWAY:
            state = state._replace(open_until=now, open_until_wall=wall)  # somebody may have corrected it
        return state._replace(label=label, flags=state.flags | LISTED)


def _places(states: list[EgressState | None], keys: list[int]) -> list[int]:
    """Where each key's record is or is to be; makes room in `states`, at last by giving up old egresses."""
    found: dict[int, int] = {}
    for place, state in enumerate(states):
        if state is not None and found.setdefault(state.key, place) != place:
            states[place] = None  # the same record twice: a damaged file
    missing = [key for key in dict.fromkeys(keys) if key not in found]
    free = [place for place, state in enumerate(states) if state is None]
    free += range(len(states), MAX_EGRESSES)
    wanted = set(keys)
    old = [(s.flags & LISTED, s.requests, at) for at, s in enumerate(states) if s and s.key not in wanted]
    free += [place for _, _, place in sorted(old)]
    for key, place in zip(missing, free, strict=False):
        states.extend([None] * (place + 1 - len(states)))
        states[place] = None
        found[key] = place
    return [found[key] for key in keys]
