"""`engine failures`."""

from __future__ import annotations

import itertools
import sys

import click

from engine.cli import tell
from engine.cli.once import Command
from engine.cli.options import json_option, older_option, queue_option
from engine.cli.slow import Slow
from engine.errors import Exit, UsageError
from engine.model import Kind
from engine.queue.channel_state import KIND as LISTING
from engine.queue.directory import open_queue
from engine.units import parse_duration_s

_AT_ONCE = 500  # lines in one write: each by itself is a system call


def check_kinds(kinds: tuple[str, ...]) -> set[str] | None:
    """The kinds asked for (also as `a,b`), None for all. Raises UsageError naming the nearest word."""
    import difflib

    asked = {part.strip() for text in kinds for part in text.split(",") if part.strip()}
    known = [*Kind, LISTING]
    for name in sorted(asked - set(known)):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; one of {', '.join(known)}"
        raise UsageError(f"--kind: there is no kind {name!r}{hint}")
    return asked or None


@click.command("failures", cls=Command)
@queue_option()
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="A table for a spreadsheet.")
@click.option("--kind", "kinds", metavar="K", multiple=True, help="Only this kind; repeatable.")
@older_option
def command(root: str, as_json: bool, as_csv: bool, kinds: tuple[str, ...], older_than: str | None) -> int:
    """One line for each job that is not ok: id, kind, message. A source that could not be listed stands there by its
    name, its kind is `listing`."""
    from engine.monitor.failed_jobs import rows as rows_of
    from engine.monitor.failed_jobs import to_csv, to_json_lines, to_lines

    asked = check_kinds(kinds)
    older_than_s = parse_duration_s(older_than, "--older-than") if older_than else None
    write = to_json_lines if as_json else to_csv if as_csv else to_lines
    found = rows_of(open_queue(root), asked, older_than_s)
    if not sys.stdout.isatty():  # where nobody sees the lines come
        found = Slow("jobs").over("listed", found)
    lines = write(found)
    while block := list(itertools.islice(lines, _AT_ONCE)):
        tell(*block)
    return Exit.OK
