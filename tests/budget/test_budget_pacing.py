import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.budget import BudgetSettings, Outcome, parse_rate
from engine.budget.circuit_breaker import ASK_S, LOSSES, cool_down_s, on_outcome
from engine.budget.pacing import Grant, emptied, fresh, plausible, ready_at, take
from engine.budget.rate_controller import HOLD_BLOCKS, MIN_PER_S
from engine.budget.settings import burst, look_ahead_s
from engine.budget.snapshot import view
from engine.budget.state import AWAY, CONFIRMED, EgressState, State, Why
from engine.budget.volume import sent_since

T0, WALL = 1000.0, 1.7e9


def settings(rate: str = "1", pace: float = 1.0) -> BudgetSettings:
    return BudgetSettings(parse_rate(rate), pace)


def new(rate: str = "1") -> EgressState:
    return fresh(7, b"direct", T0, WALL, settings(rate))


def granted(state: EgressState, now: float, rate: str = "1", holder: int = 1) -> tuple[EgressState, Grant]:
    state, result = take(state, now, settings(rate), holder)
    assert isinstance(result, Grant), f"waits {result} s"
    return state, result


def tell(
    state: EgressState,
    outcome: Outcome,
    now: float,
    *,
    job: int = 1,
    epoch: int | None = None,
    granted_s: float | None = None,
    rate: str = "1",
    retry_after_s: float | None = None,
    pace: float = 1.0,
) -> EgressState:
    return on_outcome(
        state,
        outcome,
        epoch=state.epoch if epoch is None else epoch,
        granted_s=now if granted_s is None else granted_s,
        job=job,
        now=now,
        wall=WALL + now,
        settings=settings(rate, pace),
        retry_after_s=retry_after_s,
    )


# Slots


@given(
    st.sampled_from([0.5, 5.0, 50.0, 499.0, 500.0, 2000.0]),
    st.lists(st.one_of(st.just(0.0), st.floats(0, 0.01), st.floats(0, 20)), max_size=300),
)
def test_no_window_holds_more_than_was_promised(per_s: float, pauses: list[float]) -> None:
    """Permits are used at the earliest (their slot) or the latest time (when they go stale), whichever is worse."""
    run = settings(str(per_s))
    state, now, used = new(str(per_s)), T0, []
    for number, pause in enumerate(pauses):
        now += pause
        state, result = take(state, now, run, 1)
        if isinstance(result, Grant):
            assert now <= result.expires
            assert result.slot >= now
            used.append(max(result.slot, now) if number % 2 else result.expires)
        assert plausible(state, now, run)
    used.sort()
    late = look_ahead_s(1 / per_s)
    for first in range(len(used)):
        for last in range(first, len(used)):
            window = used[last] - used[first]
            assert last - first + 1 <= per_s * (window + late) + burst(1 / per_s) + 1 + 1e-6


@given(st.sampled_from(["0.5", "50", "2000"]), st.integers(1, 200))
def test_with_demand_no_slot_is_lost(rate: str, n: int) -> None:
    run, state, now = settings(rate), new(rate), T0
    slots = []
    while len(slots) < n:
        state, result = take(state, now, run, 1)
        if isinstance(result, Grant):
            slots.append(result.slot)
        else:
            now += result
    assert slots[-1] - slots[0] == pytest.approx((n - 1) / float(rate), abs=1e-6)


def test_who_comes_late_for_a_slot_does_not_slow_the_others_down() -> None:
    state, now = new("10"), T0
    for _ in range(100):
        state, _ = granted(state, now, "10")
        now = max(now, state.tat + 0.09)  # nearly an interval late, each time
    assert state.tat - T0 == pytest.approx(100 / 10)


def test_without_pacing_every_take_is_granted_at_once_and_never_stale() -> None:
    state = new("none")
    for _ in range(100):
        state, grant = granted(state, T0, "none")
        assert grant.slot == T0
        assert grant.expires == math.inf
    assert state.requests == 100


