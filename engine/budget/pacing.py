"""When an egress grants a permit: pure functions of (state, now, settings).

A permit is a reserved slot (GCRA): it is computed, written, and only then slept for, so that a wake-up delay
does not add to the interval. Per egress

    CLOSED --block, or 5 attempts lost in a row--> OPEN --cool-down over, one probe--> HALF_OPEN
      ^                                             ^                                     |   |
      |                                             +---- refused, or of no use, or late--+   |
      +----------------------------------- answered -----------------------------------------+

and RETIRED from anywhere. What an outcome does to it is in `circuit_breaker`, how the rate moves in
`rate_controller`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from engine.budget.rate_controller import METER_S, TICK_S, configure, tick
from engine.budget.settings import BudgetSettings, burst, look_ahead_s
from engine.budget.state import LISTED, EgressState, Phase, State, Why

MAX_INTERVAL_S = 86_400.0
MIN_INTERVAL_S = 1e-6
ROUNDING_S = 1e-9  # whoever waits as long as told is early by no more than this
MAX_COUNT = 1 << 60
PROBE_SPACING_S = 1.0


class Grant(NamedTuple):
    """A reserved slot: when it is due, when it is stale, and the epoch it belongs to."""

    slot: float
    expires: float
    epoch: int


def ready_at(state: EgressState, holder: int = 0) -> float:
    """When `take` would grant to thread `holder`, as far as this state tells; infinite for a retired egress.

    Without pacing it is the time of the last grant, so that the egress that rested longest comes first.
    """
    if state.state == State.RETIRED:
        return math.inf
    slot_at = state.tat - look_ahead_s(state.interval) if state.interval > 0 else state.tat
    if state.state == State.CLOSED or (state.state == State.HALF_OPEN and state.holder == holder):
        return slot_at
    return max(state.open_until, slot_at)


def take(
    state: EgressState,
    now: float,
    settings: BudgetSettings,
    holder: int,
    *,
    further: bool = False,
    paced: bool = True,
) -> tuple[EgressState, Grant | float]:
    """Reserve the next slot for thread `holder`, or say how many seconds until it is worth asking again.

    A probe's holder may take more while its probe is out, for an attempt is more than one request. A `further`
    request of an attempt shows that the one before was answered. Not `paced`: what holds is the breaker, and the
    run's own ceiling. Raises nothing; a retired egress waits for ever (`math.inf`).
    """
    if state.state != State.CLOSED:
        if state.state == State.RETIRED:
            return state, math.inf
        probing = state.state == State.HALF_OPEN and state.holder == holder
        if now < state.open_until and not probing:
            return state, state.open_until - now
    interval = state.interval if state.state == State.CLOSED else probe_interval(state, settings)
    interval = interval if paced else max(state.configured, 0.0)
    if interval <= 0:
        slot, tat, expires = now, now, math.inf
    else:
        ahead = look_ahead_s(interval)
        base = max(state.tat, now - burst(interval) * interval)
        if base - now > ahead + ROUNDING_S:
            return state, base - now - ahead
        slot = max(base, now)
        tat = base + interval
        expires = slot + ahead
    if state.state != State.CLOSED:
        expires = now + settings.probe_s(state.why == Why.NETWORK)  # alone on its way it cannot bunch up
        state = state._replace(
            state=State.HALF_OPEN,
            epoch=state.epoch
            if state.state == State.OPEN or state.holder == holder
            else (state.epoch + 1) & 0xFFFFFFFF,
            holder=holder,
            open_until=expires,
            tat=tat,
            requests=state.requests + 1,
        )
    else:
        state = state._replace(metered=state.metered + 1)
        if now - state.ticked_at >= (TICK_S if interval > 0 else METER_S):
            state = tick(state, now, settings)
        if interval > state.interval:  # a faster rate does not wait for a slower one's slots
            tat = min(tat, now + look_ahead_s(state.interval) + state.interval)
        state = state._replace(tat=tat, requests=state.requests + 1)
    if further or not state.awaited_since(now):
        state = state._replace(asked_at=now)
    return state, Grant(slot, expires, state.epoch)


def probe_interval(state: EgressState, settings: BudgetSettings) -> float:
    """Seconds between the requests of a probe: however slow the rate has become, one does not wait long for what
    it shows; but the run's own ceiling holds."""
    return min(state.interval, max(state.configured, PROBE_SPACING_S / settings.pace))


