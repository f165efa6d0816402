"""The records of a budget file as a whole: which egress has which, and what is to be put right. Pure functions.

What is to be written is returned as (where in the file, bytes).
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.budget.pacing import begun_anew, emptied, fresh, plausible
from engine.budget.rate_controller import configure
from engine.budget.settings import BudgetSettings
from engine.budget.state import (
    AWAY,
    LISTED,
    MAX_EGRESSES,
    RECORD_BYTES,
    SUBNET,
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
from engine.budget.subnets import for_so_many, parted, with_share
from engine.errors import UsageError
from engine.storage.processes import boot_digest

FREE = bytes(RECORD_BYTES)  # no record
SETTLE_S = 0.3  # a little more than a thread sleeps that waits for a permit
Writes = list[tuple[int, bytes]]


def enter(
    data: bytes,
    keys: list[int],
    labels: list[bytes],
    now: float,
    wall: float,
    settings: BudgetSettings,
    *,
    new_run: bool,
    start_factors: list[float] | None = None,
    subnets: list[int] | None = None,
) -> tuple[list[int], Writes]:
    """Find or make the records of a run's egresses in a file with these contents: (where each lies, what to write).

    Records of another boot, damaged ones and those set to another rate are put right on the way. An egress whose
    subnet has no record any more learns alone, and one that is new learns with its subnet where that has a record.
    `start_factors` are the factors of `rate_controller.configure`, one an egress; `subnets` the keys of their
    subnets' records, 0 for none. Raises UsageError.
    """
    wanted = set(keys)
    if not wanted:
        raise UsageError("A run needs at least one egress.")
    if len(wanted) > MAX_EGRESSES:
        raise UsageError(
            f"{len(wanted):,} egresses are too many; a run can use {MAX_EGRESSES:,}. Give fewer proxies."
        )
    header = unpack_header(data[:RECORD_BYTES])
    end = len(data) if header is None else min(len(data), offset(header.egresses))
    records = [data[at : at + RECORD_BYTES] for at in range(offset(0), end, RECORD_BYTES)]
    same_boot = header is not None and header.boot_id == boot_digest()
    states = [_judged(record, wanted, now, wall, settings, same_boot) for record in records]
    places = _places(states, keys)
    factors = start_factors or [1.0] * len(keys)
    for key, label, place, factor in zip(keys, labels, places, factors, strict=True):
        states[place] = _listed(states[place], key, label, now, wall, settings, new_run, factor)
    _share(states, places, subnets or [0] * len(keys), now, settings)
    writes: Writes = []
    for place, state in enumerate(states):
        if state is None:
            if place < len(records) and unpack(records[place]) is not None:
                writes.append((offset(place), FREE))
            continue
        keeps = not new_run or state.key in wanted
        record = pack(state if keeps else state._replace(flags=state.flags & ~LISTED))
        if place >= len(records) or record != records[place]:
            writes.append((offset(place), record))
    # The header last: a crash before it leaves the records to be judged again, which does no harm.
    new = (header or Header(0, b""))._replace(egresses=len(states), boot_id=boot_digest())
    if new != header:
        writes.append((0, pack_header(new)))
    return [offset(place) for place in places], writes


def repaired(
    record: bytes, key: int, label: bytes, now: float, wall: float, settings: BudgetSettings
) -> EgressState:
    """What becomes of a record that cannot be believed: an empty bucket, with the counters if they look right."""
    state = unpack(record)
    if state is not None and state.key == key:
        return emptied(state, now, wall, settings)
    left = salvage(record, key) or fresh(key, label, now, wall, settings)
    return begun_anew(left, label, now, wall, settings)


def place_of(data: bytes, key: int, keys: set[int]) -> tuple[int, Writes] | None:
    """Where a subnet's record is, or may be made, in a file with these contents, at last in place of an old egress;
    None when it has no room. `keys` are those of the run's egresses."""
    header = unpack_header(data[:RECORD_BYTES])
    if header is None:
        return None
    free, old = offset(header.egresses), []
    for at in range(offset(0), min(len(data), offset(header.egresses)), RECORD_BYTES):
        state = unpack(data[at : at + RECORD_BYTES])
        if state is not None and state.key == key:
            return at, []
        if state is None:
            free = min(free, at)
        elif not state.flags & (LISTED | SUBNET) and state.key not in keys:
            old.append((state.requests, at))
    if free < offset(header.egresses):
        return free, []
    if header.egresses >= MAX_EGRESSES:
        return (min(old)[1], []) if old else None
    return free, [(0, pack_header(header._replace(egresses=header.egresses + 1)))]