def test_a_wait_is_the_time_after_which_it_is_granted() -> None:
    state, _ = granted(new(), T0)
    state, wait_s = take(state, T0, settings(), 1)
    assert wait_s == pytest.approx(1.0 - 0.05)
    assert ready_at(state) == pytest.approx(T0 + wait_s)
    granted(state, T0 + wait_s + 1e-9)


# Blocks


def opened(rate: str = "1", retry_after_s: float | None = None) -> tuple[EgressState, Grant]:
    state, grant = granted(new(rate), T0, rate)
    state = tell(state, Outcome.BLOCKED, T0 + 1, rate=rate, retry_after_s=retry_after_s)
    return state, grant


def test_a_first_refusal_opens_for_a_moment_and_one_probe_asks_whose_it_was() -> None:
    state, _ = opened()
    assert (state.state, state.why) == (State.OPEN, Why.BLOCK)
    wait_s = take(state, T0 + 1, settings(), 1)[1]
    assert isinstance(wait_s, float)
    assert wait_s == pytest.approx(ASK_S)
    state, probe = granted(state, T0 + 1 + wait_s)
    assert state.state == State.HALF_OPEN
    assert isinstance(take(state, T0 + 6, settings(), 2)[1], float)
    assert probe.epoch == state.epoch


def test_the_prober_may_take_more_and_nobody_else() -> None:
    state, _ = opened()
    state, first = granted(state, T0 + 5, holder=1)
    state, second = granted(state, T0 + 7, holder=1)
    assert first.epoch == second.epoch
    assert ready_at(state, holder=1) < T0 + 10 < ready_at(state, holder=2)


def test_a_dead_prober_is_replaced_after_its_deadline() -> None:
    state, _ = opened()
    state, dead = granted(state, T0 + 5, holder=1)
    state, wait_s = take(state, T0 + 5, settings(), 2)
    assert wait_s == 30.0
    state, probe = granted(state, T0 + 35, holder=2)
    assert probe.epoch == dead.epoch + 1
    late = tell(state, Outcome.BLOCKED, T0 + 36, epoch=dead.epoch)
    assert late.state == State.HALF_OPEN  # its loss does not count any more
    back = tell(state, Outcome.OK, T0 + 36, epoch=dead.epoch)
    assert back.state == State.CLOSED  # but an answer is an answer


def test_losses_from_before_the_opening_do_not_open_again() -> None:
    state, grant = opened()
    for job in range(2, 30):
        after = tell(state, Outcome.BLOCKED, T0 + 1.5, job=job, epoch=grant.epoch)
        assert (after.epoch, after.open_until, after.fails) == (state.epoch, state.open_until, 1)
    state, _ = granted(after, T0 + 5)
    state = tell(state, Outcome.OK, T0 + 5.2)
    rate = state.rate_per_s
    state = tell(state, Outcome.BLOCKED, T0 + 5.3, job=40, epoch=grant.epoch)
    assert (state.state, state.rate_per_s) == (State.CLOSED, rate)


def test_an_old_success_does_not_close() -> None:
    state, grant = opened()
    state = tell(state, Outcome.OK, T0 + 1.1, epoch=grant.epoch)
    assert state.state == State.OPEN


@pytest.mark.parametrize(
    ("asked_s", "least", "most"), [(60.0, 60.0, 60.0), (1.0, 3.0, 3.3), (1e9, 21600, 21600)]
)
def test_retry_after_is_obeyed_when_longer_up_to_6_hours(asked_s: float, least: float, most: float) -> None:
    state, _ = opened(retry_after_s=asked_s)
    assert least - 1e-6 <= state.open_until - (T0 + 1) <= most + 1e-6


@pytest.mark.parametrize("asked_s", [math.nan, -5.0, 0.0])
def test_a_senseless_retry_after_is_ignored(asked_s: float) -> None:
    state, _ = opened(retry_after_s=asked_s)
    assert state.open_until - (T0 + 1) == pytest.approx(ASK_S)


