"""How the rate of an egress moves while all is well, and what is left of it after a block.

    START --block--> INCREASE --at top--> HOLD --so many requests--> RAISE --clean--> RAISE, one step higher
                        ^                  ^                          |
                        +--block-----------+---------- block ---------+     (and FIXED: at the ceiling, or no pacing)

1. It grows slowly, only in times in which requests wait for it, and remembers how many it sent when.
2. A block is asked what each kind of limit would have been (`engine.budget.limit_kinds`); after the second one the
   kind is believed whose two answers agree, and the rate stays a little below it.
3. It looks above only after so many requests that the next block refuses one in 1,200 of them at most, and 20 times
   as long as the last block took; what a burst may hide is not taken for a higher limit.
4. While blocked it probes when the block has lasted as long as the last one, then each time half as long again.
5. A refusal that is over with the next request is the request's own and costs nothing, but many in a row are a
   block; a block at a rate that was safe for long costs a hundredth, unless the next comes soon.
"""

from __future__ import annotations

import math

from engine.budget.learnt import NOTHING, UNKNOWN
from engine.budget.limit_kinds import HOUR_S, HOURLY, RATE, Belief, answers, believed, window_s
from engine.budget.settings import AUTO, NONE, BudgetSettings
from engine.budget.state import AWAY, EVER_BLOCKED, TOGETHER, WAIT_ASKED, EgressState, Phase, State, Why
from engine.budget.volume import COARSE_S, counted, sent_within

AUTO_START_PER_S = 0.05
DOUBLING_S = ((0.25, 300.0), (2.0, 600.0), (math.inf, 300.0))  # below so many a second, so long to double
INCREASE_DOUBLING_S, LONG_INCREASE_DOUBLING_S = 180.0, 300.0
LONG_BLOCK_S = 300.0  # a block that is worth to be avoided
WORKED_S = 60.0  # a block so soon after a success may be for the rate
FORGETS = 0.95  # of the last block's length, where nothing says that this one was shorter

MARGIN = 0.94  # top, as a share of what the limit is believed to be
# Where the increase after the first block begins at the lowest: a share of its rate, and where blocks are short
# no less than TRICKLE_PER_S.
LEAST_INCREASE = 1 / 12
TRICKLE_PER_S = 0.03
UNEXPLAINED = 0.7  # of the rate that was blocked, when no kind of limit explains it
LEAST_DECREASE, MOST_DECREASE = 0.9, 0.5  # of a rate that was held
LAG_REQUESTS, LAG_S = 3.0, 10.0  # a rate that grows is refused for what it was so long ago

FEW_REQUESTS, FEW_S = 30, 180.0  # since the last block teach nothing
ENOUGH_REQUESTS, ENOUGH_S = 200, 900.0  # between two blocks teach the limit
LEAST_ENOUGH = 120  # and no fewer, however slow the rate: two answers of fewer may agree by chance
RETEST_S = 1200.0  # so long holds what was learnt from fewer, or from one block
HOLD_REQUESTS = 2500
PER_REFUSAL = 1200  # requests that are worth one refusal by a look above
MAX_HOLD_REQUESTS = 20_000
HOLD_BLOCKS = 20.0  # times what the last block took
MAX_HOLD_S = 24 * 3600.0
STEPS = (1.03, 1.06, 1.12, 1.24)
DWELL_S, DWELL_REQUESTS = 60.0, 30
PROOF = 3.0  # bursts of the believed kind that have passed above a rate before a higher one is safe
MAX_PROOF_S = 1800.0  # a step is held so long that it is proven, but no longer
BELOW_SAFE = 0.995

SAFE_REQUESTS, LONG_SAFE_BLOCKS = 100, 10.0  # held so long, a short block is no sign yet, or a long one
RARE_REQUESTS = 1000  # chance that comes no oftener costs no more each time
CHANCE_DECREASE, CHANCE_FROM = 0.005, 0.85
PASSING_S = 20.0  # a passing refusal so soon after the last one, and over after so long at the most
NOISY, NOISY_PROBES = 0.5, 3
NOISE_GAIN = 0.3  # how much the last refusal says of the share of those that pass by
PASSING = 5  # so many of them in a row are a block