def found(data: bytes, key: int) -> int | None:
    """Where the record of this key is in a file with these contents."""
    for at in range(offset(0), len(data), RECORD_BYTES):
        state = unpack(data[at : at + RECORD_BYTES])
        if state is not None and state.key == key:
            return at
    return None


def take_over(old: bytes, new: bytes, now: float) -> Writes:
    """What a new file takes over from one that was removed or replaced; `old` and `new` are their contents.

    What was granted by the old one counts, else each removal would hand out slots a second time. Of two records the
    one with the later slot is the newer. A new file that is empty becomes the old one, with nothing to be granted for
    a moment: another process may know of later slots, in a file between these two, and comes by until then. Longer
    than that would be for ever where the file is removed each second. Into a new one that is not empty go the records
    that are newer in the old.
    """
    if unpack_header(old[:RECORD_BYTES]) is None:
        return []
    if not new:
        found = [
            (at, pack(state._replace(tat=max(state.tat, now + min(state.interval, SETTLE_S)))))
            for at, state in _intact(old)
        ]
        return [*found, (0, old[:RECORD_BYTES])] if found else []
    newer = {state.key: state for _, state in _intact(old)}
    return [
        (at, pack(newer[state.key]))
        for at, state in _intact(new)
        if state.key in newer and newer[state.key].tat > state.tat
    ]


def _intact(data: bytes) -> Iterator[tuple[int, EgressState]]:
    for at in range(offset(0), len(data), RECORD_BYTES):
        state = unpack(data[at : at + RECORD_BYTES])
        if state is not None:
            yield at, state


def _share(
    states: list[EgressState | None],
    places: list[int],
    subnets: list[int],
    now: float,
    settings: BudgetSettings,
) -> None:
    """See that the run's egresses of a subnet learn with it, all or none. A subnet's record that no egress at the
    run's rate refers to is given up."""
    used = {s.subnet for s in states if s is not None and s.configured == settings.configured}
    records: dict[int, int] = {}
    for place, state in enumerate(states):
        if state is not None and state.flags & SUBNET:
            if state.key in used:
                records[state.key] = place
            else:
                states[place] = None
    members: dict[int, list[int]] = {}
    for place, subnet in dict(zip(places, subnets, strict=True)).items():
        state = states[place]
        if state is not None:
            members.setdefault(state.subnet or subnet, []).append(place)
    for subnet, of_it in members.items():
        known = {place: state for place in of_it if (state := states[place]) is not None}
        shared = states[records[subnet]] if subnet in records else None
        if shared is not None:
            shared = states[records[subnet]] = for_so_many(shared, len(known), settings)
        working = sum(state.state != State.RETIRED for state in known.values())
        for place, state in known.items():
            if shared is None:
                states[place] = parted(state, now)
            elif state.subnet != subnet:
                states[place] = with_share(state, shared, max(working, 1), now)


def _judged(
    record: bytes, keys: set[int], now: float, wall: float, settings: BudgetSettings, same_boot: bool
) -> EgressState | None:
    """The state in a record, made believable; None for one that is free to use."""
    state = unpack(record)
    if state is None:
        key = int.from_bytes(record[:8], "little")
        left = salvage(record, key) if key in keys else None
        return begun_anew(left, left.label, now, wall, settings) if left is not None else None
    if same_boot and plausible(state, now, settings):
        return state
    if state.flags & SUBNET:
        return None  # its egresses go on alone
    return emptied(state, now, wall, settings)


def _listed(
    state: EgressState | None,
    key: int,
    label: bytes,
    now: float,
    wall: float,
    settings: BudgetSettings,
    new_run: bool,
    start_factor: float,
) -> EgressState:
    """The record of an egress of this run, at the run's rate."""
    if state is None:
        state = fresh(key, label, now, wall, settings, start_factor)
    if state.configured != settings.configured:
        state = configure(parted(state, now), settings, now, start_factor)
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
    old = [
        (s.flags & LISTED, s.flags & SUBNET, s.requests, at)
        for at, s in enumerate(states)
        if s and s.key not in wanted
    ]
    free += [place for *_, place in sorted(old)]
    for key, place in zip(missing, free, strict=False):
        states.extend([None] * (place + 1 - len(states)))
        states[place] = None
        found[key] = place
    return [found[key] for key in keys]
