"""How the rate of an egress moves while all is well, and what is left of it after a block.

    START --block--> CLIMB --at top--> HOLD --hold_s--> EXPLORE --clean--> EXPLORE, one step higher
                       ^                 ^                  |
                       +--block----------+---- block -------+       (and FIXED: at the ceiling, or no pacing)

A probe above the server's limit costs a whole block, so exploring is rare and begins with a small step. The
rate remembers where it was blocked (`top`) and grows only in times in which requests wait for it. The longer
the block was, the longer it holds: an exploration that may cost an hour is not made twice an hour.
"""

from __future__ import annotations

import math

from engine.budget.learnt import NOTHING
from engine.budget.settings import AUTO, NONE, BudgetSettings
from engine.budget.state import AWAY, CONFIRMED, EVER_BLOCKED, WAIT_ASKED, EgressState, Phase, State, Why

AUTO_START_PER_S = 0.25
DOUBLING_S = 60.0
CLIMB_PER_S = 0.005  # of top
HOLD_REQUESTS = 2500
PER_REFUSAL = 1200  # a look above the limit may refuse as many as the last block did: one in so many at most
MAX_HOLD_REQUESTS = 20_000
HOLD_BLOCKS = 20.0  # times what a block took: then exploring costs at most 1/20 of the time
MAX_HOLD_S = 24 * 3600.0
LONG_BLOCK_S = 90.0
FORGETS = 0.95
WORKED_S = 60.0  # a block so soon after a success may be for the rate
STEPS = (1.03, 1.06, 1.12, 1.24)
DWELL_S = (180.0, 60.0, 60.0, 60.0)
BELOW_BLOCK = 0.93  # top, as a share of the rate that was blocked
BELOW_LONG_BLOCK = 0.8  # the same after a long block, when to climb to the very limit would cost too much
CUT = 0.8
DEEP_CUT = 0.6  # for the first block ever, and soon after a resume
SOFT_CUT = 0.95
BELOW_CLEAN = 0.99
SOON_S = 180.0
SOON_SOFT_S = 60.0  # a second refusal so soon is no accident
MAX_PER_S = 100_000.0
MIN_PER_S = 1 / 30  # blocks do not cut below this (or below the run's own rate)
UNLIMITED_FACTOR = 2.0  # without pacing: this far above the rate that was blocked, pacing ends again
METER_S = 1.0
MAX_METER_S = 5.0  # a longer gap says that nothing was to be done, not how fast it went
MIN_UNPACED_PER_S = 0.5
TICK_S = 0.02


def configure(state: EgressState, settings: BudgetSettings, now: float) -> EgressState:
    """Begin again at the rate the run asks for; what was learnt at another rate is forgotten."""
    configured = settings.configured
    rate = AUTO_START_PER_S if configured == AUTO else (1 / configured if configured > 0 else 0.0)
    return state._replace(
        configured=configured,
        interval=1 / rate if rate else 0.0,
        phase=Phase.START if configured == AUTO else Phase.FIXED,
        step=0,
        flags=state.flags & ~EVER_BLOCKED,
        top=rate,
        base=rate,
        hold_s=0.0,
        learnt=NOTHING,
        phase_s=0.0,
        ticked_at=now,
        measured=0.0,
        metered=0,
        tat=min(now, state.tat) + 1 / rate if rate and state.requests else now,
    )


