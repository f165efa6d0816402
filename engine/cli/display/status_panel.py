"""How a status looks in a terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.cli.display.phrases import (
    at,
    eta,
    kept_words,
    limit,
    listing_words,
    missing_rows,
    served_words,
    wait_words,
    way_words,
)
from engine.output.terminal import printable
from engine.units import duration, size

STATE_STYLE = {
    "running": "green",
    "finished": "bold green",
    "stalled": "bold red",
    "halted": "bold red",
    "stopped": "yellow",
    "paused": "yellow",
    "empty": "dim",
}
_EGRESSES_SHOWN = 12
_LEAST_EGRESSES = 3
_WIDEST = 110
_EGRESS_COLUMNS = ("egress", "state", "rate", "opens in", "ok", "blocked", "requests", "bytes")
_LEAST_NAME = 12  # columns of an egress's name
NARROW = 60  # columns


def show(value: dict[str, Any], root: str) -> None:
    """Print a status as a table on stdout."""
    console = Console(file=sys.stdout, highlight=False)
    console.print(panel(value, root, narrow=console.width < NARROW))


def panel(
    value: dict[str, Any],
    root: str,
    latest: Sequence[dict[str, Any]] = (),
    *,
    width: int | None = None,
    height: int | None = None,
    now: float | None = None,
    narrow: bool = False,
) -> Panel:
    """A status as one framed block, for any width from 40 columns on.

    `latest` are rows that are not `ok`, the newest last. Give `width` and `height` of the terminal for a live view:
    the frame keeps that width and shows as many egresses as there is room for. With `now` (seconds since 1970) it
    says when the batch will be done. `narrow` leaves columns out.
    """
    frame = min(width, _WIDEST) if width else None
    narrow = narrow or bool(frame and frame < NARROW)
    parts: list[Any] = [_bar(value, max(10, frame - 45) if frame else 30), _counts(value, narrow)]
    if value["kinds"]:
        parts.append(_kinds(value))
    listed = listing_words(value)
    waits = wait_words(value, time.time() if now is None else now)
    if listed:
        parts.append(Text(f"listings: {listed}"))
    if waits:
        parts.append(Text(waits, style="yellow"))
    if words := kept_words(value):
        parts.append(Text(words, style="yellow"))
    if served := served_words(value):
        parts.append(Text(served, style="dim"))
    for way in value["ways_off"]:
        parts.append(Text(way_words(way), style="yellow"))
    if words := missing_rows(value):
        parts.append(Text(words, style="yellow"))
    parts += _pace(value, now)
    room = _EGRESSES_SHOWN
    if height is not None:
        room = min(room, max(_LEAST_EGRESSES, height - 12 - len(latest) - bool(listed) - bool(waits)))
    if value["egresses"]:
        parts.append(_egresses(value["egresses"], room, narrow, frame))
    if latest:
        parts.append(_latest(latest, narrow))
    state = value["state"]
    # A title that is too long would make the frame wider than it may be.
    name = printable(root, max(8, frame - len(state) - 8) if frame else None)
    title = Text.assemble((name, "bold"), "  ", (state, STATE_STYLE.get(state, "")))
    return Panel(
        Group(*parts), title=title, title_align="left", border_style="dim", expand=False, width=frame
    )


def _bar(value: dict[str, Any], width: int) -> Table:
    final = value["ok"] + value["absent"] + value["failed"]
    row = Table.grid(padding=(0, 1))
    total, listing = value["total"], value["listings"]["open"]
    # Rounded down: 100 % means that no job is left and none can come from a channel that is still being listed.
    share = f"{1000 * final // total / 10:.1f} %" if total else "0.0 %"
    row.add_row(
        ProgressBar(total=max(1, total + bool(listing)), completed=final, width=width),
        f"{final:,} final, {total:,} found so far" if listing else f"{final:,} of {total:,} final ({share})",
    )
    return row


def _counts(value: dict[str, Any], narrow: bool) -> Table | Text:
    if narrow:
        names = ("ok", "absent", "failed", "deferred", "in_flight", "pending")
        return Text(", ".join(f"{name.replace('_', ' ')} {value[name]:,}" for name in names))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    styled = (
        ("ok", "green"),
        ("absent", "cyan"),
        ("failed", "red"),
        ("deferred", "yellow"),
        ("in_flight", ""),
        ("pending", ""),
    )
    for name, style in styled:
        table.add_column(name.replace("_", " "), justify="right", header_style="dim", style=style)
    table.add_row(*(f"{value[name]:,}" for name, _ in styled))
    return table


def _kinds(value: dict[str, Any]) -> Text:
    listed = sorted(value["kinds"].items(), key=lambda pair: -pair[1])
    return Text(
        "why not: " + ", ".join(f"{printable(kind)} {count:,}" for kind, count in listed), style="dim"
    )


def _pace(value: dict[str, Any], now: float | None) -> list[Text]:
    rates = value["rate_per_s"]
    spent = f"{value['requests']:,} requests, {size(value['bytes'])}"
    if value["state"] not in ("running", "stalled", "paused"):
        return [Text(spent)]
    fast = f"{rates['1m']:.2f}/s over 1 min, {rates['15m']:.2f}/s over 15 min; {spent}"
    left = f"left: {eta(value['eta_s'])}"
    if now is not None and value["eta_s"] and value["eta_s"]["high"]:
        left += f", done {at(value['eta_s'], now)}"
    why = limit(value)
    return [Text(fast), Text(left), *([Text(why, style="bold")] if why else [])]


def _latest(rows: Sequence[dict[str, Any]], narrow: bool) -> Table:
    """The last jobs that were not ok, a line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name, least in (("last not ok", 11), ("", 4 if narrow else 14), ("", 1)):
        table.add_column(name, header_style="dim", no_wrap=True, overflow="ellipsis", min_width=least)
    for row in rows:
        style = "red" if row.get("status") == "failed" else "cyan"
        kind, message = printable(str(row.get("kind")), 14), printable(str(row.get("message") or ""), 200)
        table.add_row(Text(printable(str(row.get("video_id")), 11)), Text(kind, style=style), Text(message))
    return table


