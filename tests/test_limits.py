"""Caps: which is reached when, counted from where the run began."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.limits import Caps, Meter


@pytest.mark.parametrize(
    ("caps", "used", "says"),
    [
        (Caps(), (10**12, 10**15, 1e9), None),
        (Caps(max_requests=10), (9, 0, 0.0), None),
        (Caps(max_requests=10), (10, 0, 0.0), "--max-requests 10: 10 were sent"),
        (Caps(max_bytes=1000), (0, 999, 0.0), None),
        (Caps(max_bytes=1000), (0, 1500, 0.0), "--max-bytes 1,000: 1,500 bytes"),
        (Caps(max_duration_s=60), (0, 0, 59.9), None),
        (Caps(max_duration_s=60), (0, 0, 60.0), "--max-duration 60 s"),
        (Caps(1, 1, 1), (1, 1, 1.0), "--max-requests"),
    ],
)
def test_the_cap_that_is_reached_is_named(caps: Caps, used: tuple[int, int, float], says: str | None) -> None:
    sentence = caps.reached(*used)
    assert sentence is None if says is None else says in (sentence or "")


@given(st.integers(0, 10**6), st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 10**9))
def test_what_earlier_runs_used_does_not_count(before: int, n_bytes: int, cap: int, cap_bytes: int) -> None:
    caps = Caps(max_requests=cap, max_bytes=cap_bytes)
    meter = Meter.start((before, n_bytes))
    assert meter.reached(caps, (before, n_bytes)) is None
    assert meter.reached(caps, (before + cap - 1, n_bytes + cap_bytes - 1)) is None
    assert "--max-requests" in (meter.reached(caps, (before + cap, n_bytes)) or "")
    assert "--max-bytes" in (meter.reached(caps, (before, n_bytes + cap_bytes)) or "")
    assert meter.reached(caps, (0, 0)) is None  # a damaged record of the budget ends no run


def test_time_counts_from_the_start() -> None:
    meter = Meter.start((5, 5))
    assert meter.reached(Caps(max_duration_s=60), (5, 5)) is None
    meter.since_s -= 60
    assert "--max-duration" in (meter.reached(Caps(max_duration_s=60), (5, 5)) or "")
