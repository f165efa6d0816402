"""The report as text for a terminal. Nothing foreign in it can steer one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from engine.model import WAYS
from engine.output.terminal import columns, printable
from engine.report.kind_help import EVENTS
from engine.report.manifest_summary import NewVideos
from engine.report.model import Report
from engine.report.run_history import Notable
from engine.units import duration, size

LABEL = 10
MOST_EVENTS = 8
MOST_SOURCES = 5
_CLOSED = ("blocked", "refused by YouTube on every egress"), ("offline", "without a connection")


def clock(at: float, *, now: float, fine: bool = False) -> str:
    """A moment in this machine's time zone: the time (`fine`: to the second), and the day when it is not today."""
    local, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    text = local.strftime("%H:%M:%S" if fine else "%H:%M")
    if local.date() != today.date():
        text = local.strftime("%d %b ") + text
    return text if local.year == today.year else local.strftime("%Y ") + text


def zone(now: float) -> str:
    """The name of the zone that the times are in."""
    return datetime.fromtimestamp(now).astimezone().tzname() or "local time"


def words(report: Report, width: int = 80) -> Iterator[str]:
    """The lines, at most `width` columns wide but for commands, which stay whole."""
    yield from _Writer(report, max(60, width)).lines()


class _Writer:
    def __init__(self, report: Report, width: int) -> None:
        self.report, self.width = report, width

    def lines(self) -> Iterator[str]:
        report = self.report
        rehearsal = ", a rehearsal" if report.rehearsal else ""
        yield from self.said(
            report.status["state"],
            f"{printable(report.queue)}{rehearsal}, {self.at(report.at)} (times are {zone(report.at)})",
        )
        yield from self.said("videos", summary(report))
        yield from self.said("new", new(report))
        yield from self.said("sources", sources(report))
        yield from self.kinds()
        yield from self.said("cost", cost(report))
        yield from self.said("ways", ways(report))
        yield from self.said("time", times(report))
        for number, hour in enumerate(report.slowest):
            waited = f", {duration(hour.waiting_s)} of it waiting" if hour.waiting_s >= 1 else ""
            yield from self.said(
                "" if number else "slowest",
                f"{self.at(hour.since)}  {hour.per_hour:,.0f} videos an hour{waited}",
            )
        for number, egress in enumerate(report.worst):
            yield from self.said("" if number else "egresses", refused(egress))
        yield from self.said("deaths", deaths(report))
        for number, event in enumerate(report.notable[:MOST_EVENTS]):
            yield from self.said("" if number else "events", self.event(event))
        more = len(report.notable) - MOST_EVENTS
        if more > 0:
            yield from self.said("", f"and {more} more sorts of event: events.jsonl has them all")
        yield from self.said("damaged", damaged(report))
        if report.following:
            yield ""
            yield "next"
        for command in report.following:
            yield f"  {command.line}"
            yield from textwrap.wrap(
                command.why, self.width, initial_indent="      ", subsequent_indent="      "
            )

    def kinds(self) -> Iterator[str]:
        width = max((len(kind.kind) for kind in self.report.kinds), default=0)
        digits = max((len(f"{kind.jobs:,}") for kind in self.report.kinds), default=0)
        status = ""
        for kind in self.report.kinds:
            label, status = "" if kind.status == status else kind.status, kind.status
            start = f"{kind.jobs:>{digits},}  {kind.kind:<{width}}  "
            yield from self.said(label, f"{start}{kind.means}; {kind.advice}", indent=len(start))

    def event(self, event: Notable) -> str:
        often = f", {event.count:,} times until {self.at(event.last)}" if event.count > 1 else ""
        reason = said(event)
        return f"{self.at(event.first)}  {happened(event)}{often}{': ' + reason if reason else ''}"

    def at(self, at: float) -> str:
        return clock(at, now=self.report.at)

    def said(self, label: str, text: str, *, indent: int = 0) -> Iterator[str]:
        """A labelled paragraph; nothing when there is no text."""
        if not text:
            return
        room = self.width - LABEL
        # Wide characters take two columns; then fewer of them fit.
        room -= columns(text) - len(text) if columns(text) > len(text) else 0
        wrapped = textwrap.wrap(text, max(20, room), subsequent_indent=" " * indent, drop_whitespace=True)
        for number, line in enumerate(wrapped):
            yield f"{'' if number else label:<{LABEL}}{line}"


def happened(event: Notable) -> str:
    """What an event was, in words."""
    return EVENTS.get(event.event) or printable(event.event)


def said(event: Notable) -> str:
    """Its reason, the last time it happened."""
    return printable(event.reason.strip("{}"), 200)


