"""Hours against a server with a hidden limit."""

from __future__ import annotations

import itertools
import random

import low_rates
import pytest
from low_rates import Cell
from scenarios import AUTO, GIVEN, SCENARIOS, play
from simulator import START, BucketServer, StandInServer, simulate

from engine.budget import BudgetSettings, parse_rate
from engine.budget.learnt import Learnt
from engine.budget.limit_kinds import KINDS, RATE
from engine.budget.pacing import fresh
from engine.budget.rate_controller import resumed
from engine.budget.state import Phase, State, Why
from engine.rehearsal.hidden_limit import HiddenLimit

HOUR = 3600.0
LEAST = {
    ("constant", AUTO): 0.92,
    ("constant", GIVEN): 0.92,
    ("steps", AUTO): 0.85,
    ("window", AUTO): 0.70,
    ("spurious", AUTO): 0.85,
    ("hours", AUTO): 0.75,
    ("hours", GIVEN): 0.60,
}
NIGHTS = [(name, AUTO) for name in SCENARIOS] + [("constant", GIVEN), ("window", GIVEN)]


def good(name: str, limit: float, rate: str | float, seed: int) -> None:
    came = play(name, limit, rate if rate == AUTO else f"{limit * float(rate):g}", seed)
    # At 20/s one in 10,000 is a false alarm every 8 minutes.
    least = 0.65 if limit > 4 else LEAST.get((name, rate), 0.85)
    assert came.steady >= least, came
    assert came.refused_per_1000 < (1.5 if name == "window" else 1.0), came


@pytest.mark.parametrize(
    ("name", "rate", "limit", "seed"),
    [
        ("constant", GIVEN, 2.0, 90_001),
        ("steps", AUTO, 4.0, 203),  # the night in which a limit that fell was once taken for an hour's
        ("window", AUTO, 2.0, 90_001),
        ("window", GIVEN, 4.0, 204),  # in which each look above went on before it had proven anything
        ("hours", GIVEN, 2.0, 90_001),
    ],
)
def test_a_night_against_a_hidden_limit(name: str, rate: str | float, limit: float, seed: int) -> None:
    good(name, limit, rate, seed)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("limit", [4.0, 20.0])
@pytest.mark.parametrize(("name", "rate"), NIGHTS)
def test_eight_nights_against_a_hidden_limit(name: str, rate: str | float, limit: float) -> None:
    for seed in range(201, 209):
        good(name, limit, rate, seed)


@pytest.mark.parametrize(
    ("cell", "least", "refused", "episodes"),
    [
        (Cell(0.1, "window 10 s", "60 s"), 0.85, 2.0, 6),
        (Cell(0.33, "window 10 s", "60 s"), 0.88, 1.0, 6),
        (Cell(0.33, "bucket 100", "60 s"), 0.90, 1.0, 7),
        (Cell(0.33, "bucket 100", "15 min"), 0.80, 2.0, 3),
        (Cell(1000 / 3600, "bucket 1000", "15 min"), 0.90, 1.5, 2),
        (Cell(1000 / 3600, "bucket 1000", "15 min doubling"), 0.85, 2.5, 3),
        (Cell(2.0, "window 1 h", "60 s"), 0.85, 0.6, 14),
        (Cell(1.0, "window 10 s", "60 s", steps=True), 0.60, 1.5, 14),
        (Cell(0.33, "window 10 s", "60 s", "one request a minute"), 0.70, 75.0, 8),
        (Cell(0.33, "window 10 s", "60 s", "60 s an hour"), 0.35, 8.0, 20),
    ],
    ids=str,
)
def test_a_night_at_a_real_sites_rates(cell: Cell, least: float, refused: float, episodes: int) -> None:
    came = low_rates.play(cell, 90_001)
    assert came.share >= least, came
    assert came.refused <= refused, came
    assert came.episodes <= episodes, came


@pytest.mark.parametrize(
    ("limit", "spurious", "seed"),
    [(1.0, "60 s an hour", 1301), (0.33, "60 s an hour", 1302), (1.0, "one request a minute", 1401)],
)
def test_two_early_blocks_for_no_reason_are_not_believed_all_night(
    limit: float, spurious: str, seed: int
) -> None:
    """Their answers agree by chance on a small part of the limit, where what earns a look above takes days."""
    came = low_rates.play(Cell(limit, "window 10 s", "60 s", spurious), seed)
    assert came.share >= 0.7, came


@pytest.mark.parametrize(("took_s", "is_block"), [(5.0, False), (61.0, True)])
def test_what_took_a_minute_was_a_block_however_many_refusals_had_passed_by(
    took_s: float, is_block: bool
) -> None:
    """Where most were over at once, one or two refused probes are chance still, but only if they came soon."""
    settings = BudgetSettings(parse_rate("auto"))
    began = START + 1000.0
    state = fresh(7, b"noisy", START, 0.0, settings)._replace(
        state=State.OPEN,
        why=Why.BLOCK,
        fails=2,
        phase=Phase.RAISE,
        interval=1 / 21,
        base=20.0,
        top=20.0,
        ok_at=began - 0.1,
        trouble_since=began,
        opened_at=began + 1,
        learnt=Learnt(kind=RATE, noise=0.9, block_s=58.0, answers=(20.0,) * KINDS),
    )
    after = resumed(state, began + took_s, settings)
    assert (after.rate_per_s < 20.0) == is_block
    assert (after.learnt.noise < 0.9) == is_block


