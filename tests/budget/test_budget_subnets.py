"""Egresses of a subnet: when they learn together, what they share, and when they are parted again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import subnet_nights
from hypothesis import given
from hypothesis import strategies as st
from low_rates import Cell

from engine.budget import BudgetSettings, Outcome, parse_rate
from engine.budget.limit_kinds import KINDS
from engine.budget.pacing import Grant, fresh, plausible, ready_at, take
from engine.budget.state import CONFIRMED, TOGETHER, EgressState, Phase, State, Why, pack, unpack
from engine.budget.subnets import (
    ALONE_FAILS,
    LATE_S,
    LATELY_S,
    LEAST_START,
    MOST_START,
    WITHIN_S,
    added_up,
    as_seen,
    is_alone,
    on_member_outcome,
    parted,
    share_a_limit,
    start_factors,
    subnet_key,
    subnet_of,
    subnets_of,
    take_together,
    with_share,
)
from engine.budget.volume import FINE_S, Volume, added, counted, sent_within
from engine.model import EgressSpec

NOW, WALL = 50_000.0, 1.7e9
AUTO = BudgetSettings(parse_rate("auto"))
SUBNET = "203.0.113.0/24"
A_THIRD = 0.33


def spec(url: str | None, **more: bool) -> EgressSpec:
    return EgressSpec("name", url, **more)


def egress(number: int, per_s: float = 1.0, **fields: object) -> EgressState:
    state = fresh(number + 1, b"p", NOW - 5000, WALL, AUTO)
    known = {"interval": 1 / per_s, "top": per_s, "base": per_s, "ok_at": NOW - 20.0, "ticked_at": NOW - 20.0}
    return state._replace(**{**known, **fields})


def refused(number: int, per_s: float = 1.0, ago_s: float = 10.0, **fields: object) -> EgressState:
    since = NOW - ago_s
    block = {
        "state": State.OPEN,
        "why": Why.BLOCK,
        "flags": CONFIRMED,
        "fails": 2,
        "trouble_since": since,
        "opened_at": since + 1,
        "open_until": NOW + 3,
        "open_until_wall": WALL + 3,
        "ok_at": since - 1,
    }
    return egress(number, per_s, **{**block, **fields})


# ---- which egresses ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "subnet"),
    [
        ("http://203.0.113.7:8080", SUBNET),
        ("socks5h://user:word@203.0.113.250:1", SUBNET),
        ("http://[2001:db8:1:2::3]:80", "2001:db8:1::/48"),
        ("http://[::ffff:203.0.113.7]:80", SUBNET),
        ("http://127.0.0.1:9", "127.0.0.0/24"),
        ("http://proxy.example:80", ""),
        ("http://203.0.113.7.example:80", ""),
        ("http://[2001:db8", ""),
        ("http://", ""),
        (None, ""),
    ],
)
def test_the_subnet_of_a_proxy(url: str | None, subnet: str) -> None:
    assert subnet_of(spec(url)) == subnet


def test_behind_a_rotating_gateway_is_no_subnet() -> None:
    assert subnet_of(spec("http://203.0.113.7:8080", rotating=True)) == ""


def test_an_egress_with_a_subnet_for_itself_learns_alone() -> None:
    specs = [spec(f"http://{host}:80") for host in ("203.0.113.1", "198.51.100.1", "203.0.113.2")]
    assert subnets_of(specs) == [SUBNET, "", SUBNET]
    assert start_factors(subnets_of(specs)) == [LEAST_START, 1.0, MOST_START]


@given(st.integers(2, 300))
def test_the_egresses_of_a_subnet_begin_at_rates_that_differ_and_are_as_fast_together(count: int) -> None:
    factors = start_factors(["a"] * count)
    assert len(set(factors)) == count
    assert math.isclose(sum(factors), count)


# ---- when they share a limit ------------------------------------------------------------------------------
SHARED = [refused(0, 1.0, 12), refused(1, 1.3, 9), egress(2, 0.7), egress(3, 0.9)]


@pytest.mark.parametrize(
    ("members", "shared"),
    [
        pytest.param(SHARED, True, id="two of four, and nobody was served"),
        pytest.param(SHARED[:1], False, id="one of one"),
        pytest.param([SHARED[0], *SHARED[2:]], False, id="one of three"),
        pytest.param([*SHARED, egress(4)], False, id="two of five"),
        pytest.param(
            [*SHARED[:2], *[egress(n, ok_at=NOW - LATELY_S - 1) for n in range(2, 9)]], True, id="idle"
        ),
        pytest.param(
            [*SHARED[:2], refused(2), *[egress(n) for n in range(3, 50)]], True, id="three of fifty"
        ),
        pytest.param([*SHARED[:3], egress(3, ok_at=NOW - 12 + LATE_S + 0.1)], False, id="one was served"),
        pytest.param([*SHARED[:3], egress(3, ok_at=NOW - 12 + LATE_S - 0.1)], True, id="served before"),
        pytest.param([refused(0, 1.0), refused(1, 1.05)], False, id="at the same rate"),
        pytest.param([refused(0, 1.0, WITHIN_S + 1), refused(1, 1.3, 3)], False, id="one after the other"),
        pytest.param([refused(0, 1.0), refused(1, 1.3, flags=0)], False, id="one is not confirmed"),
        pytest.param([refused(0, 1.0), refused(1, 1.3, why=Why.NETWORK)], False, id="one lost its network"),
        pytest.param([refused(0, 1.0), refused(1, 1.3, interval=0.0)], False, id="one is not paced"),
    ],
)
def test_one_limit_is_told_from_several(members: Sequence[EgressState], shared: bool) -> None:
    assert share_a_limit(members, NOW, AUTO) is shared


def test_the_times_are_those_of_the_pace() -> None:
    late = [refused(0, 1.0, 12), refused(1, 1.3, 9)]
    assert share_a_limit(late, NOW, AUTO)
    assert not share_a_limit(late, NOW, BudgetSettings(parse_rate("auto"), pace=4.0))


# ---- what they share --------------------------------------------------------------------------------------
def joined(members: Sequence[EgressState]) -> tuple[list[EgressState], EgressState]:
    shared = added_up(members, SUBNET, NOW, WALL, AUTO)
    return [with_share(member, shared, len(members), NOW) for member in members], shared


def test_rates_and_histories_are_added_up() -> None:
    members = [
        state._replace(
            learnt=state.learnt._replace(
                since=50 + n, answers=(0.5 + n,) * KINDS, evidence=300, kind=4, block_s=60.0
            )
        )
        for n, state in enumerate(SHARED)
    ]
    shares, shared = joined(members)
    assert shared.key == subnet_key(SUBNET)
    assert shared.rate_per_s == pytest.approx(1.0 + 1.3 + 0.7 + 0.9)
    assert (shared.top, shared.base) == (pytest.approx(3.9), pytest.approx(3.9))
    assert (shared.state, shared.why, shared.trouble_since) == (State.OPEN, Why.BLOCK, NOW - 12)
    learnt = shared.learnt
    assert (learnt.since, learnt.evidence, learnt.kind, learnt.block_s) == (206, 1200, 4, 60.0)
    assert learnt.answers == (0.5 + 1.5 + 2.5 + 3.5,) * KINDS
    assert plausible(shared, NOW, AUTO)
    for share in shares:
        assert plausible(share, NOW, AUTO)
        assert share.flags & TOGETHER and share.subnet == shared.key
        assert share.rate_per_s == pytest.approx(3.9 / 4)
        assert unpack(pack(share)).subnet == shared.key  # type: ignore[union-attr]


def test_who_has_no_answers_yet_leaves_none_to_all() -> None:
    members = [SHARED[0]._replace(learnt=SHARED[0].learnt._replace(answers=(1.0,) * KINDS)), *SHARED[1:]]
    assert joined(members)[1].learnt.answers == ()


def test_a_retired_egress_adds_nothing() -> None:
    shared = joined([*SHARED, egress(4, 100.0, state=State.RETIRED)])[1]
    assert shared.rate_per_s == pytest.approx(3.9)


def test_the_ceilings_of_all_are_the_ceiling_of_the_subnet() -> None:
    fixed = BudgetSettings(parse_rate("2/s"))
    members = [refused(0, 1.0, configured=0.5), refused(1, 2.0, configured=0.5)]
    shared = added_up(members, SUBNET, NOW, WALL, fixed)
    assert shared.configured == pytest.approx(0.25)


@given(
    st.lists(st.lists(st.tuples(st.floats(0, 9000), st.integers(1, 50)), max_size=20), min_size=1, max_size=4)
)
def test_what_several_sent_is_what_one_had_sent(parts: list[list[tuple[float, int]]]) -> None:
    volumes = []
    for part in parts:
        volume = Volume()
        for at, requests in sorted(part):
            volume = counted(volume, at, requests)
        volumes.append(volume)
    one = Volume()
    for at, requests in sorted(itertools.chain(*parts)):
        one = counted(one, at, requests)
    both = added(volumes)
    at = both.slot * FINE_S + FINE_S
    assert both.slot == one.slot
    for span in (60.0, 400.0, 1200.0, 3600.0):
        assert sent_within(both, at, span) == sent_within(one, at, span)


# ---- together ---------------------------------------------------------------------------------------------
def closed_together(count: int = 3, per_s: float = 3.0) -> tuple[list[EgressState], EgressState]:
    shares, shared = joined([refused(0, 1.0), refused(1, 1.3), *[egress(n) for n in range(2, count)]])
    healthy = {"state": State.CLOSED, "why": Why.NONE, "flags": shared.flags & ~CONFIRMED, "fails": 0}
    shared = shared._replace(
        **healthy, phase=Phase.HOLD, trouble_since=0.0, interval=1 / per_s, tat=NOW, resumed_at=NOW - 50
    )
    members = [
        share._replace(state=State.CLOSED, why=Why.NONE, fails=0, flags=TOGETHER, trouble_since=0.0)
        for share in shares
    ]
    return members, shared


def test_all_together_are_paced_by_one_record() -> None:
    members, shared = closed_together()
    slots = []
    now = NOW
    while now < NOW + 20:
        seen = [ready_at(as_seen(member, shared, AUTO)) for member in members]
        now = max(now, min(seen))
        best = min(range(3), key=lambda n: members[n].tat)
        members[best], shared, got = take_together(members[best], shared, now, AUTO, 1)
        assert isinstance(got, Grant)
        slots.append(got.slot)
    gaps = [b - a for a, b in itertools.pairwise(slots)]
    assert min(gaps) >= 1 / 3.05
    assert {member.requests for member in members} <= {len(slots) // 3, len(slots) // 3 + 1}


def test_a_block_of_the_subnet_holds_for_those_that_were_not_refused() -> None:
    members, shared = closed_together()
    shared = shared._replace(
        state=State.OPEN,
        why=Why.BLOCK,
        flags=shared.flags | CONFIRMED,
        open_until=NOW + 60,
        trouble_since=NOW,
    )
    for member in members:
        assert ready_at(as_seen(member, shared, AUTO)) == NOW + 60
        assert take_together(member, shared, NOW, AUTO, 1)[2] == pytest.approx(60.0)
    member, shared, got = take_together(members[0], shared, NOW + 61, AUTO, holder=7)
    assert isinstance(got, Grant)
    assert shared.state == State.HALF_OPEN
    assert as_seen(member, shared, AUTO).holder == 7
    assert ready_at(as_seen(member, shared, AUTO), 7) < NOW + 63
    assert ready_at(as_seen(members[1], shared, AUTO), 8) >= shared.open_until


def test_whose_refusal_it_was_the_refused_egress_finds_out_first() -> None:
    members, shared = closed_together()
    told = {"granted_s": NOW, "job": 1, "now": NOW, "wall": WALL, "settings": AUTO}
    shared = on_member_outcome(shared, Outcome.BLOCKED, epoch=shared.epoch, **told)  # type: ignore[arg-type]
    assert shared.state == State.OPEN
    first = members[0]._replace(state=State.OPEN, why=Why.BLOCK, open_until=shared.open_until)
    ready = [ready_at(as_seen(member, shared, AUTO)) for member in (first, *members[1:])]
    assert ready[0] < NOW + 1 <= min(ready[1:])


def test_what_is_lost_on_the_way_is_the_egresss_own() -> None:
    _, shared = closed_together()
    told = {"granted_s": NOW, "job": 1, "now": NOW, "wall": WALL, "settings": AUTO}
    for outcome in (Outcome.NETWORK, Outcome.TIMEOUT, Outcome.EXIT, Outcome.DEAD, Outcome.OTHER):
        assert on_member_outcome(shared, outcome, epoch=shared.epoch, **told) is shared  # type: ignore[arg-type]


def test_a_probe_that_is_lost_on_the_way_leaves_its_place_to_the_next() -> None:
    members, shared = closed_together()
    shared = shared._replace(
        state=State.OPEN,
        why=Why.BLOCK,
        flags=shared.flags | CONFIRMED,
        open_until=NOW,
        trouble_since=NOW - 60,
    )
    _, shared, _ = take_together(members[0], shared, NOW, AUTO, holder=7)
    told = {"granted_s": NOW, "job": 1, "now": NOW + 1, "wall": WALL, "settings": AUTO}
    shared = on_member_outcome(shared, Outcome.NETWORK, epoch=shared.epoch, **told)  # type: ignore[arg-type]
    assert shared.state == State.OPEN
    assert shared.open_until < NOW + 10


def test_an_egress_of_its_own_network_waits_alone() -> None:
    members, shared = closed_together()
    lost = members[0]._replace(state=State.OPEN, why=Why.NETWORK, open_until=NOW + 10)
    assert ready_at(as_seen(lost, shared, AUTO)) == NOW + 10
    assert take_together(lost, shared, NOW, AUTO, 1) == (lost, shared, 10.0)
    assert ready_at(as_seen(members[1], shared, AUTO)) <= NOW


def test_what_was_learnt_together_is_not_learnt_again_by_each() -> None:
    members, _ = closed_together()
    member, _ = take(members[0], NOW + 300, AUTO, 1)
    assert member.rate_per_s == members[0].rate_per_s


def test_who_is_refused_while_others_are_served_is_alone() -> None:
    _, shared = closed_together()
    member = refused(0, fails=ALONE_FAILS, trouble_since=shared.resumed_at - 10)
    assert is_alone(member, shared)
    assert not is_alone(member._replace(fails=ALONE_FAILS - 1), shared)
    assert not is_alone(member._replace(trouble_since=shared.resumed_at + 1), shared)
    assert not is_alone(member._replace(why=Why.NETWORK), shared)
    assert not is_alone(member, shared._replace(state=State.OPEN))


def test_parted_egresses_go_on_from_about_their_share() -> None:
    [first, *_], _ = closed_together()
    alone = parted(first, NOW)
    assert (alone.flags & TOGETHER, alone.subnet, alone.phase) == (0, 0, Phase.START)
    assert LEAST_START <= alone.rate_per_s / first.rate_per_s <= MOST_START
    assert plausible(alone, NOW, AUTO)
    assert parted(alone, NOW) is alone
    at_ceiling = parted(first._replace(configured=2 * first.interval), NOW)
    assert (at_ceiling.phase, at_ceiling.interval) == (Phase.FIXED, 2 * first.interval)


# ---- nights -----------------------------------------------------------------------------------------------
AN_HOUR = Cell(1000 / 3600, "bucket 1000", "15 min", threads=2)
A_MINUTE = Cell(2.0, "window 60 s", "60 s", threads=2)


@pytest.mark.parametrize("count", [2, 10])
def test_together_they_are_refused_less_often(count: int) -> None:
    together, alone = (
        subnet_nights.play(AN_HOUR, 31, count, shared=True, together=together) for together in (True, False)
    )
    assert (together.joined, together.parted) == (1, 0)
    assert together.refused_whole <= 0.7 * alone.refused_whole
    assert together.refused_whole < 4.0
    assert together.share >= 0.85


def test_limits_of_their_own_are_not_taken_for_one() -> None:
    came = subnet_nights.play(Cell(A_THIRD, "window 60 s", "60 s", threads=2), 32, 4, shared=False)
    assert came.joined == 0
    assert came.share >= 0.85


def test_who_was_joined_wrongly_is_parted() -> None:
    came = subnet_nights.play(
        Cell(A_THIRD, "window 60 s", "60 s", threads=2), 33, 4, shared=False, joined=True
    )
    assert (came.joined, came.parted) == (1, 1)
    assert came.share >= 0.8


@pytest.mark.long
@pytest.mark.parametrize("seed", range(801, 806))
@pytest.mark.parametrize("count", [2, 4, 10])
@pytest.mark.parametrize("cell", [AN_HOUR, A_MINUTE], ids=str)
def test_more_nights_of_one_limit(cell: Cell, count: int, seed: int) -> None:
    came = subnet_nights.play(cell, seed, count, shared=True)
    assert (came.joined, came.parted) == (1, 0)
    assert came.share >= 0.85
    assert came.refused < 1.0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(811, 816))
@pytest.mark.parametrize("count", [2, 4, 10])
@pytest.mark.parametrize("block", ["60 s", "15 min"])
def test_more_nights_of_several_limits(block: str, count: int, seed: int) -> None:
    assert (
        subnet_nights.play(Cell(A_THIRD, "bucket 100", block, threads=2), seed, count, shared=False).joined
        == 0
    )
