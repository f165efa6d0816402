"""Rates and the time left: the range holds on runs whose end is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.monitor import eta as pace

EACH_S = 5.0


def test_rates() -> None:
    history = [[float(at), at * 2.0] for at in range(0, 101, 5)]
    assert pace.rate(history, 60.0, 100.0) == 2.0
    assert pace.rate(history, 900.0, 100.0) == 2.0
    assert pace.rate(history, 60.0, 100.0, None) == 0.0
    assert pace.rate(history[:1], 60.0, 100.0) == 0.0
    assert pace.rate([*history, [105.0, 0.0]], 60.0, 105.0) == 0.0  # after a retry
    assert pace.rate(history, 60.0, 161.0) == 0.0  # nothing came since


def test_the_time_left_at_one_pace() -> None:
    history = [[float(at), at * 100.0] for at in range(0, 901, 5)]
    assert pace.time_left(0, history, 900.0, 0.0) == {"low": 0.0, "high": 0.0}
    assert pace.time_left(5, [[0.0, 0.0]], 900.0, 0.0) is None
    assert pace.time_left(5, [[0.0, 7.0], [5.0, 7.0]], 900.0, 0.0) is None
    found = pace.time_left(10_000, history, 900.0, 0.0)
    assert found is not None
    assert 99.0 < found["low"] <= 100.0 <= found["high"] < 101.0
    assert pace.time_left(10_000, history, 900.0, 5000.0) == {"low": 5000.0, "high": 5000.0}


def night(jobs: int, rate_at: Callable[[float], float], seed: int) -> Iterator[list[float]]:
    """Points of a night at this changing rate, one each five seconds, until all is done."""
    dice = random.Random(seed)
    at_s, done = 0.0, 0.0
    while done < jobs:
        yield [at_s, done]
        at_s += EACH_S
        expected = rate_at(at_s) * EACH_S
        done = min(jobs, done + max(0, round(dice.gauss(expected, expected**0.5))))
    yield [at_s, done]


def kept_to(jobs: int, rate_at: Callable[[float], float], after_s: float) -> float:
    """Share of the looks behind `after_s` whose range held the end, over some seeds."""
    held = looks = 0
    for seed in range(6):
        points = list(night(jobs, rate_at, seed))
        end_s, history = points[-1][0], list[list[float]]()
        for at_s, done in points:
            history = pace.thinned([*history, [at_s, done]], at_s)
            if at_s < after_s or at_s % 120 or end_s - at_s < 120:
                continue
            looks += 1
            found = pace.time_left(int(jobs - done), history, at_s, 0.0)
            held += found is not None and found["low"] - 10 <= end_s - at_s <= found["high"] + 10
    assert looks > 50
    return held / looks


@pytest.mark.parametrize(
    ("rate_at", "after_s", "share"),
    [
        (lambda at_s: 0.25, 300.0, 0.9),
        (lambda at_s: 5.0, 300.0, 0.9),
        (lambda at_s: 5.0 if at_s < 1500 else 2.0, 1500.0 + 600, 0.9),  # some minutes after it fell
        (lambda at_s: 1.0 if at_s < 1500 else 4.0, 1500.0 + 600, 0.9),
        (
            lambda at_s: 0.0 if at_s % 1800 < 600 else 3.0,
            3600.0,
            0.85,
        ),  # blocked ten minutes of each half hour
    ],
    ids=["slow", "fast", "falls", "rises", "blocks"],
)
def test_the_end_lies_in_the_range(rate_at: Callable[[float], float], after_s: float, share: float) -> None:
    jobs = 12_000 if rate_at(1e6) > 0.3 else 2000
    assert kept_to(jobs, rate_at, after_s) >= share


def test_at_a_steady_pace_the_range_is_narrow() -> None:
    history = list(night(100_000, lambda at_s: 5.0, 1))[:400]
    at_s, done = history[-1]
    found = pace.time_left(int(100_000 - done), history, at_s, 0.0)
    assert found is not None
    assert found["high"] < 1.15 * found["low"]


def test_a_pace_that_fell_is_seen_within_two_minutes() -> None:
    """One that has only had a bad moment is not."""
    points = [
        [at, 5.0 * min(at, 1000.0) + 1.0 * max(0.0, at - 1000.0)] for at in map(float, range(0, 2000, 5))
    ]
    until = [point for point in points if point[0] <= 1080.0]
    found = pace.time_left(10_000, until, 1080.0, 0.0)
    assert found is not None
    assert found["high"] > 9000


def test_a_day_of_points_is_few_points() -> None:
    history: list[list[float]] = []
    for at in range(0, 2 * 86400, 20):
        history = pace.thinned([*history, [float(at), float(at)]], float(at))
    assert len(history) < 500
    assert history == sorted(history)
    assert history[-1][0] - history[0][0] == pytest.approx(pace.DAY_S, rel=0.01)
    assert pace.rate(history, pace.QUARTER_S, history[-1][0]) == pytest.approx(1.0, rel=0.01)


points = st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 10**6)), max_size=30)


@settings(deadline=None)
@given(points, st.floats(0, 2e4), st.sampled_from([60.0, 900.0]), st.integers(0, 10**6), st.floats(-1e3, 1e4))
def test_nothing_is_negative(
    found: list[tuple[float, int]], now: float, window_s: float, left: int, wait_s: float
) -> None:
    history = [[at, float(count)] for at, count in sorted(found)]
    assert pace.rate(history, window_s, now) >= 0
    eta = pace.time_left(left, history, now, wait_s)
    assert eta is None or 0 <= eta["low"] <= eta["high"]
    assert eta is None or (eta["low"] > 0) is (left > 0)  # what is left takes some time