MAX_PER_S = 100_000.0
MIN_PER_S = 1 / 600  # blocks do not decrease it below this (or below the run's own rate)
FULL_HOUR, UNEVEN = 100, 2.0
HOUR_FILLED, FULL_HOUR_PER_S = 0.97, 1 / 300  # of what the hour may hold; beyond it, so many at least
UNLIMITED_FACTOR = 2.0  # without pacing: this far above the rate that was blocked, pacing ends again
METER_S = 1.0
MAX_METER_S = 5.0  # a longer gap says that nothing was to be done, not how fast it went
MIN_UNPACED_PER_S = 0.5
TICK_S = 0.02


def configure(state: EgressState, settings: BudgetSettings, now: float, factor: float = 1.0) -> EgressState:
    """Begin again at the rate the run asks for; what was learnt at another rate is forgotten. Where the engine is to
    find the rate, it begins at `factor` times the usual one."""
    configured = settings.configured
    rate = factor * AUTO_START_PER_S if configured == AUTO else 1 / configured if configured > 0 else 0.0
    return state._replace(
        configured=configured,
        interval=1 / rate if rate else 0.0,
        phase=Phase.START if configured == AUTO else Phase.FIXED,
        step=0,
        flags=state.flags & ~(EVER_BLOCKED | TOGETHER),
        subnet=0,
        top=rate,
        base=rate,
        hold_s=0.0,
        phase_s=0.0,
        ticked_at=now,
        measured=0.0,
        metered=0,
        tat=min(now, state.tat) + 1 / rate if rate and state.requests else now,
        learnt=NOTHING,
    )


