"""What `engine report` says to type next, as buttons and links of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.monitor.batch_status import BatchStatus
from engine.report import next_commands

_RETRY = re.compile(r"engine retry --kind ([a-z_,]+)(?: --older-than (\w+))?")


@dataclass(frozen=True, slots=True)
class NextStep:
    """A thing to do next: `action` for a button (empty: only the line is shown), `href` for a link."""

    line: str
    why: str
    label: str = ""
    action: str = ""
    kinds: str = ""
    older_than: str = ""
    href: str = ""


def following(root: str, status: BatchStatus, *, rehearsal: bool) -> list[NextStep]:
    """The steps for this status. What a live run needs has its own buttons, and is left out."""
    if status.state == "empty":
        return []
    lines = next_commands.following(root, status.to_json(), rehearsal=rehearsal, damaged=False)
    return list(_steps(lines, rehearsal=rehearsal))


def _steps(lines: Iterator[next_commands.NextCommand], *, rehearsal: bool) -> Iterator[NextStep]:
    for each in lines:
        verb = each.line.split()[1]
        if verb in ("status", "stop"):
            continue
        if verb == "failures":
            yield NextStep(each.line, each.why, "Show them", href="/?status=failed#rows")
        elif verb == "verify":
            yield NextStep(each.line, each.why, "Verify", "verify")
        elif rehearsal:  # the page starts real runs only
            yield NextStep(each.line, each.why)
        elif verb == "run":
            yield NextStep(each.line, each.why, "Go on", "start")
        elif found := _RETRY.match(each.line):
            yield NextStep(
                each.line,
                each.why,
                "Try the old ones" if found[2] else "Try again",
                "retry",
                found[1],
                found[2] or "",
            )
        else:
            yield NextStep(each.line, each.why)
