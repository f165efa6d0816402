"""`engine failures`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from engine.cli import print_lines, say
from engine.cli.display.slow_work import SlowWork
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option, next_run, older_option, queue_option
from engine.errors import Exit
from engine.process import environment
from engine.queue import marker
from engine.queue.directory import open_queue
from engine.units import parse_duration_s

if TYPE_CHECKING:
    from engine.report.unfetched import Unfetched

_AT_ONCE = 500  # lines in one write: each by itself would be a system call


def split_kinds(kinds: tuple[str, ...]) -> set[str]:
    """The words of `--kind`, which may be repeated and may hold commas."""
    return {part.strip() for text in kinds for part in text.split(",") if part.strip()}


@click.command("failures", cls=EngineCommand)
@queue_option()
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for a spreadsheet.")
@click.option("--kind", "kinds", metavar="K", multiple=True, help="Only this kind; repeatable.")
@older_option
def command(root: str, as_json: bool, as_csv: bool, kinds: tuple[str, ...], older_than: str | None) -> int:
    """Print one line for each job that is not ok: id, kind, message. A source that could not be listed appears by its
    name, with the kind `listing`."""
    from engine.monitor.failed_jobs import check_kinds, own_columns, rows, to_csv, to_json_lines, to_lines
    from engine.report.unfetched import Unfetched, closing

    asked = check_kinds(split_kinds(kinds))
    older_than_s = parse_duration_s(older_than, "--older-than") if older_than else None
    write = to_json_lines if as_json else to_lines
    queue, kept = open_queue(root), Unfetched()
    found = rows(queue, asked, older_than_s)
    if not as_json:
        found = _counted(found, kept)
    if not sys.stdout.isatty():  # where nobody sees the lines come
        found = SlowWork("jobs").over("listed", found)
    lines = (
        to_csv(found, own_columns(rows(queue, asked, older_than_s)))
        if as_csv and not as_json
        else write(found)
    )
    while block := list(itertools.islice(lines, _AT_ONCE)):
        print_lines(*block)
    if kept.kept:
        output = environment.shown(marker.output_of(queue) or "")
        for sentence in closing(kept, final=-1, output=output, run=next_run(queue, root)):
            say(sentence)
    return Exit.OK


def _counted(found: Iterable[dict[str, Any]], into: Unfetched) -> Iterator[dict[str, Any]]:
    for row in found:
        into.add(row)
        yield row