def tick(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """Count the requests of a closed egress since the last call, and let the time since then work on its rate."""
    elapsed = now - state.ticked_at
    if state.interval <= 0 and elapsed < MAX_METER_S:
        state = state._replace(measured=state.metered / elapsed if elapsed > 0 else state.measured)
    state = _counted(state, now * settings.pace)._replace(ticked_at=now)
    if state.interval <= 0 or state.phase == Phase.FIXED:
        return state
    if state.phase == Phase.HOLD and state.learnt.kind == HOURLY:
        state = _at(state, _hourly_rate(state, now * settings.pace))
        if state.rate_per_s < 0.999 * state.top:
            return state
    if state.tat < now - max(0.25 * state.interval, 0.1):
        return state  # the slot was free for a while: the rate is not what limits the work
    return _grown(state, min(elapsed, max(2 * state.interval, 1.0)) * settings.pace, settings.pace)


def _counted(state: EgressState, at: float) -> EgressState:
    """With the requests that were granted since the last tick among those that are remembered."""
    learnt, requests = state.learnt, state.metered
    volume = counted(learnt.volume, at, requests)
    learnt = learnt._replace(sent=learnt.sent + requests, since=learnt.since + requests, volume=volume)
    return state._replace(learnt=learnt, metered=0)


def _hourly_rate(state: EgressState, at: float) -> float:
    """The rate of an egress that may send so many an hour: where the last hour is full, half of what leaves it."""
    volume = state.learnt.volume
    sent = sent_within(volume, at, HOUR_S)
    if sent <= HOUR_FILLED * state.top / MARGIN * HOUR_S:
        return state.top
    leaves_per_s = (sent - sent_within(volume, at, HOUR_S - COARSE_S)) / COARSE_S
    return min(max(leaves_per_s / 2, FULL_HOUR_PER_S), state.top)


def _grown(state: EgressState, used_s: float, pace: float) -> EgressState:
    """The rate after so long in which requests waited for it."""
    rate = 1 / state.interval
    if state.phase == Phase.START:
        return _at(state, rate * 2.0 ** min(used_s / _start_doubling_s(rate), 1.0))
    if state.phase == Phase.INCREASE:
        rate *= 2.0 ** min(used_s / _increase_doubling_s(state), 1.0)
        return _at(state, rate) if rate < state.top else _hold(state, state.top)
    state = state._replace(phase_s=state.phase_s + used_s)
    if state.phase == Phase.HOLD:
        if _is_doubtful(state, pace):
            return state._replace(phase=Phase.START) if state.phase_s >= RETEST_S else state
        return _look_above(state, 0, rate) if _held_long_enough(state) else state
    learnt = state.learnt._replace(excess=state.learnt.excess + (rate - state.base) * used_s)
    state = state._replace(learnt=learnt)
    window = window_s(max(learnt.kind, RATE))
    dwell_s = max(DWELL_S, DWELL_REQUESTS * pace / rate, window) * (2 if state.step == 0 else 1)
    if state.step and rate > state.base:
        dwell_s = max(dwell_s, min(PROOF * window * state.base / (rate - state.base), MAX_PROOF_S))
    if state.phase_s < dwell_s:
        return state
    if learnt.excess > PROOF * window * state.base:
        learnt = learnt._replace(excess=0.0, failed=0)
        state = state._replace(base=rate, learnt=learnt)
    return _look_above(state, min(state.step + 1, len(STEPS) - 1), rate)


def resumed(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """Close an open egress, at the rate that is left: a lost network is no reason to be slower."""
    state = state._replace(state=State.CLOSED, holder=0, open_until=0.0, open_until_wall=0.0)
    state = _counted(state, state.trouble_since * settings.pace)
    if state.why == Why.BLOCK:
        state = _after_block(state, now, settings)
    return state._replace(
        why=Why.NONE,
        fails=0,
        flags=state.flags & ~(WAIT_ASKED | AWAY),
        away=0,
        tat=now if state.flags & TOGETHER else now + state.interval,
        ticked_at=now,
        resumed_at=now,
    )


def _after_block(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """The rate after a block, decided when it is over and its kind is known."""
    if state.flags & TOGETHER:
        return state  # it is the subnet's
    if state.interval <= 0 and state.measured <= 0:
        return state  # blocked before this run sent anything: nothing is known about a rate that was too much
    if not _worked(state, settings):
        return state
    was_soon_over = (now - state.trouble_since) * settings.pace <= PASSING_S
    probes = probes_passed_by(state) if was_soon_over else 1
    if state.fails <= probes and not state.flags & WAIT_ASKED:
        state = passed_by(state, now, settings)
        if state.learnt.passing < PASSING:
            return state
    else:
        state = _with_length(state, now, settings)
    noise = state.learnt.noise * (1 - NOISE_GAIN)
    state = state._replace(learnt=state.learnt._replace(passing=0, noise=noise))
    return _blocked(state, state.trouble_since * settings.pace, settings.pace)


def passed_by(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """Note that a refusal was over with the next request."""
    learnt = state.learnt
    soon = state.resumed_at > 0 and (state.trouble_since - state.resumed_at) * settings.pace < PASSING_S
    noise = learnt.noise + NOISE_GAIN * (1 - learnt.noise)
    learnt = learnt._replace(passing=learnt.passing + 1 if soon else 1, noise=noise)
    return state._replace(learnt=learnt, resumed_at=now)


def may_pass_by(state: EgressState) -> bool:
    """Whether a refusal is left to the next requests to judge: most were over at once, and not too many in a row."""
    return state.learnt.noise >= NOISY and state.learnt.passing < PASSING - 1


def probes_passed_by(state: EgressState) -> int:
    """So many refusals in a row, the first and its probes, are no block yet: more where most were over at once."""
    return NOISY_PROBES if state.learnt.noise >= NOISY else 1


def _blocked(state: EgressState, at: float, pace: float) -> EgressState:
    """A block that began at `at`, in the controller's seconds, of which `pace` are a real one.

    What the kinds of limit say is in requests per second of the controller's.
    """
    rate = 1 / state.interval if state.interval > 0 else max(state.measured, MIN_UNPACED_PER_S)
    if state.interval <= 0:
        state = state._replace(measured=rate)
    learnt = state.learnt
    hold_s = min(learnt.block_s * HOLD_BLOCKS, MAX_HOLD_S)
    state = state._replace(flags=state.flags | EVER_BLOCKED, hold_s=hold_s)
    if state.phase == Phase.RAISE:
        state = state._replace(learnt=learnt._replace(failed=learnt.failed + 1, since=0, chances=0))
        return _hold(state, state.base * BELOW_SAFE)
    said, before = answers(learnt.volume, _rate_before(state, rate, pace) / pace, at), learnt.answers
    held = state.phase == Phase.HOLD
    if held and _may_be_chance(state):
        chances = 1 if learnt.since >= RARE_REQUESTS else learnt.chances + 1
        state = state._replace(learnt=learnt._replace(chances=chances, since=0))
        return _increase(state, CHANCE_FROM * state.top, (1 - CHANCE_DECREASE * chances) * state.top)
    long = learnt.block_s > LONG_BLOCK_S
    few = (
        before
        and learnt.since < min(FEW_REQUESTS, FEW_S * rate / pace)
        and not (long and learnt.kind == UNKNOWN)
    )
    if few and not long and not learnt.chances:
        state = state._replace(learnt=learnt._replace(chances=1, since=0))
        return _increase(state, UNEXPLAINED * rate, state.top)
    known, since, evidence = learnt.evidence, learnt.since, learnt.evidence + learnt.since
    learnt = learnt._replace(answers=said, chances=0, since=0, evidence=0, failed=0)
    state = state._replace(learnt=learnt)
    if few and _hour_is_full(before, said):
        evidence = round(said[HOURLY] * HOUR_S)
        state = state._replace(learnt=learnt._replace(kind=HOURLY, evidence=evidence))
        return _hold(state, MARGIN * said[HOURLY] * pace)
    if few:  # too soon to say anything of the limit but that it is lower
        return _hold(state._replace(learnt=learnt._replace(answers=())), UNEXPLAINED * rate)
    if not before and learnt.kind == UNKNOWN:
        return _first_guess(state, said, pace)
    belief: Belief | None = Belief(learnt.kind, said[learnt.kind])
    if learnt.kind != UNKNOWN and known >= ENOUGH_REQUESTS > since:
        evidence = 0  # the limit has changed; that its kind has, so few requests cannot say
    elif before:
        held_s = state.phase_s if held else 0.0
        belief = believed(before, said, rate=rate / pace, held_s=held_s, costly=long)
    elif since < ENOUGH_REQUESTS and not long:  # soon after it fell: how far, a later block must say
        learnt = learnt._replace(answers=())
    if belief is None:
        evidence, belief = 0, Belief(max(learnt.kind, RATE), UNEXPLAINED * rate / pace / MARGIN)
    state = state._replace(learnt=learnt._replace(kind=belief.kind, evidence=evidence))
    limit = MARGIN * belief.limit * pace
    if belief.kind != HOURLY:  # it was lower than what it refused, however much it let pass before it changed
        limit = min(limit, MARGIN * said[RATE] * pace)
    if held and not (belief.kind == HOURLY != learnt.kind):  # that the hour is full, says nothing of a rate
        limit = max(
            min(limit, LEAST_DECREASE * rate), 0.0 if learnt.kind == UNKNOWN else MOST_DECREASE * rate
        )
    return _hold(state, limit)


def _hour_is_full(before: tuple[float, ...], said: tuple[float, ...]) -> bool:
    """Whether a block that came back at once says that an hour may hold no more: much was sent in it, and faster
    than at its average rate."""
    return said[HOURLY] * HOUR_S >= FULL_HOUR and before[RATE] > UNEVEN * before[HOURLY]


def _may_be_chance(state: EgressState) -> bool:
    """Whether this rate was safe for so long that one block is no sign of its being too high."""
    learnt = state.learnt
    if learnt.kind == UNKNOWN:
        return False
    if learnt.block_s > LONG_BLOCK_S:
        return state.phase_s >= LONG_SAFE_BLOCKS * learnt.block_s and not learnt.chances
    return learnt.since >= SAFE_REQUESTS


def _first_guess(state: EgressState, said: tuple[float, ...], pace: float) -> EgressState:
    """After the first block any kind of limit may be true: increase from the least to the most that they say."""
    long = state.learnt.block_s > LONG_BLOCK_S
    top = MARGIN * said[RATE] * pace
    rate = max(min(said) * pace, LEAST_INCREASE * top)
    if not long:
        rate = max(rate, min(0.9 * top, TRICKLE_PER_S))
    return _increase(state, rate, top)


def _increase(state: EgressState, rate: float, top: float) -> EgressState:
    top = max(top, _floor(state))
    return _at(state._replace(phase=Phase.INCREASE, phase_s=0.0, step=0, top=top, base=top), min(rate, top))


def _rate_before(state: EgressState, rate: float, pace: float) -> float:
    """The rate a little before it was refused."""
    lag_s = LAG_S + LAG_REQUESTS * pace / rate
    if state.phase == Phase.START:
        return rate / 2 ** (lag_s / _start_doubling_s(rate))
    return rate / 2 ** (lag_s / _increase_doubling_s(state)) if state.phase == Phase.INCREASE else rate


def _start_doubling_s(rate: float) -> float:
    return next(seconds for below, seconds in DOUBLING_S if rate < below)


def _increase_doubling_s(state: EgressState) -> float:
    return LONG_INCREASE_DOUBLING_S if state.learnt.block_s > LONG_BLOCK_S else INCREASE_DOUBLING_S


def _hold(state: EgressState, rate: float) -> EgressState:
    rate = max(rate, _floor(state))
    learnt = state.learnt._replace(sent=0)
    return _at(
        state._replace(phase=Phase.HOLD, phase_s=0.0, step=0, top=rate, base=rate, learnt=learnt), rate
    )


def _is_doubtful(state: EgressState, pace: float) -> bool:
    """Whether the rate is held for what a few requests said, and another block would cost little."""
    learnt = state.learnt
    if learnt.block_s > LONG_BLOCK_S:
        return False
    enough = min(ENOUGH_REQUESTS, max(ENOUGH_S / pace / state.interval, LEAST_ENOUGH))
    return learnt.kind == UNKNOWN or learnt.evidence < enough


def _held_long_enough(state: EgressState) -> bool:
    """Whether so much was sent at this rate that a look above it is worth what it may cost."""
    learnt = state.learnt
    wanted = max(HOLD_REQUESTS, PER_REFUSAL * learnt.refusals) * 2.0 ** min(max(learnt.failed - 1, 0), 3)
    return learnt.sent >= min(wanted, MAX_HOLD_REQUESTS) and state.phase_s >= state.hold_s


def _look_above(state: EgressState, step: int, rate: float) -> EgressState:
    """Go a step above this rate."""
    learnt = state.learnt._replace(sent=0)
    if step == 0:
        state, learnt = state._replace(base=rate), learnt._replace(excess=0.0)
    state = state._replace(phase=Phase.RAISE, step=step, phase_s=0.0, top=rate, learnt=learnt)
    return _at(state, rate * STEPS[step])


def _with_length(state: EgressState, now: float, settings: BudgetSettings) -> EgressState:
    """Remember how long the block took that ends now: up to its last refusal at least, and as long as the one
    before if nothing says that it was shorter."""
    blocked_s = _blocked_s(state, now, settings)
    took_s = (now - state.trouble_since) * settings.pace
    block_s = max(blocked_s, min(FORGETS * state.learnt.block_s, took_s))
    return state._replace(learnt=state.learnt._replace(block_s=block_s))


def _worked(state: EgressState, settings: BudgetSettings) -> bool:
    """Whether something had passed just before the block: an egress that was blocked already when a run came to it
    says nothing about this run's rate."""
    lately_s = max(WORKED_S / settings.pace, 2 * state.interval)
    return state.ok_at > 0 and state.trouble_since - state.ok_at < lately_s


def _blocked_s(state: EgressState, now: float, settings: BudgetSettings) -> float:
    """How long the block took that ends now, in the controller's seconds, as far as refusals tell: up to the last,
    or all the time where the server asked to wait, for the run may have been away since."""
    began = state.trouble_since
    ended = now if state.flags & WAIT_ASKED else state.opened_at
    return (ended - began) * settings.pace if began > 0 else 0.0


def _at(state: EgressState, rate: float) -> EgressState:
    """Set the rate, within what the run allows."""
    if state.configured > 0 and rate * state.configured >= 1 - 1e-6:
        return state._replace(interval=state.configured, phase=Phase.FIXED, top=1 / state.configured)
    if state.configured == NONE and state.measured > 0 and rate >= state.measured * UNLIMITED_FACTOR:
        return state._replace(interval=0.0, phase=Phase.FIXED, measured=0.0, metered=0)
    return state._replace(interval=1 / min(max(rate, _floor(state)), MAX_PER_S))


def _floor(state: EgressState) -> float:
    return min(MIN_PER_S, 1 / state.configured) if state.configured > 0 else MIN_PER_S


def measured(state: EgressState, now: float) -> float:
    """Requests per second of late, without pacing; from less than a second if there is no more."""
    return max(state.measured, state.metered / max(now - state.ticked_at, 0.25 * METER_S))