def probe_refused(state: EgressState, times: int, rate: str = "1") -> EgressState:
    for _ in range(times):
        now = state.open_until + 0.01
        state, _ = granted(state, now, rate)
        state = tell(state, Outcome.BLOCKED, now + 0.1, rate=rate)
    return state


def test_cool_downs_grow_by_half_up_to_10_minutes() -> None:
    run = settings()
    waits = [cool_down_s(fails, Why.BLOCK, 1 << 31, run) for fails in range(1, 60)]
    assert waits[:4] == pytest.approx([3.0, 4.5, 6.75, 10.125], rel=0.1)
    assert all(3.0 <= wait <= 660 for wait in waits)
    assert waits[-1] >= 540
    assert cool_down_s(60, Why.NETWORK, 5, run) <= 11
    assert cool_down_s(1, Why.BLOCK, 5, settings(pace=60)) == cool_down_s(1, Why.BLOCK, 5, run) / 60


def worked(rate: str, requests: int = 400, start: float = T0) -> tuple[EgressState, float]:
    """An egress by which so many requests passed, as fast as it may."""
    state, now = new(rate), start
    while state.ok < requests:
        state, result = take(state, now, settings(rate), 1)
        if isinstance(result, Grant):
            state = tell(state, Outcome.OK, now, rate=rate)
        else:
            now += result
    return state, now


def resumed_after(
    state: EgressState, now: float, refusals: int, rate: str, asked_s: float | None = None
) -> tuple[EgressState, float]:
    """The state after a block of so many refusals, the first and its probes, that began now; and when it was over."""
    state, _ = granted(state, state.tat, rate)
    state = tell(state, Outcome.BLOCKED, max(now, state.tat), rate=rate, retry_after_s=asked_s)
    state = probe_refused(state, refusals - 1, rate)
    now = state.open_until + 0.01
    state, _ = granted(state, now, rate)
    return tell(state, Outcome.OK, now + 0.1, rate=rate), now + 0.1


@pytest.mark.parametrize("rate", ["1", "none", "auto"])
def test_a_refusal_whose_control_video_is_served_was_the_videos_and_the_rate_stays(rate: str) -> None:
    state, now = worked(rate)
    before = state.rate_per_s
    state, later = resumed_after(state, now, 1, rate)
    assert (state.state, state.learnt.block_s) == (State.CLOSED, 0.0)
    assert state.rate_per_s == pytest.approx(before, rel=0.01)
    assert later - now < 1.5 + 2 * state.interval


@pytest.mark.parametrize(("rate", "tolerated"), [("1", 1), ("none", 2)])
def test_where_most_refusals_were_the_videos_own_the_next_requests_tell(rate: str, tolerated: int) -> None:
    state, now = worked(rate)
    for _ in range(2):
        state, now = resumed_after(state, now, 1, rate)
        now += 30
    for job in range(10, 10 + tolerated):
        state = tell(state, Outcome.BLOCKED, now, job=job, rate=rate)
        assert state.state == State.CLOSED
    assert tell(state, Outcome.BLOCKED, now, job=20, rate=rate).state == State.OPEN
    state = tell(state, Outcome.OK, now + 1, rate=rate)
    assert (state.state, state.trouble_since) == (State.CLOSED, 0.0)
    assert tell(state, Outcome.BLOCKED, now + 2, job=21, rate=rate, retry_after_s=90.0).state == State.OPEN


@pytest.mark.parametrize("again", [True, False])
def test_many_refusals_in_a_row_are_a_block_unless_their_videos_are_refused_again(again: bool) -> None:
    state, now = worked("1")
    before = state.rate_per_s
    for job in range(2, 10):
        for other in (job, 100 * job):
            now += 1
            if state.state == State.CLOSED:
                state = tell(state, Outcome.BLOCKED, now, job=other)
        now = max(now + 1, state.open_until)
        if state.state == State.OPEN:
            state, _ = granted(state, now)
        state = tell(state, Outcome.OK, now)
        if again:
            state = tell(state, Outcome.VIDEO_BLOCKED, now, job=job)
    assert (state.rate_per_s == before) is again


