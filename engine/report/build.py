"""Making a report: one pass over the manifest, one over the events, and a status of the same moment."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from engine.model import Kind
from engine.monitor import status
from engine.queue.directory import Queue, open_queue
from engine.report import manifest_summary, run_history
from engine.report.kind_help import MEANINGS, OTHER
from engine.report.model import HOUR_S, Chart, Hour, KindOfEnd, Report, Times
from engine.report.next_commands import following
from engine.report.timeline import Spell, Timeline
from engine.storage.timestamps import seconds

SLOWEST = 3
SLOW = 0.9  # of the median hour
WORST = 5
ENOUGH_OF_AN_HOUR_S = 1800.0
COLUMNS = 96


def make(root: str, *, price_per_gb: float | None = None) -> Report:
    """Read a queue, live or not. Raises NoQueueError, and UsageError for a queue of a newer format."""
    queue = open_queue(root)
    now = time.time()
    its = status.collect(root)
    read = manifest_summary.read(queue, now)
    told = run_history.read(
        queue, egresses=len(its["egresses"]), seen_until=_seen_until(queue, its, read, now), now=now
    )
    _lengthen(told, read.finished)
    rehearsal = bool(queue.read_batch().get("rehearsal"))
    bad = {"journals": its.get("bad_lines", 0), "manifest": read.bad_lines, "events": told.bad_lines}
    return Report(
        queue=root,
        rehearsal=rehearsal,
        at=now,
        status=its,
        kinds=_kinds(its["kinds"], read),
        costs=read.costs,
        price_per_gb=price_per_gb,
        times=_times(told, read.finished),
        slowest=_slowest(told, read.finished),
        worst=_worst(its["egresses"]),
        deaths=dict(told.deaths.most_common()),
        monitor_deaths=told.monitor_deaths,
        notable=tuple(sorted(told.notable.values(), key=lambda event: event.first)),
        bad_lines=bad,
        undated=read.undated,
        chart=_chart(told, read.finished),
        following=tuple(following(root, its, rehearsal=rehearsal, damaged=any(bad.values()))),
    )


def _seen_until(queue: Queue, its: dict[str, Any], read: manifest_summary.Rows, now: float) -> float:
    """When the last run was last heard of: now if it lives, else when it last wrote its status or a row."""
    if its["state"] in ("running", "stalled", "paused"):
        return now
    said = seconds(status.read_snapshot(queue).get("updated_at")) or 0.0
    last = read.finished.span()
    return max(said, last.until if last else 0.0)


def _lengthen(told: run_history.Nights, finished: Timeline) -> None:
    """A run that was killed said no goodbye; it worked at least until its last row."""
    for run, following_run in zip(told.runs, told.runs[1:], strict=False):
        if run.exit_code is None:
            last = finished.last_before(following_run.since)
            run.until = max(run.until, min(last, following_run.since))


def _kinds(counts: dict[str, int], read: manifest_summary.Rows) -> tuple[KindOfEnd, ...]:
    """Counts as status has them: the manifest may lag behind."""
    known: dict[str, int] = {}
    for kind, count in counts.items():
        name = kind if kind in MEANINGS else manifest_summary.OTHER
        known[name] = known.get(name, 0) + count
    found = []
    for kind, count in known.items():
        its = MEANINGS.get(kind, OTHER)
        its_status = str(Kind(kind).status) if kind in MEANINGS else "failed"
        examples = tuple(read.examples.get(kind, ()))
        found.append(KindOfEnd(kind, its_status, count, its.means, its.advice, its.again, examples))
    return tuple(sorted(found, key=lambda kind: (kind.status, -kind.jobs, kind.kind)))


def _times(told: run_history.Nights, finished: Timeline) -> Times:
    runs = told.runs
    if not runs:
        seen = finished.span()
        since, until = (seen.since, seen.until) if seen else (None, None)
        return Times(since, until, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    started, ended = runs[0].since, max(run.until for run in runs)
    running = sum(run.until - run.since for run in runs)
    waited = {
        why: sum(spell.length_s for spell in told.closed if spell.why == why)
        for why in ("blocked", "offline")
    }
    return Times(
        started=started,
        ended=ended,
        runs=len(runs),
        running_s=round(running, 1),
        working_s=round(max(0.0, running - sum(waited.values())), 1),
        blocked_s=round(waited["blocked"], 1),
        offline_s=round(waited["offline"], 1),
        between_s=round(max(0.0, ended - started - running), 1),
    )


def _slowest(told: run_history.Nights, finished: Timeline) -> tuple[Hour, ...]:
    """The hours with the fewest jobs for the time that a run had of them, as far as they are slower than most."""
    if finished.step_s > HOUR_S:
        return ()
    jobs: dict[int, int] = {}
    for at, count in finished.bins.items():
        hour = at * finished.step_s // HOUR_S
        jobs[hour] = jobs.get(hour, 0) + count
    running, waiting = _by_hour(told.runs), _by_hour(told.closed)
    hours = [
        Hour(float(hour * HOUR_S), jobs.get(hour, 0), round(run_s, 1), round(waiting.get(hour, 0.0), 1))
        for hour, run_s in running.items()
        if run_s >= ENOUGH_OF_AN_HOUR_S
    ]
    if not hours:
        return ()
    slow = SLOW * median(hour.per_hour for hour in hours)
    hours = sorted(
        (hour for hour in hours if hour.per_hour < slow), key=lambda its: (its.per_hour, its.since)
    )
    return tuple(hours[:SLOWEST])


def _by_hour(spells: list[run_history.Run] | list[Spell]) -> dict[int, float]:
    """Seconds of these in each clock hour."""
    found: dict[int, float] = {}
    for its in spells:
        spell = Spell(its.since, its.until)
        for hour in range(int(its.since // HOUR_S), int(its.until // HOUR_S) + 1):
            found[hour] = found.get(hour, 0.0) + spell.within(hour * HOUR_S, (hour + 1) * HOUR_S)
    return found


def _worst(egresses: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The egresses that were refused most, by their share of requests; those never refused are none of them."""
    refused = [
        {
            "name": its["name"],
            "state": its["state"],
            "requests": its["requests"],
            "blocked": its["blocked"],
            "blocked_share": round(its["blocked"] / max(its["requests"], its["blocked"]), 4),
        }
        for its in egresses
        if its["blocked"] or its["state"] in ("retired", "unreachable")
    ]
    return tuple(sorted(refused, key=lambda its: (-its["blocked_share"], -its["blocked"]))[:WORST])


def _chart(told: run_history.Nights, finished: Timeline) -> Chart | None:
    seen = finished.span()
    since = min([run.since for run in told.runs] + ([seen.since] if seen else []), default=None)
    if since is None:
        return None
    until = max([run.until for run in told.runs] + ([seen.until] if seen else []))
    step, start, jobs = finished.columns(since, until, COLUMNS)
    return Chart(
        start,
        step,
        tuple(jobs),
        tuple(Spell(run.since, run.until) for run in told.runs),
        tuple(told.closed),
        tuple(told.died_at),
    )
