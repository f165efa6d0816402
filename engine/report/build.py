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
from engine.report.timeline import Span, Timeline
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
    counts = status.collect(root)
    read = manifest_summary.read(queue, now, run_history.last_start(queue, now))
    history = run_history.read(
        queue, egresses=len(counts["egresses"]), seen_until=_seen_until(queue, counts, read, now), now=now
    )
    lengthen(history, read.finished)
    rehearsal = bool(queue.read_batch().get("rehearsal"))
    bad = {"journals": counts.get("bad_lines", 0), "manifest": read.bad_lines, "events": history.bad_lines}
    return Report(
        queue=root,
        rehearsal=rehearsal,
        at=now,
        status=counts,
        kinds=_kinds(counts["kinds"], read),
        costs=read.costs,
        ways=read.ways,
        price_per_gb=price_per_gb,
        times=_times(history, read.finished),
        slowest=_slowest(history, read.finished),
        worst=_worst(counts["egresses"]),
        deaths=dict(history.deaths.most_common()),
        monitor_deaths=history.monitor_deaths,
        notable=tuple(sorted(history.notable.values(), key=lambda event: event.first)),
        bad_lines=bad,
        undated=read.undated,
        new=read.new,
        chart=chart_of(history, read.finished),
        following=tuple(
            following(root, counts, rehearsal=rehearsal, damaged=any(bad.values()), unfetched=read.unfetched)
        ),
    )


def _seen_until(queue: Queue, counts: dict[str, Any], read: manifest_summary.Rows, now: float) -> float:
    """When the last run was last seen: now if it lives, else when it last wrote its status or a row."""
    if counts["state"] in ("running", "stalled", "paused"):
        return now
    said = seconds(status.read_snapshot(queue).get("updated_at")) or 0.0
    last = read.finished.span()
    return max(said, last.until if last else 0.0)


def lengthen(history: run_history.RunHistory, finished: Timeline) -> None:
    """A run that was killed has no `stop` event; it worked at least until its last row."""
    for run, following_run in zip(history.runs, history.runs[1:], strict=False):
        if run.exit_code is None:
            last = finished.last_before(following_run.since)
            run.until = max(run.until, min(last, following_run.since))


def _kinds(counts: dict[str, int], read: manifest_summary.Rows) -> tuple[KindOfEnd, ...]:
    """The kinds, counted as in the status: the manifest may lag behind."""
    known: dict[str, int] = {}
    for kind, count in counts.items():
        name = kind if kind in MEANINGS else manifest_summary.OTHER
        known[name] = known.get(name, 0) + count
    found = []
    for kind, count in known.items():
        meaning = MEANINGS.get(kind, OTHER)
        final = str(Kind(kind).status) if kind in MEANINGS else "failed"
        examples = tuple(read.examples.get(kind, ()))
        found.append(KindOfEnd(kind, final, count, meaning.means, meaning.advice, meaning.again, examples))
    return tuple(sorted(found, key=lambda kind: (kind.status, -kind.jobs, kind.kind)))


def _times(history: run_history.RunHistory, finished: Timeline) -> Times:
    runs = history.runs
    if not runs:
        seen = finished.span()
        since, until = (seen.since, seen.until) if seen else (None, None)
        return Times(since, until, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    started, ended = runs[0].since, max(run.until for run in runs)
    running = sum(run.until - run.since for run in runs)
    waited = {
        why: sum(span.length_s for span in history.closed if span.why == why)
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


def _slowest(history: run_history.RunHistory, finished: Timeline) -> tuple[Hour, ...]:
    """The slowest hours, by jobs per time that a run worked in them; none that is about as fast as the median."""
    if finished.step_s > HOUR_S:
        return ()
    jobs: dict[int, int] = {}
    for at, count in finished.bins.items():
        hour = at * finished.step_s // HOUR_S
        jobs[hour] = jobs.get(hour, 0) + count
    running, waiting = _by_hour(history.runs), _by_hour(history.closed)
    hours = [
        Hour(float(hour * HOUR_S), jobs.get(hour, 0), round(run_s, 1), round(waiting.get(hour, 0.0), 1))
        for hour, run_s in running.items()
        if run_s >= ENOUGH_OF_AN_HOUR_S
    ]
    if not hours:
        return ()
    slow = SLOW * median(hour.per_hour for hour in hours)
    hours = sorted(
        (hour for hour in hours if hour.per_hour < slow), key=lambda hour: (hour.per_hour, hour.since)
    )
    return tuple(hours[:SLOWEST])


def _by_hour(spans: list[run_history.Run] | list[Span]) -> dict[int, float]:
    """How many seconds of these lie in each clock hour."""
    found: dict[int, float] = {}
    for stretch in spans:
        span = Span(stretch.since, stretch.until)
        for hour in range(int(stretch.since // HOUR_S), int(stretch.until // HOUR_S) + 1):
            found[hour] = found.get(hour, 0.0) + span.within(hour * HOUR_S, (hour + 1) * HOUR_S)
    return found


def _worst(egresses: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The egresses that were refused most, by share of their requests; without those that never were."""
    refused = [
        {
            "name": egress["name"],
            "state": egress["state"],
            "requests": egress["requests"],
            "blocked": egress["blocked"],
            "blocked_share": round(egress["blocked"] / max(egress["requests"], egress["blocked"]), 4),
        }
        for egress in egresses
        if egress["blocked"] or egress["state"] in ("retired", "unreachable")
    ]
    return tuple(sorted(refused, key=lambda egress: (-egress["blocked_share"], -egress["blocked"]))[:WORST])


def chart_of(history: run_history.RunHistory, finished: Timeline) -> Chart | None:
    """The chart of these runs and of when jobs became final; None when there is neither."""
    seen = finished.span()
    since = min([run.since for run in history.runs] + ([seen.since] if seen else []), default=None)
    if since is None:
        return None
    until = max([run.until for run in history.runs] + ([seen.until] if seen else []))
    step, start, jobs = finished.columns(since, until, COLUMNS)
    return Chart(
        start,
        step,
        tuple(jobs),
        tuple(Span(run.since, run.until) for run in history.runs),
        tuple(history.closed),
        tuple(history.died_at),
    )
