"""`engine seed`."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict

import click

from engine.cli import say, tell
from engine.cli.options import IdCommand, Whole, inputs, json_option, queue_option
from engine.cli.preview import to_json, to_lines
from engine.cli.reading import Reading, reading_options
from engine.cli.rejected import guarded
from engine.errors import Exit
from engine.inputs import Line
from engine.queue.channel_state import MAX_RESULTS
from engine.queue.directory import Queue, exists, open_queue, refuse_foreign
from engine.queue.id_index import Ids
from engine.queue.making import make_queue
from engine.seeding import elsewhere
from engine.seeding.dedup import Seeded
from engine.seeding.seed import SEED_WAIT_S, Seeding, would_seed
from engine.storage.locks import take_or_say_who


def seed_inputs(
    queue: Queue,
    streams: list[Iterator[Line]],
    errors: list[str],
    unwanted: Ids | None = None,
    max_results: int = MAX_RESULTS,
) -> Seeded:
    """Seed what the streams hold, under seed.lock. What is unwanted stays so for what sources will turn out to hold:
    it is kept first, for the lister may be at work beside."""
    with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
        if unwanted is not None:
            elsewhere.keep(queue, unwanted)
        return Seeding(queue, unwanted=unwanted, max_results=max_results).add(guarded(streams, errors))


def told(result: Seeded, rejects: str | None) -> str:
    """The sentence about a seeding; `rejects` is the file where the rejected lines are named."""
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
    dry_run: bool,
    preview: int | None,
    as_json: bool,
) -> int:
    """Add jobs to the queue; seeding the same again adds nothing.

    INPUT is a file, a URL, an id, or - for stdin. Files: .txt (also an archive of yt-dlp), .csv .tsv .jsonl .json
    (also of yt-dlp -J), .xlsx, .xls, .ods, .parquet, a Google Takeout as .zip or its watch-history.json, .html and
    playlists, the links of any other .html (bookmarks, saved pages); .gz of these. Text may be in any encoding; one
    that is not UTF-8 is found out and printed.

    A channel (@handle, a URL with or without its tab, UC...), a playlist (a URL with list=, PL..., UU...) or
    search:words is listed by the next run; a URL with a video and a list is the video. A line that names none of
    these is rejected by name and number in rejects.csv and never stops the good ones. A file of which every line
    is rejected is an error (exit code 2), with its first reasons. Works beside a live run.

    --preview and --dry-run write nothing: neither a queue nor rejects.csv. Without --dry-run, reading ends
    after the lines that the first shows.
    """
    refuse_foreign(root)
    reading = Reading(column, sheet, keep_columns, skip_known, encoding)
    errors: list[str] = []
    unwanted = reading.unwanted() if not preview or dry_run else None
    streams = reading.opened(inputs, errors)
    result = Seeded()
    if streams and (preview or dry_run):
        result = _look(root, guarded(streams, errors), unwanted, preview, dry_run=dry_run, as_json=as_json)
    elif not (preview or dry_run) and (streams or exists(root)):
        queue = make_queue(root)
        result = seed_inputs(queue, streams, errors, unwanted, max_results)
        tell(json.dumps(_counts(result)) if as_json else told(result, queue.rejects))
    for error in errors:
        say(error if error.startswith(" ") else f"engine: {error}")  # a reason below what it is of
    with suppress(AttributeError):
        sys.stdin.close()
    return Exit.USAGE if errors or (result.read and result.read == result.rejected) else Exit.OK


def _look(
    root: str,
    lines: Iterator[Line],
    unwanted: Ids | None,
    preview: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> Seeded:
    """Show the first lines, count all of them, or both; nothing is written. Returns what was counted."""
    first = list(itertools.islice(lines, preview)) if preview else []
    if not as_json:
        for text in to_lines(first):
            tell(text)
    if dry_run:
        queue = open_queue(root) if exists(root) else None
        result = would_seed(queue, itertools.chain(first, lines), unwanted=unwanted)
    else:
        result = Seeded(read=len(first), rejected=sum(line.video_id is None for line in first))
    if as_json:
        shown = {"preview": [to_json(line) for line in first]} if preview else {}
        click.echo(json.dumps({**(_counts(result) if dry_run else {"schema_version": 1}), **shown}))
    elif dry_run:
        tell(f"{told(result, None)} (dry run: nothing is written)")
    return result


def _counts(result: Seeded) -> dict[str, int]:
    counts = {name: value for name, value in asdict(result).items() if value is not None}
    return {"schema_version": 1, **counts}