def tick(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """Let the time since the last tick work on the rate of a closed egress; called when a permit is taken."""
    elapsed = now - state.ticked_at
    if state.interval <= 0:
        return _metered(state, now, elapsed)
    if state.phase == Phase.FIXED or elapsed < TICK_S:
        return state
    state = state._replace(ticked_at=now)
    if state.tat < now - max(0.25 * state.interval, 0.1):
        return state  # the slot was free for a while: the rate is not what limits the work
    used_s = min(elapsed, max(2 * state.interval, 1.0)) * settings.pace
    rate = 1 / state.interval
    if state.phase == Phase.START:
        return _at(state, rate * 2.0 ** min(used_s / DOUBLING_S, 1.0))
    if state.phase == Phase.CLIMB:
        rate += CLIMB_PER_S * state.top * used_s
        if rate < state.top:
            return _at(state, rate)
        return _at(state._replace(phase=Phase.HOLD), state.top)
    state = state._replace(phase_s=state.phase_s + used_s)
    if state.phase == Phase.HOLD:
        return _step(state, 0, rate) if _held_long_enough(state) else state
    if state.phase_s >= DWELL_S[min(state.step, len(DWELL_S) - 1)]:
        return _step(state, min(state.step + 1, len(STEPS) - 1), rate)
    return state


def resumed(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """Close an open egress, at the rate that is left: a lost network is no reason to be slower."""
    state = state._replace(state=State.CLOSED, holder=0, fails=0, open_until=0.0, open_until_wall=0.0)
    if state.why == Why.BLOCK:
        state = _cut(_with_length(state, now, settings), now, settings)
    return state._replace(
        why=Why.NONE,
        flags=state.flags & ~(WAIT_ASKED | AWAY),
        away=0,
        tat=now + state.interval,
        ticked_at=now,
        resumed_at=now,
        metered=0,
    )


def _cut(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """The rate after a block, decided when it is over and its kind is known."""
    if state.interval <= 0 and state.measured <= 0:
        return state  # blocked before this run sent anything: nothing is known about a rate that was too much
    blocked_at = 1 / state.interval if state.interval > 0 else max(state.measured, MIN_UNPACED_PER_S)
    since_s = (now - state.resumed_at) * settings.pace if state.resumed_at > 0 else math.inf
    soon = since_s < SOON_S
    soft = not (state.flags & CONFIRMED or since_s < SOON_SOFT_S or state.flags & WAIT_ASKED)
    blocked_s = _blocked_s(state, now, settings)
    hold_s = min(blocked_s * HOLD_BLOCKS, MAX_HOLD_S)
    if state.phase == Phase.EXPLORE:
        rate = max(state.base * BELOW_CLEAN, _floor(state))
        hold_s = state.hold_s if soft else hold_s
        learnt = state.learnt._replace(passed=0)
        return _at(
            state._replace(phase=Phase.HOLD, phase_s=0.0, step=0, top=rate, hold_s=hold_s, learnt=learnt),
            rate,
        )
    if soft and state.interval > 0:
        # What is left of the hold stays: a single refusal now and then must not put exploring off for ever.
        phase = state.phase if state.phase == Phase.START else Phase.CLIMB
        return _at(state._replace(phase=phase), blocked_at * SOFT_CUT)
    cut = DEEP_CUT if soon or not state.flags & EVER_BLOCKED else CUT
    below = BELOW_LONG_BLOCK if blocked_s > LONG_BLOCK_S else BELOW_BLOCK
    top = max(blocked_at * below, _floor(state))
    state = state._replace(
        phase=Phase.CLIMB,
        phase_s=0.0,
        step=0,
        flags=state.flags | EVER_BLOCKED,
        top=top,
        base=top,
        hold_s=hold_s,
        learnt=state.learnt._replace(passed=0),
        measured=blocked_at if state.interval <= 0 else state.measured,
    )
    return _at(state, blocked_at * cut)


def _blocked_s(state: EgressState, now: float, settings: BudgetSettings) -> float:
    """How long the block took that ends now, in the controller's seconds, as far as refusals tell: up to the last,
    or all the time where the server asked to wait, for the run may have been away since. 0 when nothing had worked
    just before it: an egress that was blocked already when a run came to it says nothing about this run's rate."""
    began = state.trouble_since
    worked = state.ok_at > 0 and began - state.ok_at < max(WORKED_S / settings.pace, 2 * state.interval)
    ended = now if state.flags & WAIT_ASKED else state.opened_at
    return (ended - began) * settings.pace if began > 0 and worked else 0.0


def _held_long_enough(state: EgressState) -> bool:
    """Whether so much has passed at this rate that a block is worth the look above it."""
    wanted = max(HOLD_REQUESTS, min(PER_REFUSAL * state.learnt.refusals, MAX_HOLD_REQUESTS))
    return state.learnt.passed >= wanted and state.phase_s >= state.hold_s


def _with_length(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """Remember how long the block took that ends now: up to its last refusal at least, and as long as the one
    before if nothing says that it was shorter. A single refusal was none."""
    blocked_s = _blocked_s(state, now, settings)
    if not blocked_s or not state.flags & (CONFIRMED | WAIT_ASKED):
        return state
    took_s = (now - state.trouble_since) * settings.pace
    block_s = max(blocked_s, min(FORGETS * state.learnt.block_s, took_s))
    return state._replace(learnt=state.learnt._replace(block_s=block_s))


def _step(state: EgressState, step: int, clean: float) -> EgressState:
    """Go a step above the rate that was clean."""
    state = state._replace(phase=Phase.EXPLORE, step=step, phase_s=0.0, top=clean, base=clean)
    return _at(state, clean * STEPS[step])


def _at(state: EgressState, rate: float) -> EgressState:
    """Set the rate, within what the run allows."""
    if state.configured > 0 and rate * state.configured >= 1 - 1e-6:
        return state._replace(interval=state.configured, phase=Phase.FIXED, top=1 / state.configured)
    if state.configured == NONE and state.measured > 0 and rate >= state.measured * UNLIMITED_FACTOR:
        return state._replace(interval=0.0, phase=Phase.FIXED, measured=0.0, metered=0)
    return state._replace(interval=1 / min(max(rate, _floor(state)), MAX_PER_S))


def _floor(state: EgressState) -> float:
    return min(MIN_PER_S, 1 / state.configured) if state.configured > 0 else MIN_PER_S


def _metered(state: EgressState, now: float, elapsed: float) -> EgressState:
    """Without pacing: remember how fast it goes, for the day it is blocked."""
    if elapsed < METER_S:
        return state._replace(metered=state.metered + 1)
    rate = (state.metered + 1) / elapsed if elapsed < MAX_METER_S else state.measured
    return state._replace(measured=rate, metered=0, ticked_at=now)


def measured(state: EgressState, now: float) -> float:
    """Requests per second of late, without pacing; from less than a second if there is no more."""
    return max(state.measured, state.metered / max(now - state.ticked_at, 0.25 * METER_S))
