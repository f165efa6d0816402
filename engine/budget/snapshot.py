"""What an onlooker sees of the budget: read without a lock, and without what the lock needs."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from engine.budget.settings import MAX_OPEN_S
from engine.budget.state import (
    AWAY,
    LISTED,
    MAX_EGRESSES,
    RECORD_BYTES,
    SUBNET,
    EgressState,
    State,
    Why,
    offset,
    unpack,
    unpack_header,
)
from engine.budget.subnets import closed_by_both, with_share
from engine.storage.processes import boot_digest

_unpacked = lru_cache(maxsize=MAX_EGRESSES)(unpack)  # few of many change between two looks
_BLOCK_BYTES = 16 * RECORD_BYTES
FREE = bytes(RECORD_BYTES)
READS = 3  # a record that is being written may be seen torn


@dataclass(frozen=True, slots=True)
class EgressView:
    """One egress as `engine status` shows it.

    `state` is `ok`, `blocked`, `network`, `probing`, `unreachable` (retired for a while: its connections fail
    while those of others work) or `retired` (for this run); `rate_per_s` None means no pacing;
    `open_in_s` is the rest of a cool-down, else 0; `limited` says that requests wait for their slot now.
    """

    name: str
    state: str
    rate_per_s: float | None
    open_in_s: float
    ok: int
    blocked: int
    requests: int
    bytes: int
    limited: bool
    offline: bool = False  # what closed it, or is being probed, is no block: its connections fail

    @property
    def lost(self) -> bool:
        """Whether its connections fail."""
        return self.state in ("network", "unreachable") or self.offline

    @property
    def refused(self) -> bool:
        """Whether YouTube refuses it, or did so last and is being asked again."""
        return self.state in ("blocked", "probing") and not self.offline


def snapshot(path: str) -> list[EgressView]:
    """The egresses of the run that uses (or last used) this budget file; empty when there is none.

    A damaged record is left out. Never raises because of what is in the file.
    """
    states, same_boot = _read(path)
    now, wall = time.monotonic(), time.time()
    return [view(state, now, wall, same_boot) for state in _with_subnets(states, now)]


def remembered(path: str) -> list[EgressState]:
    """The egresses of the run that uses (or last used) this budget file, as their records and their subnets' are."""
    return _with_subnets(_read(path)[0], time.monotonic())


def totals(path: str) -> tuple[int, int]:
    """(requests, body bytes) of all runs and egresses that this budget file remembers."""
    states = [state for state in _read(path)[0] if not state.flags & SUBNET]
    return sum(state.requests for state in states), sum(state.body_bytes for state in states)


def all_retired(path: str) -> bool:
    """Whether the run that uses this budget file has egresses, and none that can ever be used again.

    Looks no further than the first that can.
    """
    with contextlib.suppress(OSError), open(path, "rb", buffering=_BLOCK_BYTES) as file:
        file.seek(offset(0))
        while record := file.read(RECORD_BYTES):
            state = _unpacked(record)
            if state is not None and state.flags & LISTED and state.state != State.RETIRED:
                return False
    known = remembered(path)  # none when the file was removed: a worker makes it again
    return bool(known) and all(state.state == State.RETIRED for state in known)


def _read(path: str) -> tuple[list[EgressState], bool]:
    """(all good records, whether they are of this boot); nothing when there is no file."""
    for left in reversed(range(READS)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return [], False
        try:
            data = os.pread(fd, offset(MAX_EGRESSES), 0)
        except OSError:
            return [], False
        finally:
            os.close(fd)
        records = [data[at : at + RECORD_BYTES] for at in range(offset(0), len(data), RECORD_BYTES)]
        states = [_unpacked(record) for record in records if record != FREE]
        if None not in states or not left:
            break
    header = unpack_header(data[:RECORD_BYTES])
    return [state for state in states if state], header is not None and header.boot_id == boot_digest()


def _with_subnets(states: list[EgressState], now: float) -> list[EgressState]:
    """The egresses of the run, each at its share of what it shares with others, and closed by that as well."""
    subnets = {state.key: state for state in states if state.flags & SUBNET}
    listed = [state for state in states if state.flags & LISTED]
    working = Counter(state.subnet for state in listed if state.state != State.RETIRED)
    return [
        closed_by_both(with_share(state, subnet, max(working[subnet.key], 1), now), subnet)._replace(
            tat=max(state.tat, subnet.tat)
        )
        if (subnet := subnets.get(state.subnet)) is not None
        else state
        for state in listed
    ]


def view(state: EgressState, now: float, wall: float, same_boot: bool) -> EgressView:
    """One egress at this moment; after a reboot only the wall clock says how long a cool-down lasts."""
    closed = state.state == State.CLOSED
    left_s = state.open_until - now if same_boot else state.open_until_wall - wall
    return EgressView(
        name=state.label.rstrip(b"\0").decode("ascii", "replace"),
        state=_word(state),
        rate_per_s=1 / state.interval if state.interval > 0 else None,
        open_in_s=round(min(max(left_s, 0.0), MAX_OPEN_S), 3) if state.state == State.OPEN else 0.0,
        ok=state.ok,
        blocked=state.blocked,
        requests=state.requests,
        bytes=state.body_bytes,
        offline=state.state in (State.OPEN, State.HALF_OPEN) and state.why == Why.NETWORK,
        limited=same_boot and closed and state.interval > 0 and state.tat > now,
    )


def _word(state: EgressState) -> str:
    if state.state == State.OPEN and state.flags & AWAY:
        return "unreachable"
    if state.state == State.OPEN:
        return "network" if state.why == Why.NETWORK else "blocked"
    return {State.CLOSED: "ok", State.HALF_OPEN: "probing"}.get(State(state.state), "retired")
