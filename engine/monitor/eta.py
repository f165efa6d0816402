"""How fast the batch goes and how long it still takes, from a history of points [wall time, final jobs], oldest
first.

The time left is a range, because a run has good and bad stretches: the rate rises, a block halves it for an hour, a
proxy dies. It is computed from the rate of the last quarter of an hour, with its statistical error; from that of the
last minute, when that differs by more than chance; and from how long as many jobs have taken in this run so far, at
best and at worst. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MINUTE_S, QUARTER_S, DAY_S = 60.0, 900.0, 86400.0
FINE_S = 1000.0  # points of the last 1,000 s are all kept
COARSE_S = 300.0  # older ones are kept at this distance
SOON_S = 0.1  # the least time for any work left
CHANCE = 2.0  # standard deviations that count as chance

Points = Sequence[Sequence[float]]


def rate(history: Points, window_s: float, now: float, run: object = True) -> float:
    """Final jobs per second within the window; 0 when no run works (`run` is false) or too little is known."""
    found, span_s = _within(history, window_s, now)
    return round(found / span_s, 3) if run and span_s > 0.5 else 0.0


def time_left(jobs: int, history: Points, now: float, wait_s: float) -> dict[str, float] | None:
    """Seconds that so many jobs still take, as `low` and `high`; None when nothing moved for a quarter of an hour.

    Never less than `wait_s`, which the last deferred job waits.
    """
    if not jobs:
        return {"low": 0.0, "high": 0.0}
    found, span_s = _within(history, QUARTER_S, now)
    if found <= 0 or span_s <= 0.5:
        return None
    rates = list(_band(found, span_s))
    lately, lately_s = _within(history, MINUTE_S, now)
    if lately > 0 and lately_s > 0.5:
        expected = found / span_s * lately_s
        if abs(lately - expected) > CHANCE * math.sqrt(expected) + 1:
            rates.append(lately / lately_s)
    times = [jobs / each for each in rates] + _durations(history, jobs)
    low, high = max(min(times), wait_s, SOON_S), max(*times, wait_s, SOON_S)
    return {"low": round(low, 1), "high": round(high, 1)}


def thinned(history: list[list[float]], now: float) -> list[list[float]]:
    """The points worth keeping: all of the last quarter of an hour, and one every five minutes of the last day."""
    kept: list[list[float]] = []
    for point in history:
        age_s = now - point[0]
        if age_s > DAY_S or (age_s > FINE_S and kept and point[0] - kept[-1][0] < COARSE_S):
            continue
        kept.append(point)
    return kept


def _within(history: Points, window_s: float, now: float) -> tuple[float, float]:
    """(final jobs, seconds) since the last point before the window, or the first in it."""
    if len(history) < 2:
        return 0.0, 0.0
    first: Any = next((point for point in reversed(history) if point[0] < now - window_s), history[0])
    return max(0.0, history[-1][1] - first[1]), max(now, history[-1][0]) - first[0]


def _durations(history: Points, jobs: float) -> list[float]:
    """The shortest and the longest time that so many jobs took in any stretch of the history.

    When fewer than twice as many were done so far, it is extrapolated from stretches of half of what was done, taking
    good and bad stretches as mixed.
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
    if not times:  # a retry put jobs back
        return []
    often, mean_s = jobs / some, sum(times) / len(times)
    mixed = math.sqrt(often)
    return [often * (mean_s + (time_s - mean_s) / mixed) for time_s in (min(times), max(times))]


def _band(found: float, span_s: float) -> tuple[float, float]:
    """The lowest and the highest rate that is plausible when so many jobs took so many seconds."""
    if found <= 0 or span_s <= 0.5:
        return 0.0, 0.0
    off = CHANCE * math.sqrt(found)
    return max(found - off, found / 4) / span_s, (found + off) / span_s
