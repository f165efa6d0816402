"""How a status looks in a terminal."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.render.terminal import printable

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


def show(value: dict[str, Any], root: str) -> None:
    """Print a status as a table on stdout."""
    Console(file=sys.stdout, highlight=False).print(panel(value, root))


def panel(value: dict[str, Any], root: str) -> Panel:
    """A status as one framed block, for any width from 40 columns on."""
    parts: list[Any] = [_bar(value), _counts(value)]
    if value["kinds"]:
        parts.append(_kinds(value))
    parts.append(_pace(value))
    if value["egresses"]:
        parts.append(_egresses(value["egresses"]))
    state = value["state"]
    title = Text.assemble((printable(root), "bold"), "  ", (state, STATE_STYLE.get(state, "")))
    return Panel(Group(*parts), title=title, title_align="left", border_style="dim", expand=False)


def _bar(value: dict[str, Any]) -> Table:
    final = value["ok"] + value["absent"] + value["failed"]
    row = Table.grid(padding=(0, 1))
    share = 100.0 * final / value["total"] if value["total"] else 0.0
    row.add_row(
        ProgressBar(total=max(1, value["total"]), completed=final, width=30),
        f"{final:,} of {value['total']:,} final ({share:.1f} %)",
    )
    return row


def _counts(value: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    names = (
        ("ok", "green"),
        ("absent", "cyan"),
        ("failed", "red"),
        ("deferred", "yellow"),
        ("in_flight", ""),
        ("pending", ""),
    )
    for name, style in names:
        table.add_column(name.replace("_", " "), justify="right", header_style="dim", style=style)
    table.add_row(*(f"{value[name]:,}" for name, _ in names))
    return table


def _kinds(value: dict[str, Any]) -> Text:
    listed = sorted(value["kinds"].items(), key=lambda its: -its[1])
    return Text("why not: " + ", ".join(f"{kind} {count:,}" for kind, count in listed), style="dim")


def _pace(value: dict[str, Any]) -> Text:
    rates = value["rate_per_s"]
    parts = [f"{value['requests']:,} requests, {size(value['bytes'])}"]
    if value["state"] in ("running", "stalled"):
        parts.append(f"{rates['1m']:.2f}/s over 1 min, {rates['15m']:.2f}/s over 15")
        parts.append(f"left: {eta(value['eta_s'])}")
        parts.append(f"limited by {value['limited_by']}")
    return Text("; ".join(parts))


def _egresses(egresses: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("egress", "state", "rate", "opens in", "ok", "blocked", "requests", "bytes"):
        table.add_column(name, justify="left" if name in ("egress", "state") else "right", header_style="dim")
    for its in egresses[:_EGRESSES_SHOWN]:
        table.add_row(
            Text(printable(its["name"])),  # no markup: [fe80::1] is an address
            its["state"],
            "none" if its["rate_per_s"] is None else f"{its['rate_per_s']:.3g}/s",
            duration(its["open_in_s"]) if its["open_in_s"] else "",
            f"{its['ok']:,}",
            f"{its['blocked']:,}",
            f"{its['requests']:,}",
            size(its["bytes"]),
        )
    if len(egresses) > _EGRESSES_SHOWN:
        table.add_row(f"and {len(egresses) - _EGRESSES_SHOWN} more", *[""] * 7)
    return table


def eta(value: dict[str, float] | None) -> str:
    """The time left, as a range when it is not certain."""
    if value is None:
        return "unknown"
    low, high = value["low"], value["high"]
    return duration(high) if high - low < 0.1 * high or high < 5 else f"{duration(low)} to {duration(high)}"


def duration(seconds: float) -> str:
    """Seconds as people say them: `42 s`, `7 min`, `22 h 13 min`, `4 d 2 h`."""
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(n: int) -> str:
    """Bytes as people say them."""
    value, unit = float(n), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
