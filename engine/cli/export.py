"""`engine export`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.display.slow_work import SlowWork
from engine.cli.ended_work import ended_by_signals
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option, processes_option, queue_option
from engine.cli.options.values import LOCAL_PATH, Whole
from engine.errors import Exit, did_you_mean
from engine.export import ExportResult
from engine.export.delimited import MAX_CELL_CHARS
from engine.export.request import DEFAULT_NAME, DEFAULT_ROWS_PER_FILE, KINDS
from engine.output.terminal import printable
from engine.process import environment
from engine.units import size

_MOST_NAMED = 5


class WherePath(click.types.StringParamType):
    """A path on this machine, or an address of a store (`s3://…`)."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else LOCAL_PATH.convert(value, param, ctx)


class KindName(click.Choice[str]):
    """A kind of export."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in KINDS:
            names = ", ".join(KINDS)
            hint = did_you_mean(str(value), KINDS)
            self.fail(f"there is no kind {value!r}{hint or '.'} The kinds are {names}.", param, ctx)
        return super().convert(value, param, ctx)


@click.command("export", cls=EngineCommand)
@queue_option()
@click.option("--to", "kind", type=KindName(KINDS), required=True, help="What to make.")
@click.option(
    "-o",
    "--output",
    "where",
    metavar="WHERE",
    type=WherePath(),
    help="A directory, a file (for a table), or s3://…, gs://…, hf://…: new, empty, or this batch's earlier export. "
    "Default: exports/KIND.",
)
@click.option("--no-text", is_flag=True, help="Tables without text and segments.")
@click.option(
    "--rows-per-file",
    metavar="N",
    type=Whole(1),
    help=f"Rows of a Parquet file (default {DEFAULT_ROWS_PER_FILE}).",
)
@click.option("--name", metavar="T", help=f"How text files are named (default {DEFAULT_NAME}).")
@click.option("--flat", is_flag=True, help="Text files without directories.")
@click.option("--words", metavar="N", type=Whole(1), help="Words of a passage (default 200).")
@click.option("--overlap", metavar="N", type=Whole(0), help="Words that passages share (default 20).")
@click.option(
    "--where", "condition", metavar="SQL", help="Only these rows: \"language = 'en' and duration_s > 600\"."
)
@click.option("--new", is_flag=True, help="Only what has become final since the last export to WHERE.")
@processes_option("Processes that read and convert.")
@json_option
def command(root: str, kind: Any, where: str | None, processes: int, as_json: bool, **values: Any) -> int:
    """Make a table, a data set, readable texts or passages of what was fetched. Sends no request.

    csv, xlsx, jsonl, parquet, sqlite: a row for each video, whatever became of it. txt, srt, vtt, md: a file for each
    transcript, under a readable name. passages: pieces of about 200 words with times and links.
    """
    options: dict[str, Any] = {
        name: value
        for name, value in values.items()
        if value is not None and value is not False and name not in ("no_text", "condition")
    }
    if values["no_text"]:
        options["text"] = False
    if values["condition"]:
        options["where"] = values["condition"]
    progress = SlowWork("videos")

    def work() -> int:
        result = Batch(root).export(kind, where, on_progress=progress, processes=processes, **options)
        if as_json:
            click.echo(json.dumps({"schema_version": 1, **asdict(result)}))
        return tell_result(root, result)

    return ended_by_signals(work)


def tell_result(root: str, result: ExportResult) -> int:
    """Say what came of an export; returns the exit code."""
    if result.gone:
        say(f"the last export has lost files, as {result.gone[0]}: everything is exported again")
    say(_sentence(result))
    if not result.rows and not result.resumed:
        now = Batch(root).status()
        if not now.rows and now.state in ("running", "paused", "stalled"):
            say(f"{now.final:,} of {now.total:,} final yet, a run is live: export again later")
    if result.long_cells:
        texts = "1 text is" if result.long_cells == 1 else f"{result.long_cells:,} texts are"
        what = (
            "they are cut there; --to csv, jsonl, parquet and sqlite have all of them"
            if result.kind == "xlsx"
            else "for Excel, export with --to xlsx, which cuts them, or with --no-text"
        )
        say(
            f"{texts} longer than {MAX_CELL_CHARS:,} characters, which is all that a cell of Excel holds: {what}"
        )
    if result.renamed:
        say(_renamed(result.renamed))
    if result.unreadable:
        say(
            f"{result.unreadable:,} record{'s' * (result.unreadable != 1)} cannot be read, as of "
            f"{', '.join(result.unreadable_ids)}: `engine verify -q {environment.shown(root)}` says why"
        )
        return Exit.DAMAGED
    return Exit.OK


def _renamed(columns: Mapping[str, str]) -> str:
    """Which columns of the user's have other names in a table."""
    some = list(itertools.islice(columns.items(), _MOST_NAMED))
    told = ", ".join(f"{printable(own, 60)} is {printable(name, 60)}" for own, name in some)
    more = f" and {len(columns) - len(some):,} more" if len(columns) > len(some) else ""
    one = len(columns) == 1
    return (
        f"{'a column' if one else 'columns'} of yours {'has a name that is' if one else 'have names that are'} "
        f"taken: {told}{more}"
    )


def _sentence(result: ExportResult) -> str:
    if result.resumed and not result.rows:
        return f"nothing new since the last export to {result.where}"
    new = "new " if result.resumed else ""
    what = {"passages": "passage"}.get(result.kind, "video")
    rows = f"{result.rows:,} {new}{what}{'s' * (result.rows != 1)}"
    where = result.where
    if len(result.files) == 1 and not where.endswith(result.files[0]):
        where = f"{where.rstrip('/')}/{result.files[0]}"
    elif result.file_count > 1:
        where = f"{result.file_count:,} files in {where}"
    return f"{rows} in {where} ({size(result.bytes)})"