def test_what_was_granted_since_the_last_tick_is_counted_at_a_block() -> None:
    state, now = worked("none")  # all at one moment
    state, later = resumed_after(state, now, 4, "none")
    assert sum(count for _, count in [max(sent_since(state.learnt.volume, later))]) == 401


def test_after_a_refused_probe_the_rate_is_less_and_the_first_slot_an_interval_off() -> None:
    state, now = resumed_after(*worked("1"), 4, "1")
    assert state.rate_per_s <= 0.94
    assert state.tat == pytest.approx(now + state.interval)


def test_what_was_blocked_before_the_run_came_says_nothing_of_its_rate() -> None:
    state = probe_refused(opened()[0], 3)
    now = state.open_until + 0.01
    state, _ = granted(state, now)
    assert tell(state, Outcome.OK, now + 0.1).rate_per_s == 1.0


@given(st.lists(st.integers(2, 9), min_size=2, max_size=5))
def test_a_block_is_tried_again_when_it_lasted_as_long_as_the_last_one_and_then_never_sooner(
    blocks: list[int],
) -> None:
    state, now = worked("1")
    for refusals in blocks:
        usual_s, probes = state.learnt.block_s, []
        state, _ = granted(state, max(state.tat, now + 1))
        began = state.tat
        state = tell(state, Outcome.BLOCKED, began)
        for _ in range(refusals):
            probes.append(state.open_until - began)
            state = probe_refused(state, 1)
        assert all(probe >= usual_s for probe in probes[1:]), "but for the control video none comes sooner"
        gaps = [b - a for a, b in itertools.pairwise(probes[1:])]
        assert all(gap >= 3.0 for gap in gaps)
        assert all(b >= 0.8 * a for a, b in itertools.pairwise(gaps)), gaps
        now = state.open_until + 0.01
        state, _ = granted(state, now)
        state = tell(state, Outcome.OK, now)
        for _ in range(300):
            state, _ = take(state, state.tat, settings(), 1)
            state = tell(state, Outcome.OK, state.tat)
        now = state.tat


def busy(state: EgressState, start: float, seconds: float, rate: str) -> tuple[EgressState, float]:
    """Take whatever is to be had for so long."""
    now = start
    while now < start + seconds:
        state, result = take(state, now, settings(rate), 1)
        if state.interval == 0:
            break
        now += result if isinstance(result, float) else 0.0
    return state, now


def test_a_set_rate_is_the_ceiling_it_comes_back_to() -> None:
    state, now = resumed_after(*worked("2"), 3, "2")
    assert state.rate_per_s < 1.0
    state, now = busy(state, now, 3 * 3600, "2")
    assert state.rate_per_s == pytest.approx(2.0)


@pytest.mark.parametrize("asked_s", [None, 3600.0])
def test_after_a_block_of_an_hour_nothing_is_tried_for_a_night(asked_s: float | None) -> None:
    state, now = resumed_after(*worked("2"), 2 if asked_s else 18, "2", asked_s)
    assert 1800 < state.learnt.block_s < 5400
    assert state.hold_s == pytest.approx(HOLD_BLOCKS * state.learnt.block_s, rel=1e-3)
    state, _ = busy(state, now, 4 * 3600, "2")
    assert state.rate_per_s == pytest.approx(1.88), "below what was refused"


def test_an_idle_egress_does_not_grow() -> None:
    state, now = busy(new("auto"), T0, 60, "auto")
    rate = state.rate_per_s
    assert rate > 0.055
    for _ in range(50):
        now += 60
        state, _ = granted(state, now, "auto")
    assert state.rate_per_s < 1.1 * rate