@pytest.mark.parametrize("rate", ["0.5", "5"])
def test_after_a_block_of_20_s_work_goes_on_within_10_s(rate: str) -> None:
    for seed in range(20):
        rng = random.Random(seed)
        server = BucketServer(lambda t: 1e9, rng, blocked_until=START + 20)
        night = simulate(server, BudgetSettings(parse_rate(rate)), 60, rng, threads=8)
        assert min(night.ok) <= 30
        gaps = [b - a for a, b in itertools.pairwise(night.refused) if b - a > 2.2]
        assert all(gap >= 2.8 for gap in gaps), gaps


def test_a_pace_runs_the_controller_and_not_the_rate_faster() -> None:
    rng = random.Random(90_005)
    server = BucketServer(lambda t: 1e9, rng, blocked_until=START + 1)
    night = simulate(
        server, BudgetSettings(parse_rate("5"), pace=60), 60, rng, threads=8, latency_s=(0.01, 0.02)
    )
    assert min(night.ok) <= 1.5
    assert night.state.rate_per_s == pytest.approx(5.0)
    assert len(night.sent) <= 5 * 60 + 3


@pytest.mark.parametrize(("rate", "least"), [("auto", 0.55), ("30", 0.85)])
def test_at_a_pace_it_knows_limits_as_in_real_time(rate: str, least: float) -> None:
    """60 times faster, a limit of 20/s is one of 0.33/s in the controller's seconds."""
    server = StandInServer(lambda t: 20.0, HiddenLimit(20.0, 5, 0.75))
    budget = BudgetSettings(parse_rate(rate), pace=60)
    night = simulate(server, budget, 210, random.Random(90_010), threads=32, latency_s=(0.06, 0.08))
    assert night.share([(0.0, 30.0)]) >= least


def test_the_night_runs_on_without_a_limit_it_was_not_given() -> None:
    rng = random.Random(90_006)
    night = simulate(BucketServer(lambda t: 1e9, rng), BudgetSettings(parse_rate("2")), HOUR, rng)
    assert len(night.refused) == 0
    assert len(night.ok) == pytest.approx(2 * HOUR, rel=0.01)


def around(times: list[float], start: float, end: float) -> float:
    """How many a second."""
    return sum(start <= t < end for t in times) / (end - start)


@pytest.mark.parametrize(
    ("first", "then"), [("0.5", "8"), ("8", "0.5"), ("1/h", "4"), ("none", "4"), ("8", "none")]
)
def test_another_rate_amid_the_night_holds_from_the_next_slot_on(first: str, then: str) -> None:
    rng = random.Random(90_007)
    before, after = (BudgetSettings(parse_rate(text)) for text in (first, then))
    night = simulate(
        BucketServer(lambda t: 1e9, rng),
        before,
        400,
        rng,
        threads=8,
        latency_s=(0.1, 0.2),
        turn=(200.0, after),
    )
    late = around(night.sent, 201, 400)
    if then == "none":
        assert late > 3 * 8
    else:
        assert late == pytest.approx(after.rate.per_s, rel=0.05)
        assert around(night.sent, 200, 210) <= after.rate.per_s + 0.3, "no bunch at the turn"
        assert night.state.rate_per_s == pytest.approx(after.rate.per_s)
    if first in ("0.5", "8"):
        assert around(night.sent, 10, 200) == pytest.approx(before.rate.per_s, rel=0.05)


def test_a_higher_rate_amid_a_block_waits_for_its_end_and_is_cut_by_it() -> None:
    rng = random.Random(90_008)
    server = BucketServer(lambda t: 1e9, rng, blocked_until=START + 120)
    before, after = (BudgetSettings(parse_rate(text)) for text in ("2", "6"))
    night = simulate(server, before, 300, rng, threads=8, turn=(30.0, after))
    assert min(night.ok) >= 119
    assert around(night.sent, 30, 119) < 0.5, "probes, and nothing else"
    assert 0.5 * 6 < around(night.sent, 160, 300) <= 6.0


def test_another_rate_frees_from_what_was_learnt_at_the_old_one() -> None:
    """The new one is somebody's word, and the server's next block will tell; the old one is forgotten."""
    rng = random.Random(90_009)
    night = simulate(
        BucketServer(lambda t: 3.0 if t < START + 300 else 1e9, rng),
        BudgetSettings(parse_rate("6")),
        600,
        rng,
        turn=(300.0, BudgetSettings(parse_rate("5"))),
    )
    assert night.blocks
    assert around(night.sent, 100, 300) < 3.2
    assert around(night.sent, 450, 600) == pytest.approx(5.0, rel=0.05)
