"""The report as one self-contained page: no script, no address that the browser would load by itself.

Titles, messages and names come from the site: each goes through `_text`, and the page forbids itself everything
but its own style (Content-Security-Policy).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from engine.output.terminal import printable
from engine.report import text as words
from engine.report.chart import chart
from engine.report.model import KindOfEnd, Report, name
from engine.report.style import STYLE
from engine.units import duration, size

_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(its: Report) -> str:
    """The whole page, as HTML 5."""
    return "\n".join(_page(its)) + "\n"


def _text(text: object, width: int | None = None) -> str:
    """Foreign text: without control characters and bidi overrides, escaped for elements and attributes."""
    return html.escape(printable(str(text), width))


def _page(its: Report) -> Iterator[str]:
    title = f"{_text(name(its.queue), 80)}: {_text(its.status['state'])}"
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_CSP)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{title}</title>"
    yield f"<style>{STYLE}</style></head>"
    yield "<body><main>"
    yield from _head(its)
    yield from _figures(its)
    if its.chart is not None:
        yield from chart(its.chart, now=its.at)
    yield from _next(its)
    yield from _kinds(its)
    yield from _facts(its)
    yield "</main></body></html>"


def _head(its: Report) -> Iterator[str]:
    rehearsal = ' <span class="state">rehearsal</span>' if its.rehearsal else ""
    state = _text(its.status["state"])
    yield f'<header><h1>{_text(name(its.queue), 80)} <span class="state {state}">{state}</span>{rehearsal}</h1>'
    yield (
        f"<p>{_text(words.times(its))}. Written {words.clock(its.at, now=its.at)}; times are "
        f"{_text(words.zone(its.at))}.</p></header>"
    )


def _figures(its: Report) -> Iterator[str]:
    status = its.status
    share = f", {100 * status['ok'] / status['total']:.1f}&nbsp;%" if status["total"] else ""
    boxes = [
        ("ok", f"{status['ok']:,}", f"with a transcript{share}"),
        ("absent", f"{status['absent']:,}", "with none to fetch"),
        ("failed", f"{status['failed']:,}", "failed"),
    ]
    if its.left:
        boxes.append(("left", f"{its.left:,}", "left"))
    price = "" if its.price is None else f", {its.price:,.2f} at {its.price_per_gb:g}/GB"
    boxes.append(("cost", size(its.bytes), f"in {its.requests:,} requests{price}"))
    yield '<section class="figures" aria-label="Summary">'
    for sort, number, about in boxes:
        yield f'<div class="{sort if number != "0" else "none"}"><b>{number}</b><span>{about}</span></div>'
    yield "</section>"


def _next(its: Report) -> Iterator[str]:
    if not its.following:
        return
    yield "<section><h2>What to type next</h2><dl class=next>"
    for command in its.following:
        yield f"<div><dt><code>{_text(command.line)}</code></dt><dd>{_text(command.why)}</dd></div>"
    yield "</dl></section>"


def _kinds(its: Report) -> Iterator[str]:
    if not its.kinds:
        return
    yield "<section><h2>Without a transcript</h2>"
    for kind in its.kinds:
        yield (
            f'<details class="{kind.status}"><summary><b>{kind.jobs:,}</b> <span class=kind>{_text(kind.kind)}'
            f"</span> <span class=means>{_text(kind.means)}</span></summary>"
            f"<p>{_text(kind.advice[:1].upper() + kind.advice[1:])}.</p>"
        )
        yield from _examples(kind)
        yield "</details>"
    yield "</section>"


def _examples(kind: KindOfEnd) -> Iterator[str]:
    if not kind.examples:
        return
    yield "<ul>"
    for its in kind.examples:
        video = its["video_id"]
        label = _text(its["title"], 100) or _text(video)
        if _ID.fullmatch(video):
            label = f'<a rel="noreferrer" href="https://www.youtube.com/watch?v={video}">{label}</a>'
        yield f"<li><bdi>{label}</bdi> <small><bdi>{_text(its['message'], 200)}</bdi></small></li>"
    yield "</ul>"


def _facts(its: Report) -> Iterator[str]:
    each = [
        ("Channels, playlists, searches", [words.sources(its)]),
        ("Cost", [words.cost(its)]),
        (
            "Slowest hours",
            [
                f"{words.clock(hour.since, now=its.at)}: {hour.per_hour:,.0f} videos an hour"
                + (f", {duration(hour.waiting_s)} of it waiting" if hour.waiting_s >= 1 else "")
                for hour in its.slowest
            ],
        ),
        ("Most refused egresses", [words.refused(egress) for egress in its.worst]),
        ("Deaths", [words.deaths(its)]),
        ("Damage", [words.damaged(its)]),
    ]
    yield "<section><h2>The night</h2><dl class=facts>"
    for title, lines in each:
        yield from _fact(title, filter(None, lines))
    yield "</dl>"
    if its.notable:
        head = "<tr><th>what happened<th class=n>times<th>first<th>last<th>it said</tr>"
        yield f"<div class=wide><table><thead>{head}</thead>"
        for event in its.notable:
            when = (words.clock(at, now=its.at) for at in (event.first, event.last))
            yield (
                f"<tr><td>{_text(words.happened(event))}<td class=n>{event.count:,}<td>{'<td>'.join(when)}"
                f"<td><bdi>{_text(words.said(event))}</bdi></tr>"
            )
        yield "</table></div>"
    yield "</section>"


def _fact(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = "".join(f"<p>{_text(line)}</p>" for line in lines)
    if found:
        yield f"<div><dt>{title}</dt><dd>{found}</dd></div>"