def test_auto_grows_slowly_enough_to_feel_a_burst() -> None:
    """A bucket is to be empty before the rate is far above what refills it; 20 requests a second take an hour."""
    state, now = busy(new("auto"), T0, 300, "auto")
    assert state.rate_per_s == pytest.approx(0.1, rel=0.1)
    state, now = busy(state, now, 1200, "auto")
    assert 0.4 < state.rate_per_s < 0.8
    state, now = busy(state, now, 2100, "auto")
    assert 10 < state.rate_per_s < 40


def test_no_pacing_is_cut_below_what_was_measured_and_comes_back() -> None:
    state, now = worked("none", 1)
    for number in range(1000):
        state, _ = granted(state, T0 + number / 10, "none")
        state = tell(state, Outcome.OK, T0 + number / 10, rate="none")
    state, now = resumed_after(state, T0 + 100, 3, "none")
    assert state.rate_per_s < 6
    assert state.measured == pytest.approx(10, rel=0.1)
    state, _ = busy(state, now, 2 * 3600, "none")
    assert state.rate_per_s == math.inf


@given(
    st.lists(st.sampled_from([Outcome.OK, Outcome.BLOCKED]), min_size=1, max_size=60), st.floats(0.1, 5000)
)
def test_blocks_never_end_the_work_and_nothing_passes_the_ceiling(
    outcomes: list[Outcome], pause: float
) -> None:
    state, now = new(), T0
    for outcome in outcomes:
        now = max(now + pause, ready_at(state) + 0.01)
        state, _ = granted(state, now)
        state = tell(state, outcome, now)
        assert MIN_PER_S - 1e-9 <= state.rate_per_s <= 1.0 + 1e-9
        assert plausible(state, now, settings())


# The network, dead egresses, other answers


def test_five_losses_in_a_row_open_and_an_answer_closes_at_the_same_rate() -> None:
    state, _ = granted(new(), T0)
    for job in (1, 1, 2, 2):
        state = tell(state, Outcome.NETWORK, T0 + 1, job=job)
        assert state.state == State.CLOSED
    state = tell(state, Outcome.NETWORK, T0 + 2, job=5)
    assert (state.state, state.why) == (State.OPEN, Why.NETWORK)
    for _ in range(20):
        now = state.open_until + 0.01
        state, _ = granted(state, now)
        state = tell(state, Outcome.NETWORK, now)
        assert 3.0 <= state.open_until - now <= 11.0
    now = state.open_until + 0.01
    state, _ = granted(state, now)
    state = tell(state, Outcome.OTHER, now)
    assert (state.state, state.rate_per_s) == (State.CLOSED, 1.0)
    assert (state.losses, state.ok_at) == (0, now), "what it said shows that the network is back"


def test_a_success_between_starts_the_count_anew() -> None:
    state, _ = granted(new(), T0)
    for job in range(1, 5):
        state = tell(state, Outcome.NETWORK, T0 + 1, job=job)
    state = tell(state, Outcome.OK, T0 + 2)
    for job in range(5, 9):
        state = tell(state, Outcome.NETWORK, T0 + 3, job=job)
    assert state.state == State.CLOSED


def test_a_probe_that_says_nothing_is_followed_by_another_soon() -> None:
    state = probe_refused(opened()[0], 6)
    fails = state.fails
    now = state.open_until + 0.01
    state, _ = granted(state, now)
    state = tell(state, Outcome.NETWORK, now)
    assert (state.state, state.fails) == (State.OPEN, fails)
    assert state.open_until == pytest.approx(now + 3.0)


def test_a_dead_egress_is_retired_for_good() -> None:
    state, _ = granted(new(), T0)
    state = tell(state, Outcome.DEAD, T0)
    assert take(state, T0 + 1e6, settings(), 1)[1] == math.inf
    state = tell(state, Outcome.OK, T0 + 1)
    assert state.state == State.RETIRED


# Incidents


