"""The night as a chart: a bar an interval, behind it when no run worked and when every egress was closed.

The drawing itself holds no text and stretches to any width; what is to be read stands beside it as HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.report.model import Chart
from engine.report.text import clock
from engine.report.timeline import Spell, joined
from engine.units import duration

HEIGHT = 100.0
MARKS = 400  # as many as one could tell apart
FINE_S = 600.0  # a night so short is told by the second
_LABELS = {
    "blocked": "every egress blocked",
    "offline": "no connection",
    "idle": "no run",
    "death": "a process died",
}


def chart(its: Chart, *, now: float) -> Iterator[str]:
    """A figure with the drawing, its axis and its legend. `now` says which days need no naming."""
    peak = max(*its.jobs, 1)
    closed = {
        why: _thinned(its, (spell for spell in its.closed if spell.why == why))
        for why in ("blocked", "offline")
    }
    bands = {"idle": _thinned(its, _gaps(its)), **closed}
    deaths = sorted({round(_x(its, at), 1) for at in its.deaths})[:MARKS]
    what = f"Videos finished in each {_each(its.step_s)}, at most {peak:,}"
    yield "<figure><figcaption>"
    yield f"<b>Videos finished</b> in each {_each(its.step_s)}; the highest bar is {peak:,}</figcaption>"
    yield (
        f'<svg role="img" aria-label="{what}" viewBox="0 0 {len(its.jobs)} {HEIGHT:g}" '
        'preserveAspectRatio="none" xmlns="http://www.w3.org/2000/svg">'
    )
    for sort, spells in bands.items():
        for spell in spells:
            yield _band(its, sort, spell)
    for number, jobs in enumerate(its.jobs):
        if jobs:
            yield _bar(its, number, jobs, peak, now)
    for x in deaths:
        yield f'<path class="death" d="M{x:g} 0V{HEIGHT:g}"/>'
    yield "</svg>"
    yield from _axis(its, now)
    shown = [sort for sort, spells in bands.items() if spells] + (["death"] if deaths else [])
    if shown:
        keys = "".join(f'<span><i class="{sort}"></i>{_LABELS[sort]}</span>' for sort in shown)
        yield f"<p class=legend>{keys}</p>"
    yield "</figure>"


def _bar(its: Chart, number: int, jobs: int, peak: int, now: float) -> str:
    high = max(HEIGHT * 0.96 * jobs / peak, 0.8)  # one video is not nothing
    when = clock(its.since + number * its.step_s, now=now, fine=its.step_s < 60)
    return (
        f'<rect class="bar" x="{number + 0.08:g}" y="{HEIGHT - high:.2f}" width="0.84" height="{high:.2f}">'
        f"<title>{when}: {jobs:,}</title></rect>"
    )


def _band(its: Chart, sort: str, spell: Spell) -> str:
    left = min(max(_x(its, spell.since), 0.0), len(its.jobs))
    wide = max(min(_x(its, spell.until), len(its.jobs)) - left, 0.15)
    return (
        f'<rect class="{sort}" x="{left:.2f}" y="0" width="{wide:.2f}" height="{HEIGHT:g}">'
        f"<title>{_LABELS[sort]}: {duration(spell.length_s)}</title></rect>"
    )


def _x(its: Chart, at: float) -> float:
    return (at - its.since) / its.step_s


def _thinned(its: Chart, spells: Iterable[Spell]) -> list[Spell]:
    """Those too near each other to be told apart are drawn as one, so that there are never many."""
    gap_s = 0.0
    found = list(joined(spells, gap_s=gap_s))
    while len(found) > MARKS:
        gap_s = max(2 * gap_s, its.step_s / 16)
        found = list(joined(found, gap_s=gap_s))
    return found


def _gaps(its: Chart) -> Iterator[Spell]:
    """When there was no run, between the first and the last; a pause of a moment is none."""
    until: float | None = None
    for run in its.runs:
        if until is not None and run.since - until > its.step_s:
            yield Spell(until, run.since)
        until = max(until or run.until, run.until)


def _axis(its: Chart, now: float) -> Iterator[str]:
    """Five times below the drawing, three of them on a narrow screen."""
    labels = []
    fine = its.until - its.since < FINE_S
    for quarter in range(5):
        at = its.since + (its.until - its.since) * quarter / 4
        sort = " class=extra" if quarter in (1, 3) else ""
        labels.append(f"<span{sort}>{clock(at, now=now, fine=fine)}</span>")
    yield f"<div class=axis aria-hidden=true>{''.join(labels)}</div>"


def _each(step_s: int) -> str:
    return {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}.get(step_s, duration(step_s))
