"""Phrases of a status for people: what limits a run, what it waits for, and when it will be done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from engine.model import WAYS
from engine.output.terminal import printable
from engine.units import duration


def listing_words(value: dict[str, Any]) -> str:
    """How far channels, playlists and searches are listed; nothing when there are none."""
    listed = value["listings"]
    counts = [f"{listed[name]:,} {name}" for name in ("open", "done", "failed") if listed[name]]
    if listed["next_try_s"]:
        counts[0] += f" (next try in {duration(listed['next_try_s'])})"
    return ", ".join([*counts, f"{listed['found']:,} videos found"]) if counts else ""


def missing_rows(value: dict[str, Any]) -> str:
    """What is left after a run that was cut off at its very end; nothing where the counts show it."""
    final = value["ok"] + value["absent"] + value["failed"]
    lacking = final - value["rows"]
    if value["state"] != "stopped" or not final or final < value["total"] or value["listings"]["open"]:
        return ""
    if lacking > 0:
        return f"manifest.jsonl still lacks {lacking:,} row{'s' * (lacking != 1)}: the next run adds them"
    return "cut off at its very end: the next run finishes it"


def limit(value: dict[str, Any]) -> str:
    """What limits the run right now, in words."""
    if value["state"] == "paused":
        return "paused: `engine resume` goes on"
    egresses = [egress for egress in value["egresses"] if egress["state"] != "retired"]
    waits = [egress["open_in_s"] for egress in egresses if egress["open_in_s"]]
    name = value["limited_by"]
    if name in ("blocks", "network"):
        again = (
            f", next try in {duration(min(waits))}"
            if waits and min(waits) >= 1
            else ", trying"
            if waits
            else ""
        )
        return f"waiting: {_closed(egresses, name)}{again}{_cause(egresses)}"
    resting = f"{len(waits):,} of {len(egresses):,} egresses rest" if waits else ""
    words = {"rate": "limited by the rate", "workers": "limited by workers: every thread is busy"}.get(
        name, ""
    )
    rates = [each["rate_per_s"] for each in egresses if each["rate_per_s"] and not each["open_in_s"]]
    if name == "rate" and rates:
        words += f", {sum(rates):.3g}/s" + (f" on {len(rates):,} egresses" if len(rates) > 1 else "")
    if value["state"] == "stalled":
        words = "stalled: no job has become final for minutes; `engine status --json` names the workers"
    return "; ".join(part for part in (words, resting) if part)


def _closed(egresses: Sequence[dict[str, Any]], name: str) -> str:
    """Why nothing can be sent. A lost connection can be the network, a proxy, or the site behind it, so the sentence
    names none of them."""
    if name == "blocks":
        lost = sum(egress["state"] in ("network", "unreachable") for egress in egresses)
        return f"{len(egresses) - lost:,} blocked, {lost:,} without a connection" if lost else "blocked"
    if not egresses:
        return "no network"
    if len(egresses) > 1:
        return f"no connection by any of {len(egresses):,} egresses"
    through = printable(str(egresses[0].get("name")))
    return "no connection to YouTube" if through == "direct" else f"no connection through {through}"


def _cause(egresses: Sequence[dict[str, Any]]) -> str:
    """In brackets, why the connections of most of these egresses fail, as far as it is known."""
    causes = Counter(egress["cause"] for egress in egresses if egress.get("cause"))
    return f" ({printable(causes.most_common(1)[0][0], 200)})" if causes else ""


def wait_words(value: dict[str, Any], now: float) -> str:
    """Until when the deferred jobs wait, and why: `12 wait until 21:40 (server_error)`; nothing when none does."""
    waits, count = value["waits"], value["deferred"]
    if not waits or not count:
        return ""
    form = "%H:%M" if waits["last_s"] >= 120 else "%H:%M:%S"
    first, last = (time.strftime(form, time.localtime(now + waits[name])) for name in ("first_s", "last_s"))
    until = f"until {last}" if first == last else f"until {first} to {last}"
    kinds = waits["kinds"]
    each = [f"{printable(kind)} {n:,}" if len(kinds) > 1 else printable(kind) for kind, n in kinds.items()]
    return f"{count:,} wait{'s' * (count == 1)} {until}" + (f" ({', '.join(each)})" if each else "")


def at(value: dict[str, float], now: float) -> str:
    """When the batch will be done, in local time: `03:12 to 04:02`, with the day when it is not today."""
    found = []
    for seconds in (value["low"], value["high"]):
        if seconds > 300 * 86400:
            return "some day"
        then = time.localtime(now + seconds)
        same_day = then[:3] == time.localtime(now)[:3]
        form = "%H:%M" if same_day else "%a %H:%M" if seconds < 6 * 86400 else "%d %b"
        found.append(time.strftime(form, then))
    first, last = found
    return (
        first
        if first == last
        else f"{first} to {last.removeprefix(first[:4]) if first[3:4] == ' ' else last}"
    )


def eta(value: dict[str, float] | None) -> str:
    """The time left, as a range when it is not certain."""
    if value is None:
        return "unknown"
    low, high = (duration(max(1.0, value[name]) if value["high"] else 0.0) for name in ("low", "high"))
    narrow = value["high"] - value["low"] < 0.1 * value["high"] or value["high"] < 5
    return high if narrow or low == high else f"{low} to {high}"


def kept_words(value: dict[str, Any]) -> str:
    """What to do about jobs that ended `kept`; nothing without any."""
    if not value["kinds"].get("kept"):
        return ""
    return (
        f"kept {value['kinds']['kept']:,}: a file that this queue did not write has the name. The next run with "
        "--replace replaces these, -o NEW in a new queue keeps both"
    )


def served_words(value: dict[str, Any]) -> str:
    """How many videos each way served, if it was not the first for all."""
    ways = value["ways"]
    if list(ways) in ([], [WAYS[0]]):
        return ""
    listed = sorted(ways.items(), key=lambda pair: -pair[1])
    return "served by " + ", ".join(f"{way} {count:,}" for way, count in listed)


def way_words(way: dict[str, Any]) -> str:
    """Which way to ask YouTube is not used for now, and why."""
    by = "" if way["egress"] == "*" else f" by {printable(str(way['egress']))}"
    return f"way {way['name']} is off{by}: {printable(str(way['reason']))}"
