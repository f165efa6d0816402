"""The reports of a probe as tables for a terminal, and what they mean for a run, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.model import Kind
from engine.output.terminal import printable
from engine.units import size
from engine.youtube.probe import EgressReport, WayReport, WayResult

HEADS = ("way", "answer", "captions", "bytes", "time", "result")
MANY = 8  # egresses
_WORDS = {
    WayResult.WORKS: "works",
    WayResult.NO_CAPTIONS: "shows no captions",
    WayResult.REFUSED: "does not work",
    WayResult.BLOCKED: "blocked",
    WayResult.UNREACHABLE: "no answer",
    WayResult.NOT_ASKED: "not asked",
}
_STYLES = {WayResult.WORKS: "green", WayResult.NOT_ASKED: "dim"}


def show(reports: Sequence[EgressReport], *, width: int, colour: bool) -> str:
    """A table for each egress, or one of them all where they are many, as text."""
    from rich.console import Console

    console = Console(width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False)
    with console.capture() as captured:
        if len(reports) > MANY:
            console.print(_overview(reports))
        for number, report in enumerate(reports if len(reports) <= MANY else ()):
            if number:
                console.print()
            console.print(_head(report))
            console.print(_table(report))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def conclusion(reports: Sequence[EgressReport], ways: Sequence[str]) -> Iterator[str]:
    """What a run by these egresses will do, one sentence a line."""
    working = [report for report in reports if report.working]
    if not working:
        yield from _nothing_works(reports)
        return
    if len(reports) > 1:
        yield f"{len(working)} of {len(reports)} egresses {'works' if len(working) == 1 else 'work'}."
    for way in ways:
        n = sum(way in report.working for report in reports)
        if 0 < n < len(working):
            yield f"{way} works by {n} of them."
    used = [way for way in ways if any(way in report.working for report in reports)]
    out = [way for way in ways if way not in used]
    yield f"A run fetches by {used[0]}" + (
        f"; where that does not serve a video, by {_listed(used[1:])}." if len(used) > 1 else "."
    )
    if out:
        yield f"It will find that {_listed(out)} {'does' if len(out) == 1 else 'do'} not work, and go on without."
    if len(used) == 1 and out:
        yield "Only one way is left: `pip install -U yt-dlp` may bring the others back."


def _nothing_works(reports: Sequence[EgressReport]) -> Iterator[str]:
    results = {way.result for report in reports for way in report.ways} - {WayResult.NOT_ASKED}
    if not results:
        yield "Nothing was asked: the queue's budget lets no request through now. Try again when it does."
    elif results == {WayResult.UNREACHABLE}:
        proxied = any(report.proxied for report in reports)
        yield (
            "No proxy can be used. `engine proxies check` says more of each."
            if proxied
            else "YouTube cannot be reached from here: look at the network, or give --proxy."
        )
    elif WayResult.BLOCKED in results and results <= {
        WayResult.BLOCKED,
        WayResult.UNREACHABLE,
        WayResult.REFUSED,
    }:
        yield "YouTube refuses these addresses for now. A run would wait and try again, or end with --on-block stop."
        yield "Data-centre addresses are refused for good, as a rule: use --proxies with residential ones."
    elif results <= {WayResult.NO_CAPTIONS, WayResult.UNREACHABLE, WayResult.BLOCKED}:
        yield "YouTube plays videos here and shows no captions: that is a block which does not say so."
        yield "If the control video has none, name another: --control-video ID."
    else:
        yield "No way works. Every client may have become too old: `pip install -U yt-dlp`, then probe again."
        yield "If that changes nothing, report it with what `engine probe --json` prints."


def answer_words(way: WayReport) -> str:
    """What the way answered for the control video."""
    shown = way.shown
    if shown is None:
        return way.reason or "-"
    if shown.failure is None:
        return "plays, shows captions"
    if shown.failure.kind is Kind.NO_CAPTIONS:
        return "plays, shows none"
    return shown.failure.message.partition(";")[0]  # advice is for the conclusion


def _head(report: EgressReport) -> str:
    cost = report.cost
    requests = f"{cost.requests} request{'s' * (cost.requests != 1)}"
    return f"{printable(report.name)}   {requests}, {size(cost.bytes)}"


def _table(report: EgressReport) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in HEADS:
        ratio = head in ("answer", "result")
        table.add_column(
            head, justify="right" if head in ("bytes", "time") else "left", no_wrap=not ratio, overflow="fold"
        )
    for way in report.ways:
        shown = way.shown
        result = Text(_result_words(way), style=_STYLES.get(way.result, "yellow"))
        table.add_row(
            way.way,
            printable(answer_words(way), 200),
            _captions(way),
            size(way.cost.bytes) if way.answers else "-",
            f"{shown.elapsed_s:.1f} s" if shown else "-",
            result,
        )
    return table


def _overview(reports: Sequence[EgressReport]) -> object:
    """One line an egress: what each way is good for."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in ("egress", *(way.way for way in reports[0].ways), "bytes"):
        table.add_column(head, justify="right" if head == "bytes" else "left", overflow="fold")
    for report in reports:
        cells = [Text(_WORDS[way.result], style=_STYLES.get(way.result, "yellow")) for way in report.ways]
        table.add_row(printable(report.name), *cells, size(report.cost.bytes))
    return table


def _captions(way: WayReport) -> str:
    shown = way.shown
    if shown is None or shown.language is None:
        return "-"
    return f"{printable(shown.language, 12)} {'generated' if shown.is_generated else 'by people'}"


def _result_words(way: WayReport) -> str:
    words = [_WORDS[way.result], *(printable(lack, 160) for lack in way.lacks)]
    if way.reason and way.shown is not None:
        words.append(f"not asked further: {way.reason}")
    return "; ".join(words)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
