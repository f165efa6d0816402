"""The forecast: means, ranges, and what a manifest may hold."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.budget import parse_rate
from engine.queue.directory import Queue
from engine.report.forecast import Measured, Sample, forecast, rows

RATE = parse_rate("0.5")


def row(requests: int = 2, n_bytes: int = 40_000, status: str = "ok") -> dict[str, Any]:
    return {"status": status, "requests": requests, "bytes": n_bytes}


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=200))
def test_mean_and_error_are_those_of_the_textbook(values: list[int]) -> None:
    sample = Sample()
    for value in values:
        sample.add(value)
    assert sample.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert sample.error == pytest.approx(statistics.stdev(values) / len(values) ** 0.5, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(("mode", "requests", "n_bytes"), [("lean", 2, 42_000), ("full", 3, 280_000)])
def test_without_anything_measured_the_defaults(mode: str, requests: int, n_bytes: int) -> None:
    for measured in (None, Measured()):
        plan = forecast(20_000, measured, rate=RATE, egresses=1, price_per_gb=4, fetch_mode=mode)
        assert plan.measured is None
        assert (plan.requests.expected, plan.bytes.expected) == (20_000 * requests, 20_000 * n_bytes)
        assert plan.requests.low == plan.requests.high
        assert plan.seconds is not None
        assert plan.seconds.expected == 20_000 * requests / 0.5
        assert plan.cost is not None
        assert plan.cost.expected == pytest.approx(20_000 * n_bytes / 1e9 * 4)


def test_full_metadata_is_two_requests_more() -> None:
    plan = forecast(1000, None, rate=RATE, egresses=1, full_metadata=True)
    assert (plan.requests.expected, plan.bytes.expected) == (4000, 54_000_000)


def test_by_what_the_videos_have_cost() -> None:
    measured = Measured.of([row(), row(4, 60_000), row(2, 2_000, "absent"), row(4, 0, "failed")])
    plan = forecast(1000, measured, rate=parse_rate("2/s"), egresses=5)
    assert plan.requests.expected == 3000
    assert plan.bytes.expected == pytest.approx(25_500_000)
    assert plan.seconds is not None
    assert plan.seconds.expected == pytest.approx(300)
    assert plan.cost is None
    said = measured.to_json()
    assert said["rows"] == 4
    assert said["ok"] == {"rows": 2, "requests": 3.0, "bytes": 50_000}
    assert said["absent"] == {"rows": 1, "requests": 2.0, "bytes": 2_000}


@pytest.mark.parametrize("rate", ["none", "auto"])
def test_no_time_without_a_rate(rate: str) -> None:
    assert forecast(10, None, rate=parse_rate(rate), egresses=1).seconds is None


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10**7)), min_size=1, max_size=50),
    st.integers(0, 10**7),
)
def test_the_range_holds_what_is_expected(costs: list[tuple[int, int]], videos: int) -> None:
    measured = Measured.of(row(*cost) for cost in costs)
    plan = forecast(videos, measured, rate=RATE, egresses=3, price_per_gb=2.5)
    for one in (plan.requests, plan.bytes, plan.seconds, plan.cost):
        assert one is not None
        assert 0 <= one.low <= one.expected * (1 + 1e-9)
        assert one.expected <= one.high * (1 + 1e-9)
        assert set(one.to_json()) == {"expected", "low", "high"}


def test_more_videos_measured_narrow_the_range() -> None:
    few, many = (Measured.of([row(2), row(4)] * times) for times in (5, 500))
    wide, narrow = (forecast(100, measured, rate=RATE, egresses=1).requests for measured in (few, many))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low) > 0


def test_rows_that_are_none_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(str(tmp_path))
    assert list(rows(queue)) == []
    counted = {"video_id": "dQw4w9WgXcQ", **row()}
    good = json.dumps(counted)
    bad = ["", "[1]", "{}", '{"status": "ok", "requests": -1, "bytes": 1}', '{"status": 1}', "\x00", '"ok"',
           '{"status": "ok", "requests": true, "bytes": 1}', "[" * 5000, good[:10]]  # fmt: skip
    (tmp_path / "manifest.jsonl").write_text("\n".join([good, *bad, good]) + "\n")
    assert list(rows(queue)) == [counted, counted]
    monkeypatch.setattr(
        "engine.report.forecast.READ_BYTES", len(good) + 5
    )  # the last line, and an end of the one before
    assert list(rows(queue)) == [counted]
