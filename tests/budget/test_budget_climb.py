"""Hours against a server with a hidden limit."""

from __future__ import annotations

import random

import pytest
from simulator import START, BucketServer, WindowServer, simulate

from engine.budget import BudgetSettings, parse_rate

HOUR = 3600.0
LIMIT = 4.0  # per second; all constants of the controller are shares, so the answer hardly depends on it
SETTLING = (0.0, 1800.0)
AUTO = BudgetSettings(parse_rate("auto"))


def test_a_constant_limit() -> None:
    rng = random.Random(90_001)
    night = simulate(BucketServer(lambda t: LIMIT, rng), AUTO, 4 * HOUR, rng)
    assert night.share([SETTLING]) >= 0.93
    assert night.refused_per_1000([SETTLING]) < 1


def test_a_limit_that_falls_and_rises() -> None:
    def limit(t: float) -> float:
        return LIMIT if t < START + 2 * HOUR else LIMIT / 2 if t < START + 4 * HOUR else 1.5 * LIMIT

    rng = random.Random(90_002)
    night = simulate(BucketServer(limit, rng), AUTO, 6 * HOUR, rng)
    settling = [SETTLING, (2 * HOUR, 2 * HOUR + 1800), (4 * HOUR, 4 * HOUR + 1800)]
    assert night.share(settling) >= 0.90
    assert night.refused_per_1000(settling) < 1


def test_a_fixed_window() -> None:
    rng = random.Random(90_003)
    night = simulate(WindowServer(lambda t: LIMIT), AUTO, 3 * HOUR, rng)
    assert night.share([SETTLING]) >= 0.90
    assert night.refused_per_1000([SETTLING]) < 1


def test_a_refusal_now_and_then_for_no_reason() -> None:
    rng = random.Random(90_004)
    night = simulate(BucketServer(lambda t: LIMIT, rng, spurious=1e-4), AUTO, 4 * HOUR, rng)
    assert night.share([SETTLING]) >= 0.90
    assert night.refused_per_1000([SETTLING]) < 1.2


@pytest.mark.parametrize("rate", ["0.5", "5"])
def test_after_a_block_of_20_s_work_goes_on_within_10_s(rate: str) -> None:
    for seed in range(20):
        rng = random.Random(seed)
        server = BucketServer(lambda t: 1e9, rng, blocked_until=START + 20)
        night = simulate(server, BudgetSettings(parse_rate(rate)), 60, rng, threads=8)
        assert min(night.ok) <= 30
        gaps = [b - a for a, b in zip(night.refused, night.refused[1:], strict=False) if b - a > 1]
        assert all(gap >= 2.8 for gap in gaps), "probes are at least 3 s apart"


def test_a_pace_runs_the_controller_and_not_the_rate_faster() -> None:
    rng = random.Random(90_005)
    server = BucketServer(lambda t: 1e9, rng, blocked_until=START + 1)
    night = simulate(
        server, BudgetSettings(parse_rate("5"), pace=60), 60, rng, threads=8, latency_s=(0.01, 0.02)
    )
    assert min(night.ok) <= 1.5
    assert night.state.rate_per_s == pytest.approx(5.0)
    assert len(night.sent) <= 5 * 60 + 3


def test_the_night_runs_on_without_a_limit_it_was_not_given() -> None:
    rng = random.Random(90_006)
    night = simulate(BucketServer(lambda t: 1e9, rng), BudgetSettings(parse_rate("2")), HOUR, rng)
    assert len(night.refused) == 0
    assert len(night.ok) == pytest.approx(2 * HOUR, rel=0.01)