def summary(report: Report) -> str:
    """How many videos became what."""
    status = report.status
    share = f" ({100 * status['ok'] / status['total']:.1f} %)" if status["total"] else ""
    left = f", {report.left:,} left" if report.left else ""
    return (
        f"{status['total']:,}: {status['ok']:,} with a transcript{share}, {status['absent']:,} without one to "
        f"fetch, {status['failed']:,} failed{left}"
    )


def new(report: Report) -> str:
    """What the last run brought, if there was something before it; nothing else."""
    found = report.new
    if found is None or found.videos == report.final:
        return ""
    text = f"since the last run began, {clock(found.since, now=report.at)}: {found.videos:,}"
    if not found.videos:
        return text
    text += (
        f", {found.ok:,} with a transcript, {found.absent:,} without one to fetch, {found.failed:,} failed"
    )
    named = from_sources(found)
    return f"{text}; from {named}" if named else text


def from_sources(found: NewVideos) -> str:
    """How many new videos the sources brought, those with most first: `@TED 3, @veritasium 2, 38 more`."""
    most = sorted(found.sources.items(), key=lambda pair: -pair[1])[:MOST_SOURCES]
    more = f", {len(found.sources) - len(most):,} more" if len(found.sources) > len(most) else ""
    return ", ".join(f"{printable(source, 40)} {count:,}" for source, count in most) + more


def sources(report: Report) -> str:
    """How far channels, playlists and searches are listed; nothing when there are none."""
    listed = report.status.get("listings") or {}
    named = (("done", "listed"), ("failed", "that could not be listed"), ("open", "still to list"))
    counts = [f"{listed[name]:,} {what}" for name, what in named if listed.get(name)]
    return ", ".join([*counts, f"{listed['found']:,} videos found"]) if counts else ""


def cost(report: Report) -> str:
    """What was spent, all in all and for 1,000 videos."""
    requests, n_bytes, price = report.requests, report.bytes, report.price
    text = f"{requests:,} requests, {size(n_bytes)}"
    text += "" if price is None else f", {price:,.2f} at {report.price_per_gb:g}/GB"
    each = report.per_thousand(requests), report.per_thousand(n_bytes)
    if each[0] is None or each[1] is None:
        return text
    text += f"; for 1,000 videos {each[0]:,.0f} requests, {size(round(each[1]))}"
    return text if price is None else f"{text}, {report.per_thousand(price):,.2f}"


def times(report: Report) -> str:
    """When it was, and what became of the time."""
    when = report.times
    if when.started is None or when.ended is None:
        return "no run so far"
    span = f"{clock(when.started, now=report.at)} to {clock(when.ended, now=report.at)}"
    if not when.runs:
        return f"{span}; events.jsonl tells of no run"
    parts = [f"worked {duration(when.working_s)}"]
    for name, what in _CLOSED:
        waited = getattr(when, f"{name}_s")
        if waited >= 0.5:
            parts.append(f"{duration(waited)} {what}")
    if when.between_s >= 1:
        parts.append(f"{duration(when.between_s)} between runs")
    runs = f"{when.runs:,} run{'' if when.runs == 1 else 's'}"
    return f"{span}, {runs}: {', '.join(parts)}"


def ways(report: Report) -> str:
    """How many videos each way served, if it was not the first for all."""
    served = sorted(report.ways.items(), key=lambda pair: -pair[1])
    if [name for name, _ in served] in ([], [WAYS[0]]):
        return ""
    return "videos served by " + ", ".join(f"{name} {count:,}" for name, count in served)


def refused(egress: dict[str, Any]) -> str:
    """How often an egress was refused."""
    state = "" if egress["state"] == "ok" else f", now {egress['state']}"
    share = 100 * egress["blocked_share"]
    return (
        f"{printable(str(egress['name']))}: {share:.3g} % of {egress['requests']:,} requests refused{state}"
    )


def deaths(report: Report) -> str:
    """What died and was replaced; nothing when nothing did."""
    workers = sum(report.deaths.values())
    parts = []
    if workers:
        how = ", ".join(
            f"{printable(why.strip('{}'), 60) or 'unknown'} {n:,}" for why, n in report.deaths.items()
        )
        parts.append(f"{workers:,} worker process{'' if workers == 1 else 'es'} died and came back ({how})")
    if report.monitor_deaths:
        parts.append(f"the monitor {report.monitor_deaths:,} time{'' if report.monitor_deaths == 1 else 's'}")
    return "; ".join(parts)


def damaged(report: Report) -> str:
    """Which files hold lines that could not be read; nothing when none does."""
    found = ", ".join(f"{count:,} in {name}" for name, count in report.bad_lines.items() if count)
    return f"lines that could not be read: {found}" if found else ""
