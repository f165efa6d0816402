"""The commands to type next, as a shell takes them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.report.kind_help import MEANINGS
from engine.report.unfetched import Unfetched

DEFAULT_QUEUE = "queue_dir"


@dataclass(frozen=True, slots=True)
class NextCommand:
    """A line for the shell, and what it is for."""

    line: str
    why: str


def quote(text: str) -> str:
    """A word for a shell. What no terminal would show comes as `$'\\x1b'`, which bash, zsh and ksh read."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = (
        char
        if char.isprintable() and char not in "'\\"
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        for char in text
    )
    return f"$'{''.join(escaped)}'"


def following(
    root: str,
    status: dict[str, Any],
    *,
    rehearsal: bool,
    damaged: bool,
    unfetched: Unfetched | None = None,
) -> Iterator[NextCommand]:
    """What to type next, given the status of the queue in `root` (as a person would type it).

    `unfetched` is what the manifest says of videos that another command gets.
    """
    default = root == DEFAULT_QUEUE and os.environ.get("ENGINE_QUEUE") in (None, "", DEFAULT_QUEUE)
    where = "" if default else f" -q {quote(root)}"
    run = f"engine rehearse --videos 0 -q {quote(root)}" if rehearsal else f"engine run{where}"
    live = status["state"] in ("running", "stalled", "paused")
    left = status["total"] - status["ok"] - status["absent"] - status["failed"]
    listed = status.get("listings") or {}
    unlisted, refused = listed.get("open", 0), listed.get("failed", 0)
    if live:
        yield NextCommand(f"engine status --watch{where}", "see how it goes on")
        yield NextCommand(f"engine stop{where}", "end it in good order; the same command goes on later")
    elif left or unlisted:
        sources = f"{unlisted:,} {'source' if unlisted == 1 else 'sources'} to list" if unlisted else ""
        what = " and the ".join(part for part in (f"{left:,} that are left" if left else "", sources) if part)
        yield NextCommand(run, f"go on with the {what}, with the same --rate and proxies as before")
    elif status["state"] == "stopped" and status["total"]:
        yield NextCommand(run, "add the last rows to the manifest: the run was cut off at its very end")
    if status["failed"] or refused:
        also = ", and each source that could not be listed" if refused else ""
        yield NextCommand(f"engine failures{where}", f"each video that has no transcript{also}, and why")
    if not live:
        yield from _again(status["kinds"], run, where)
        if unfetched is not None:
            yield from _another_way(unfetched, run.split()[1], run, where)
        if refused:
            yield NextCommand(
                f"engine retry --kind listing{where} && {run}",
                f"try the {refused:,} {'source' if refused == 1 else 'sources'} again that could not be listed",
            )
    if damaged:
        yield NextCommand(f"engine verify{where}", "some lines could not be read: audit the queue")
    elif status["state"] == "finished":
        yield NextCommand(f"engine verify{where}", "check every transcript against its checksum")


def _again(kinds: dict[str, int], run: str, where: str) -> Iterator[NextCommand]:
    again = [kind for kind in kinds if kind in MEANINGS and MEANINGS[kind].again]
    if again:
        count = sum(kinds[kind] for kind in again)
        yield NextCommand(
            f"engine retry --kind {','.join(sorted(again))}{where} && {run}",
            f"try the {count:,} again that may work another time",
        )
    if kinds.get("no_captions"):
        yield NextCommand(
            f"engine retry --kind no_captions --older-than 14d{where} && {run}",
            "in two weeks: captions may have come by then",
        )


def _another_way(found: Unfetched, verb: str, run: str, where: str) -> Iterator[NextCommand]:
    """What gets the videos of which a file of others stood in the way, or that are in other languages."""
    if found.kept:
        whose = "another queue" if found.another == found.kept else "others"
        yield NextCommand(
            f"{run} --replace",
            f"fetch the {found.kept:,} whose files {whose} wrote, and replace these; `-o NEW` in a new queue keeps "
            "both",
        )
    if found.no_language:
        have = found.language_words()
        yield NextCommand(
            f"engine failures --kind no_language --csv{where} > no_language.csv && "
            f"engine {verb} no_language.csv -l any -q no_language_queue",
            f"fetch the {found.no_language:,} in any language, in a new queue"
            + (f"; they have: {have}" * bool(have)),
        )