def confirmed(state: EgressState) -> bool:
    return bool(state.flags & CONFIRMED)


def test_an_incident_ends_with_a_success_that_was_sent_after_it_began() -> None:
    state, _ = granted(new(), T0)
    state = tell(state, Outcome.NETWORK, T0 + 1)
    state = tell(state, Outcome.OK, T0 + 1.1, granted_s=T0 + 0.9)
    assert state.trouble_since == T0 + 1
    state = tell(state, Outcome.OK, T0 + 1.2, granted_s=T0 + 1.1)
    assert state.trouble_since == 0


def test_a_refusal_alone_confirms_nothing() -> None:
    state, _ = granted(new(), T0)
    state = tell(state, Outcome.BLOCKED, T0 + 1)
    assert not confirmed(state)
    state, _ = granted(state, T0 + 5)
    state = tell(state, Outcome.OK, T0 + 5)
    assert not confirmed(state)


@pytest.mark.parametrize("by", ["another job", "a probe", "a control video"])
def test_a_block_is_the_egress_when_another_is_refused_too(by: str) -> None:
    state, grant = granted(new(), T0)
    state = tell(state, Outcome.BLOCKED, T0 + 1, job=1)
    if by == "another job":
        assert not confirmed(tell(state, Outcome.BLOCKED, T0 + 1.1, job=1, epoch=grant.epoch))
        state = tell(state, Outcome.BLOCKED, T0 + 1.1, job=2, epoch=grant.epoch)
    elif by == "a probe":
        state = probe_refused(state, 1)
    else:
        state, _ = granted(state, T0 + 5)
        state = tell(state, Outcome.NO_CAPTIONS, T0 + 5)
    assert confirmed(state)
    now = state.open_until + 0.01
    state, _ = granted(state, now)
    state = tell(state, Outcome.OK, now)
    assert not confirmed(state)


def test_what_comes_late_changes_nothing_after_the_outage_it_was_sent_in() -> None:
    state, grant = granted(new(), T0)
    for job in range(1, LOSSES + 1):
        state = tell(state, Outcome.NETWORK, T0 + 1, job=job)
    now = state.open_until + 0.01
    state, _ = granted(state, now)
    state = tell(state, Outcome.OK, now)
    assert tell(state, Outcome.NETWORK, now + 30, job=9, epoch=grant.epoch) == state


# No captions


def test_a_control_video_without_captions_opens_for_a_minute_and_longer_each_time() -> None:
    state, _ = granted(new(), T0)
    state = tell(state, Outcome.NO_CAPTIONS, T0)
    assert (state.state, state.why, state.blocked) == (State.OPEN, Why.BLOCK, 1)
    waits = []
    for _ in range(12):
        waits.append(round(state.open_until - now_of(state)))
        now = state.open_until + 0.01
        state, _ = granted(state, now)
        state = tell(state, Outcome.NO_CAPTIONS, now)
    assert waits[0] == 60
    assert waits == sorted(waits)
    assert waits[-1] > 120


def now_of(state: EgressState) -> float:
    return state.opened_at


def test_behind_a_gateway_it_takes_twenty_in_a_row() -> None:
    state, _ = granted(new(), T0)
    for number in range(1, 60):
        state = tell(state, Outcome.EXIT_NO_CAPTIONS, T0)
        if number % 19 == 0:
            state = tell(state, Outcome.OK, T0)
        assert state.state == State.CLOSED
    state = tell(state, Outcome.OK, T0)
    for _ in range(20):
        assert state.state == State.CLOSED
        state = tell(state, Outcome.EXIT_NO_CAPTIONS, T0)
    assert (state.state, state.why) == (State.OPEN, Why.BLOCK)


