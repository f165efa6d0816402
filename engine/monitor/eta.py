"""How fast it goes and how long it still takes, from points of history: [wall time, jobs final], oldest first.

The time left is a range. A night has stretches: the rate climbs, a block of an hour halves it, a proxy dies. So it is
reckoned by the pace of the last quarter of an hour, with what chance alone does to so many jobs; by the last minute,
when that departs from the quarter of an hour by more than chance; and by how long as many jobs have taken in this run
so far, at its best and at its worst. Pure: values in, values out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MINUTE_S, QUARTER_S, DAY_S = 60.0, 900.0, 86400.0
FINE_S = 1000.0  # so far back the points lie as close as they were noted
COARSE_S = 300.0  # and from there on so far apart
SOON_S = 0.1  # what is left takes some time
CHANCE = 2.0  # standard deviations of a count: it is as good as never further off

Points = Sequence[Sequence[float]]


def rate(history: Points, window_s: float, now: float, run: object = True) -> float:
    """Jobs made final per second within the window; 0 when nobody works (`run` is false) or too little is known."""
    found, span_s = _within(history, window_s, now)
    return round(found / span_s, 3) if run and span_s > 0.5 else 0.0


def left(jobs: int, history: Points, now: float, wait_s: float) -> dict[str, float] | None:
    """Seconds that so many jobs still take, `low` and `high`, and at least as long as the last deferred one waits
    (`wait_s`); None when nothing has moved in a quarter of an hour."""
    if not jobs:
        return {"low": 0.0, "high": 0.0}
    found, span_s = _within(history, QUARTER_S, now)
    if found <= 0 or span_s <= 0.5:
        return None
    paces = list(_band(found, span_s))
    lately, lately_s = _within(history, MINUTE_S, now)
    if lately > 0 and lately_s > 0.5:
        expected = found / span_s * lately_s
        if abs(lately - expected) > CHANCE * math.sqrt(expected) + 1:
            paces.append(lately / lately_s)
    times = [jobs / its for its in paces] + _taken(history, jobs)
    low, high = max(min(times), wait_s, SOON_S), max(*times, wait_s, SOON_S)
    return {"low": round(low, 1), "high": round(high, 1)}


def thinned(history: list[list[float]], now: float) -> list[list[float]]:
    """The points that are worth keeping: all of the last quarter of an hour, every few minutes of the day before."""
    kept: list[list[float]] = []
    for point in history:
        age_s = now - point[0]
        if age_s > DAY_S or (age_s > FINE_S and kept and point[0] - kept[-1][0] < COARSE_S):
            continue
        kept.append(point)
    return kept


def _within(history: Points, window_s: float, now: float) -> tuple[float, float]:
    """(jobs made final, in so many seconds) since the last point before the window, or the first in it."""
    if len(history) < 2:
        return 0.0, 0.0
    first: Any = next((point for point in reversed(history) if point[0] < now - window_s), history[0])
    return max(0.0, history[-1][1] - first[1]), max(now, history[-1][0]) - first[0]


def _taken(history: Points, jobs: float) -> list[float]:
    """The shortest and the longest time that so many jobs took in any stretch of the history.

    Where there were not twice as many yet, it is reckoned from stretches of half of them, good and bad ones mixed.
    """
    gained = history[-1][1] - history[0][1]
    some = min(jobs, gained / 2)
    if some < 1:
        return []
    times, last = [], 0
    for first in history:
        while last < len(history) and history[last][1] - first[1] < some:
            last += 1
        if last == len(history):
            break
        times.append((history[last][0] - first[0]) * some / (history[last][1] - first[1]))
    if not times:  # a retry took finals back
        return []
    often, mean_s = jobs / some, sum(times) / len(times)
    mixed = math.sqrt(often)
    return [often * (mean_s + (its - mean_s) / mixed) for its in (min(times), max(times))]


def _band(found: float, span_s: float) -> tuple[float, float]:
    """The paces that so many jobs in so many seconds may well come from, the slower first."""
    if found <= 0 or span_s <= 0.5:
        return 0.0, 0.0
    off = CHANCE * math.sqrt(found)
    return max(found - off, found / 4) / span_s, (found + off) / span_s