def _egresses(egresses: list[dict[str, Any]], room: int, narrow: bool, frame: int | None) -> Table | Group:
    """As many egresses as there is room for, those in trouble first, and how many are in which state where that is
    not all. In a frame names are cut and not wrapped."""
    counts = Counter(egress["state"] for egress in egresses)
    if len(egresses) > room:
        egresses = sorted(egresses, key=worst_first)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    rows = [_egress_cells(egress) for egress in egresses[:room]]
    count, names_wide = (len(_EGRESS_COLUMNS), None) if frame is None else _fitting(rows, frame - 4)
    shown = _EGRESS_COLUMNS[: min(count, 4) if narrow else count]
    for name in shown:
        table.add_column(
            name,
            justify="left" if name in ("egress", "state") else "right",
            header_style="dim",
            no_wrap=frame is not None,
            overflow="ellipsis",
            max_width=names_wide if name == "egress" else None,
        )
    for cells in rows:
        table.add_row(*map(Text, cells[: len(shown)]))  # no markup: [fe80::1] is an address
    if len(egresses) > room:
        states = ", ".join(f"{state} {count:,}" for state, count in counts.most_common())
        rest = f"and {len(egresses) - room:,} more; of all {len(egresses):,}: {states}"
        return Group(table, Text(rest, no_wrap=frame is not None, overflow="ellipsis"))
    return table


def _egress_cells(egress: dict[str, Any]) -> tuple[str, ...]:
    return (
        printable(egress["name"]),
        egress["state"],
        "none" if egress["rate_per_s"] is None else f"{egress['rate_per_s']:.3g}/s",
        duration(egress["open_in_s"]) if egress["open_in_s"] else "",
        f"{egress['ok']:,}",
        f"{egress['blocked']:,}",
        f"{egress['requests']:,}",
        size(egress["bytes"]),
    )


def _fitting(rows: Sequence[tuple[str, ...]], width: int) -> tuple[int, int]:
    """How many columns fit into this width with nothing but the name cut, and how wide that may be."""
    left = width - _LEAST_NAME
    for number, name in enumerate(_EGRESS_COLUMNS[1:], 1):
        wide = 2 + max(len(name), *(len(cells[number]) for cells in rows))
        if wide > left:
            return number, _LEAST_NAME + left
        left -= wide
    return len(_EGRESS_COLUMNS), _LEAST_NAME + left


def worst_first(egress: dict[str, Any]) -> tuple[bool, bool, float]:
    """To sort egresses by: those that are closed for longest first, then those that were refused most."""
    refused = egress["blocked"] / max(egress["requests"], 1)
    return egress["state"] == "ok", egress["state"] == "probing", -(egress["open_in_s"] or refused)
