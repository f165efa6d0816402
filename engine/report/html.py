"""The report as one self-contained page: no script, no address that the browser would load by itself.

Titles, messages and names come from the site. The templates escape every value, after `printable` took control
characters and bidi overrides out of it; and the page forbids itself everything but its own style.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jinja2

from engine.output.terminal import printable
from engine.report import text
from engine.report.chart import draw
from engine.report.model import Report, name
from engine.units import duration, size

_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: Report) -> str:
    """The whole page, as HTML 5."""
    return (
        _templates()
        .get_template("page.html")
        .render(
            report=report,
            csp=_CSP,
            title=printable(name(report.queue), 80),
            state=report.status["state"],
            chart=draw(report.chart, now=report.at) if report.chart else None,
            figures=_figures(report),
            facts=_facts(report),
            text=text,
            clock=lambda at: text.clock(at, now=report.at),
            cut=printable,
            is_id=_ID.fullmatch,
        )
    )


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("engine.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _clean(value: Any) -> Any:
    """A value as it may stand in the page; Jinja escapes it after this."""
    return printable(value) if type(value) is str else value


def _figures(report: Report) -> list[tuple[str, str, str]]:
    """(class, number, what it counts) for the boxes at the top."""
    status = report.status
    share = f", {100 * status['ok'] / status['total']:.1f}%" if status["total"] else ""
    price = "" if report.price is None else f", {report.price:,.2f} at {report.price_per_gb:g}/GB"
    boxes = [
        ("ok", f"{status['ok']:,}", f"with a transcript{share}"),
        ("absent", f"{status['absent']:,}", "with none to fetch"),
        ("failed", f"{status['failed']:,}", "failed"),
        ("left", f"{report.left:,}", "left"),
        ("cost", size(report.bytes), f"in {report.requests:,} requests{price}"),
    ]
    return [box for box in boxes if box[0] != "left" or report.left]


def _new_titles(report: Report) -> list[str]:
    """The latest new videos, if there are others as well."""
    if report.new is None or report.new.videos == report.final:
        return []
    return [
        f"{each['title'] or each['video_id']}{' - ' if each['channel'] else ''}{each['channel']}"
        for each in reversed(report.new.examples)
    ]


def _facts(report: Report) -> list[tuple[str, list[str]]]:
    """(name, lines) for the table below; without lines where there is nothing to say."""
    slowest = [
        f"{text.clock(hour.since, now=report.at)}: {hour.per_hour:,.0f} videos an hour"
        + (f", {duration(hour.waiting_s)} of it waiting" if hour.waiting_s >= 1 else "")
        for hour in report.slowest
    ]
    facts = [
        ("New", [text.new(report), *_new_titles(report)]),
        ("Channels, playlists, searches", [text.sources(report)]),
        ("Cost", [text.cost(report)]),
        ("Slowest hours", slowest),
        ("Most refused egresses", [text.refused(egress) for egress in report.worst]),
        ("Deaths", [text.deaths(report)]),
        ("Damage", [text.damaged(report)]),
    ]
    return [(title, [line for line in lines if line]) for title, lines in facts]