def fresh(
    key: int, label: bytes, now: float, wall: float, settings: BudgetSettings, start_factor: float = 1.0
) -> EgressState:
    """An egress nobody knows yet: its first slot is now, and no burst. `start_factor` as in `configure`.

    Epochs begin with the time, so that permits from before a damage do not fit by chance.
    """
    state = EgressState(
        key=key,
        label=label,
        state=State.CLOSED,
        why=Why.NONE,
        phase=Phase.FIXED,
        step=0,
        flags=0,
        fails=0,
        epoch=int(wall) & 0x7FFFFFFF,
        opened_epoch=0,
        holder=0,
        tat=now,
        interval=0.0,
        configured=0.0,
        open_until=0.0,
        open_until_wall=0.0,
        top=0.0,
        base=0.0,
        hold_s=0.0,
        phase_s=0.0,
        ticked_at=now,
        resumed_at=0.0,
        measured=0.0,
        metered=0,
        requests=0,
        body_bytes=0,
        ok=0,
        blocked=0,
        trouble_since=0.0,
        subnet=0,
        asked_at=0.0,
        refused_job=0,
        ok_at=0.0,
        opened_at=0.0,
        away=0,
        losses=0,
        shown_at=0.0,
        confirm_after=0.0,
    )
    return configure(state, settings, now, start_factor)


def begun_anew(
    left: EgressState, label: bytes, now: float, wall: float, settings: BudgetSettings
) -> EgressState:
    """What becomes of a damaged record: an empty bucket, with the counters that were left."""
    state = fresh(left.key, label, now, wall, settings)
    return state._replace(
        flags=LISTED,
        tat=now + state.interval,
        requests=left.requests,
        body_bytes=left.body_bytes,
        ok=left.ok,
        blocked=left.blocked,
    )


def plausible(state: EgressState, now: float, settings: BudgetSettings) -> bool:
    """Whether a record of this boot can be what this code wrote."""
    times = state.tat + state.interval + state.open_until + state.open_until_wall
    times += state.ticked_at + state.resumed_at + state.trouble_since + state.ok_at + state.opened_at
    times += state.shown_at + state.confirm_after
    rates = state.configured + state.top + state.base + state.hold_s + state.phase_s + state.measured
    if not math.isfinite(times + rates):  # NaN and infinity outlive every sum
        return False
    if (
        not (state.interval == 0 or MIN_INTERVAL_S <= state.interval <= MAX_INTERVAL_S)
        or not 0 <= state.state <= State.RETIRED
        or state.phase > Phase.RAISE
    ):
        return False
    if state.tat > now + look_ahead_s(state.interval) + state.interval + 1e-3:
        return False
    if state.why > Why.DEAD or max(state.requests, state.body_bytes, state.ok, state.blocked) >= MAX_COUNT:
        return False
    past = (
        state.ticked_at,
        state.resumed_at,
        state.trouble_since,
        state.ok_at,
        state.opened_at,
        state.shown_at,
    )
    if max(past) > now + 1e-3 or state.confirm_after > now + settings.max_open_s + 1e-3:
        return False
    return state.open_until <= now + settings.max_open_s + 1e-3


def emptied(state: EgressState, now: float, wall: float, settings: BudgetSettings) -> EgressState:
    """The same egress with believable times: an empty bucket, its first slot one interval off.

    For a record of another boot (a cool-down goes on by the wall clock) and for an implausible one.
    """
    sane = fresh(state.key, state.label, now, wall, settings)
    left_s = state.open_until_wall - wall if math.isfinite(state.open_until_wall) else 0.0
    state_word = state.state if 0 <= state.state <= State.RETIRED else State.CLOSED
    if state_word in (State.OPEN, State.HALF_OPEN):
        state_word = State.OPEN
    believable = all(
        math.isfinite(x) and 0 <= x < 1e9
        for x in (state.interval, state.top, state.base, state.hold_s, state.phase_s)
    )
    if (
        believable
        and state.configured == sane.configured
        and (state.interval == 0 or MIN_INTERVAL_S <= state.interval <= MAX_INTERVAL_S)
        and state.phase <= Phase.RAISE
    ):
        sane = sane._replace(
            interval=state.interval,
            phase=state.phase,
            step=state.step,
            top=state.top,
            base=state.base,
            hold_s=state.hold_s,
            phase_s=state.phase_s,
        )
    return sane._replace(
        state=state_word,
        why=state.why if state.why <= Why.DEAD else Why.NONE,
        flags=state.flags,
        fails=state.fails,
        epoch=(max(state.epoch, sane.epoch) + 1) & 0xFFFFFFFF,
        opened_epoch=(max(state.epoch, sane.epoch) + 1) & 0xFFFFFFFF,
        tat=now + sane.interval,
        open_until=now + min(max(left_s, 0.0), settings.max_open_s),
        open_until_wall=wall + min(max(left_s, 0.0), settings.max_open_s),
        requests=state.requests if state.requests < MAX_COUNT else 0,
        body_bytes=state.body_bytes if state.body_bytes < MAX_COUNT else 0,
        ok=state.ok if state.ok < MAX_COUNT else 0,
        blocked=state.blocked if state.blocked < MAX_COUNT else 0,
        trouble_since=now if state.trouble_since != 0 else 0.0,
        subnet=state.subnet,
        refused_job=state.refused_job,
        away=state.away,
    )
