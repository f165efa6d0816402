"""The chart of a run: a bar an interval, and behind it when no run worked and when every egress was closed.

This works out what is drawn where; `templates/chart.svg` draws it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.report.model import Chart
from engine.report.text import clock
from engine.report.timeline import Span, joined
from engine.units import duration

HEIGHT = 100
MARKS = 400  # as many as one could tell apart
FINE_S = 600.0  # a chart so short has its times to the second
_LABELS = {
    "idle": "no run",
    "blocked": "every egress blocked",
    "offline": "no connection",
    "death": "a process died",
}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with a class and a title that is shown under the pointer."""

    sort: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the template draws: a viewBox of `width` x `height`, and the texts beside it."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    deaths: tuple[float, ...]
    axis: tuple[str, ...]
    """Five times; the second and the fourth are left out on a narrow screen."""
    legend: tuple[tuple[str, str], ...]
    each: str
    peak: str

    @property
    def label(self) -> str:
        return f"Videos finished in each {self.each}, at most {self.peak}"


def draw(chart: Chart, *, now: float) -> Drawing:
    """The drawing of a chart. `now` says which days need no naming."""
    peak = max(*chart.jobs, 1)
    spans = {"idle": _gaps(chart), **{why: _closed(chart, why) for why in ("blocked", "offline")}}
    bands = [_band(chart, sort, span) for sort, found in spans.items() for span in _thinned(chart, found)]
    bars = [_bar(chart, number, jobs, peak, now) for number, jobs in enumerate(chart.jobs) if jobs]
    deaths = sorted({round(_x(chart, at), 1) for at in chart.deaths})[:MARKS]
    shown = {band.sort for band in bands} | ({"death"} if deaths else set())
    length_s, fine = chart.until - chart.since, chart.until - chart.since < FINE_S
    return Drawing(
        width=len(chart.jobs),
        height=HEIGHT,
        boxes=(*bands, *bars),
        deaths=tuple(deaths),
        axis=tuple(clock(chart.since + length_s * quarter / 4, now=now, fine=fine) for quarter in range(5)),
        legend=tuple((sort, label) for sort, label in _LABELS.items() if sort in shown),
        each=_each(chart.step_s),
        peak=f"{peak:,}",
    )


def _bar(chart: Chart, number: int, jobs: int, peak: int, now: float) -> Box:
    high = round(max(HEIGHT * 0.96 * jobs / peak, 0.8), 2)  # one video is not nothing
    when = clock(chart.since + number * chart.step_s, now=now, fine=chart.step_s < 60)
    return Box("bar", round(number + 0.08, 2), round(HEIGHT - high, 2), 0.84, high, f"{when}: {jobs:,}")


def _band(chart: Chart, sort: str, span: Span) -> Box:
    left = min(max(_x(chart, span.since), 0.0), len(chart.jobs))
    wide = max(min(_x(chart, span.until), len(chart.jobs)) - left, 0.15)
    title = f"{_LABELS[sort]}: {duration(span.length_s)}"
    return Box(sort, round(left, 2), 0, round(wide, 2), HEIGHT, title)


def _x(chart: Chart, at: float) -> float:
    return (at - chart.since) / chart.step_s


def _thinned(chart: Chart, spans: Iterable[Span]) -> list[Span]:
    """The spans, those too near each other to tell apart joined, so that there are never many."""
    gap_s = 0.0
    found = list(joined(spans, gap_s=gap_s))
    while len(found) > MARKS:
        gap_s = max(2 * gap_s, chart.step_s / 16)
        found = list(joined(found, gap_s=gap_s))
    return found


def _closed(chart: Chart, why: str) -> Iterator[Span]:
    return (span for span in chart.closed if span.why == why)


def _gaps(chart: Chart) -> Iterator[Span]:
    """When there was no run, between the first and the last; a moment between two is no gap."""
    until: float | None = None
    for run in chart.runs:
        if until is not None and run.since - until > chart.step_s:
            yield Span(until, run.since)
        until = max(until or run.until, run.until)


def _each(step_s: int) -> str:
    return {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}.get(step_s, duration(step_s))
