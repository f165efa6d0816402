"""What `engine report` says to type next, as buttons and links of the page."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from engine.model import Kind
from engine.monitor.batch_status import BatchStatus
from engine.queue.manifest_row import ManifestRow
from engine.report import next_commands
from engine.storage.timestamps import seconds
from engine.units import parse_duration_s

_RETRY = re.compile(r"engine retry --kind ([a-z_,]+)(?: --older-than (\w+))?")


@dataclass(frozen=True, slots=True)
class NextStep:
    """A thing to do next: `action` for a button (empty: only the line is shown), `href` for a link.

    `not_before` says from which day on there is something to do; empty: now.
    """

    line: str
    why: str
    label: str = ""
    action: str = ""
    kinds: str = ""
    older_than: str = ""
    href: str = ""
    not_before: str = ""


_TABLE = NextStep("", "all videos and their texts in one table", "Get the table", href="/download/table.csv")
_TEXTS = NextStep("", "a readable text for each transcript", "Get the texts", href="/download/texts.zip")


def following(
    root: str,
    status: BatchStatus,
    *,
    rehearsal: bool,
    startable: bool,
    oldest: Callable[[str], ManifestRow | None],
) -> list[NextStep]:
    """The steps for this status; what came of the batch first, once it is finished.

    What a live run needs has its own buttons, and is left out. `startable`: whether this page can start runs here;
    `oldest` finds the row of a kind that has been final longest.
    """
    if status.state == "empty":
        return []
    lines = next_commands.following(root, status.to_json(), rehearsal=rehearsal, damaged=False)
    steps = [_dated(step, oldest) for step in _steps(lines, startable=startable)]
    if kept := status.kinds.get(Kind.KEPT, 0):
        steps.insert(0 if status.state == "finished" else 1, _replacing(kept, startable=startable))
    results = [_TABLE, _TEXTS] if status.ok else []
    return [*results, *steps] if status.state == "finished" else [*steps, *results]


def _steps(lines: Iterator[next_commands.NextCommand], *, startable: bool) -> Iterator[NextStep]:
    for each in lines:
        verb = each.line.split()[1]
        if verb in ("status", "stop"):
            continue
        if verb == "failures":
            yield NextStep(each.line, each.why, "Show them", href="/?status=failed#rows")
        elif verb == "verify":
            yield NextStep(each.line, each.why, "Verify", "verify")
        elif not startable:
            yield NextStep(each.line, each.why)
        elif verb in ("run", "rehearse"):
            yield NextStep(each.line, each.why, "Go on", "start")
        elif found := _RETRY.match(each.line):
            old = found[2] or ""
            label = "Try the old ones" if old else "Try again"
            yield NextStep(each.line, each.why, label, "retry", found[1], old)
        else:
            yield NextStep(each.line, each.why)


def _replacing(kept: int, *, startable: bool) -> NextStep:
    why = (
        f"{kept:,} {'was' if kept == 1 else 'were'} not written: the folder has a file of that name from another "
        "batch. This fetches and replaces it; a new batch can have a folder of its own"
    )
    line = "engine retry --kind kept, then go on with --replace"
    return NextStep(line, why, "Fetch and replace", "replace" if startable else "", Kind.KEPT)


def _dated(step: NextStep, oldest: Callable[[str], ManifestRow | None]) -> NextStep:
    """A step for what is old enough, with the day from which on something is."""
    row = oldest(step.kinds) if step.older_than else None
    finished = seconds(row.finished_at) if row else None
    if finished is None:
        return step
    at = finished + parse_duration_s(step.older_than, "older than")
    day = datetime.fromtimestamp(at).astimezone().strftime("%d %b %Y").lstrip("0")
    return replace(step, not_before=day if at > time.time() else "", why="captions may have come by then")