def test_when_captions_were_shown_last_never_goes_back() -> None:
    state, _ = granted(new(), T0)
    for shown_at, last in ((T0 - 1, T0 - 1), (T0 - 2, T0 - 1), (0.0, T0 - 1), (T0 + 9, T0)):
        state = on_outcome(
            state,
            Outcome.OK,
            epoch=state.epoch,
            granted_s=T0,
            job=1,
            now=T0,
            wall=WALL,
            settings=settings(),
            shown_at=shown_at,
        )
        assert state.shown_at == last
        assert plausible(state, T0, settings())


# After a reboot


@pytest.mark.parametrize(("off_s", "left_s"), [(10.0, 50.0), (100.0, 0.0), (-1e7, 21600.0)])
def test_a_cool_down_outlives_a_reboot_by_the_wall_clock(off_s: float, left_s: float) -> None:
    state, _ = opened(retry_after_s=60.0)
    wall = WALL + T0 + 1 + off_s
    after = emptied(state, 5.0, wall, settings())
    assert after.state == State.OPEN
    assert after.open_until == pytest.approx(5.0 + left_s)


def test_a_reboot_keeps_what_was_learnt_and_counted_but_gives_no_burst() -> None:
    state = probe_refused(opened()[0], 1)
    now = state.open_until + 0.01
    state, _ = granted(state, now)
    state = tell(state, Outcome.OK, now)
    after = emptied(state, 5.0, WALL + now, settings())
    assert (after.interval, after.phase, after.top) == (state.interval, state.phase, state.top)
    assert (after.requests, after.ok, after.blocked) == (state.requests, state.ok, state.blocked)
    assert after.tat == 5.0 + after.interval


# What onlookers are told


@pytest.mark.parametrize(
    ("state", "why", "flags", "word", "offline", "refused"),
    [
        (State.CLOSED, Why.NONE, 0, "ok", False, False),
        (State.OPEN, Why.BLOCK, 0, "blocked", False, True),
        (State.HALF_OPEN, Why.BLOCK, 0, "probing", False, True),
        (State.OPEN, Why.NETWORK, 0, "network", True, False),
        (State.OPEN, Why.NETWORK, AWAY, "unreachable", True, False),
        (
            State.HALF_OPEN,
            Why.NETWORK,
            0,
            "probing",
            True,
            False,
        ),  # a lost connection being tried is no block
        (State.CLOSED, Why.NETWORK, 0, "ok", False, False),
        (State.RETIRED, Why.DEAD, 0, "retired", False, False),
    ],
)
def test_a_block_is_told_from_a_lost_connection(
    state: State, why: Why, flags: int, word: str, offline: bool, refused: bool
) -> None:
    seen = view(new()._replace(state=state, why=why, flags=flags), T0, WALL, True)
    assert (seen.state, seen.offline, seen.refused) == (word, offline, refused)


def test_an_answer_is_awaited_from_the_first_request_on_until_something_is_heard() -> None:
    state, _ = granted(new("10"), T0, "10")
    state, _ = granted(state, T0 + 0.1, "10")
    assert state.awaited_since(T0 + 0.1) == T0
    state, result = take(state, T0 + 0.2, settings("10"), 1, further=True)  # the first was answered
    assert isinstance(result, Grant)
    assert state.awaited_since(T0 + 0.2) == T0 + 0.2
    assert tell(state, Outcome.OK, T0 + 9.0, rate="10").awaited_since(T0 + 9.0) == 0.0


@pytest.mark.parametrize(
    ("outcome", "took_s", "awaited"),
    [
        (Outcome.NETWORK, 0.1, False),  # it fails at once, and keeps nobody waiting
        (Outcome.NETWORK, 10.0, True),
        (Outcome.TIMEOUT, 20.0, True),
        (Outcome.BLOCKED, 20.0, False),
        (Outcome.OTHER, 20.0, False),
    ],
)
def test_an_attempt_that_is_lost_after_long_owes_its_answer_still(
    outcome: Outcome, took_s: float, awaited: bool
) -> None:
    state, _ = granted(new(), T0)
    assert bool(tell(state, outcome, T0 + took_s).awaited_since(T0 + took_s)) is awaited
