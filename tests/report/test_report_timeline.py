"""Counting along time: nothing is lost by widening, and memory stays what it is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.report.timeline import MAX_BINS, STEPS_S, Span, Timeline, joined

times = st.integers(1, 4_000_000_000)


def test_steps_divide_one_another() -> None:
    assert all(wider % finer == 0 for finer, wider in pairwise(STEPS_S))


def test_fine_as_long_as_there_is_room_then_wider() -> None:
    timeline = Timeline()
    for at in range(MAX_BINS):
        timeline.add(1_000_000 + at)
    assert (timeline.step_s, len(timeline.bins)) == (1, MAX_BINS)
    timeline.add(1)
    assert timeline.step_s == 5
    for at in range(0, 400 * 86_400, 60):  # a year and more, each minute
        timeline.add(2_000_000_000 + at)
    assert len(timeline.bins) <= MAX_BINS
    assert sum(timeline.bins.values()) == MAX_BINS + 1 + 400 * 1440


@given(st.lists(times, min_size=1, max_size=50), st.integers(4, 200))
def test_columns_hold_all_that_lies_between_the_ends(ats: list[int], most: int) -> None:
    timeline = Timeline()
    for at in ats:
        timeline.add(at)
    step, since, counts = timeline.columns(min(ats), max(ats), most)
    assert sum(counts) == len(ats)
    assert len(counts) <= most
    for number, count in enumerate(counts):
        left = since + number * step
        assert count == sum(left <= at < left + step for at in ats)


def test_last_before_and_span() -> None:
    timeline = Timeline()
    assert (timeline.span(), timeline.last_before(5)) == (None, 0)
    for at in (100, 200, 300):
        timeline.add(at)
    assert timeline.span() == Span(100, 300)
    assert timeline.last_before(300) == 200


def test_spells_join_when_they_touch_and_are_of_one_sort() -> None:
    spans = [Span(0, 5, "a"), Span(5.5, 7, "a"), Span(7, 9, "b"), Span(20, 30, "b")]
    assert list(joined(spans)) == [Span(0, 7, "a"), Span(7, 9, "b"), Span(20, 30, "b")]
    assert list(joined([])) == []
    assert Span(0, 10).within(5, 100) == 5
    assert Span(0, 10).within(11, 12) == 0
