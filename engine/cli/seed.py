"""`engine seed`."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict

import click

from engine.cli import print_lines, say
from engine.cli.display.seed_preview import to_json, to_lines
from engine.cli.options.commands import IdCommand
from engine.cli.options.common import inputs, json_option, queue_option
from engine.cli.options.input import reading_options
from engine.cli.options.values import Whole
from engine.errors import Exit
from engine.inputs import Line
from engine.queue.directory import exists, open_queue, refuse_foreign
from engine.queue.id_index import IdSet
from engine.queue.making import make_queue
from engine.seeding.dedup import Seeded
from engine.seeding.reading import Reading, seed_streams
from engine.seeding.rejected import guarded
from engine.seeding.seed import would_seed


def seeded_sentence(result: Seeded, rejects: str | None) -> str:
    """The sentence about a seeding; `rejects` is the file that names the rejected lines."""
    text = (
        f"read {result.read:,}: added {result.added:,}, duplicate {result.duplicate:,}, "
        f"rejected {result.rejected:,}"
    )
    text += f", known {result.known:,}" if result.known is not None else ""
    text += f" (see {rejects})" if result.rejected and rejects else ""
    return text + (f", {result.listed:,} to be listed" if result.listed else "")


@click.command("seed", cls=IdCommand)
@inputs(required=True)
@queue_option()
@reading_options
@click.option("--dry-run", is_flag=True, help="Read and count, and write nothing.")
@click.option("--preview", metavar="N", type=Whole(1), help="Show how the first N lines are understood.")
@json_option
def command(
    inputs: tuple[str, ...],
    root: str,
    column: str | None,
    sheet: str | None,
    encoding: str | None,
    keep_columns: str,
    skip_known: tuple[str, ...],
    max_results: int,
    newest: int | None,
    since: str | None,
    dry_run: bool,
    preview: int | None,
    as_json: bool,
) -> int:
    """Add jobs to the queue; seeding the same again adds nothing.

    INPUT is a file, a URL, an id, or - for stdin. Files: .txt (also an archive of yt-dlp), .csv .tsv .jsonl .json
    (also of yt-dlp -J), .xlsx, .xls, .ods, .parquet, a Google Takeout as .zip or its watch-history.json, .html and
    playlists, the links of any other .html (bookmarks, saved pages); .gz of these. Text may be in any encoding; one
    that is not UTF-8 is found out and printed.

    INPUT can also be a channel (@handle, a URL with or without its tab, UC...), a playlist (a URL with list=, PL...,
    UU...) or search:words; the next run lists its videos. A URL with a video and a list is the video. A line that
    is none of these goes to rejects.csv with its number and the reason, and the other lines are added. A file of
    which every line is rejected is an error (exit code 2) that names the first reasons. Works beside a live run.

    --preview and --dry-run write nothing: neither a queue nor rejects.csv. Without --dry-run, --preview stops
    reading after the lines that it shows.
    """
    refuse_foreign(root)
    reading = Reading(column, sheet, keep_columns, skip_known, encoding)
    errors: list[str] = []
    known = reading.known_elsewhere(say) if not preview or dry_run else None
    streams = reading.open(inputs, errors, say)
    result = Seeded()
    if streams and (preview or dry_run):
        lines = guarded(streams, errors, say)
        result = _look(root, lines, known, preview, dry_run=dry_run, as_json=as_json)
    elif not (preview or dry_run) and (streams or exists(root)):
        queue = make_queue(root)
        result = seed_streams(
            queue,
            streams,
            errors,
            say,
            known_elsewhere=known,
            max_results=max_results,
            newest=newest,
            since=since,
        )
        print_lines(json.dumps(_counts(result)) if as_json else seeded_sentence(result, queue.rejects))
    for error in errors:
        say(error if error.startswith(" ") else f"engine: {error}")  # a reason stands below its file
    with suppress(AttributeError):
        sys.stdin.close()
    return Exit.USAGE if errors or (result.read and result.read == result.rejected) else Exit.OK


def _look(
    root: str,
    lines: Iterator[Line],
    known: IdSet | None,
    preview: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> Seeded:
    """Show the first lines, count all of them, or both; nothing is written. Returns the counts."""
    first = list(itertools.islice(lines, preview)) if preview else []
    if not as_json:
        for text in to_lines(first):
            print_lines(text)
    if dry_run:
        queue = open_queue(root) if exists(root) else None
        result = would_seed(queue, itertools.chain(first, lines), unwanted=known)
    else:
        result = Seeded(read=len(first), rejected=sum(line.video_id is None for line in first))
    if as_json:
        shown = {"preview": [to_json(line) for line in first]} if preview else {}
        click.echo(json.dumps({**(_counts(result) if dry_run else {"schema_version": 1}), **shown}))
    elif dry_run:
        print_lines(f"{seeded_sentence(result, None)} (dry run: nothing is written)")
    return result


def _counts(result: Seeded) -> dict[str, int]:
    counts = {name: value for name, value in asdict(result).items() if value is not None}
    return {"schema_version": 1, **counts}
