"""`engine seed`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

import click

from engine.cli import say
from engine.cli.options import (
    IdCommand,
    column_option,
    inputs,
    json_option,
    max_results_option,
    queue_option,
)
from engine.errors import Exit, UsageError
from engine.inputs import Line, read
from engine.listings import MAX_RESULTS
from engine.queue.layout import Queue, exists, make_queue
from engine.queue.lock import take_or_say_who
from engine.seed import SEED_WAIT_S, Seeded, Seeding


def opened(sources: Sequence[str], column: str | None, errors: list[str]) -> list[Iterator[Line]]:
    """The sources that can be read, each looked at once, so that nothing is made for a mistyped name.

    What is wrong with the others goes to `errors`.
    """
    found = []
    for source in sources:
        try:
            lines = read(source, column=column, stdin=sys.stdin.buffer if source == "-" else None)
            first = next(lines, None)
        except UsageError as exc:
            errors.append(str(exc))
            continue
        found.append(itertools.chain([first], lines) if first is not None else iter(()))
    return found


def _guarded(streams: list[Iterator[Line]], errors: list[str]) -> Iterator[Line]:
    """All lines; an input that fails midway does not take the others down."""
    for stream in streams:
        try:
            yield from stream
        except UsageError as exc:
            errors.append(str(exc))


def seed_inputs(
    queue: Queue, streams: list[Iterator[Line]], errors: list[str], max_results: int = MAX_RESULTS
) -> Seeded:
    """Seed what the streams hold, under seed.lock."""
    with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
        return Seeding(queue, max_results=max_results).add(_guarded(streams, errors))


def told(result: Seeded, queue: Queue) -> str:
    """The sentence about a seeding."""
    text = (
        f"read {result.read:,}: added {result.added:,}, duplicate {result.duplicate:,}, "
        f"rejected {result.rejected:,}"
    )
    text += f" (see {queue.rejects})" if result.rejected else ""
    return text + (f", {result.listed:,} to be listed" if result.listed else "")


@click.command("seed", cls=IdCommand)
@inputs(required=True)
@queue_option()
@column_option
@max_results_option
@json_option
def command(inputs: tuple[str, ...], root: str, column: str | None, max_results: int, as_json: bool) -> int:
    """Add jobs to the queue; seeding the same again adds nothing.

    INPUT is a file (.txt .csv .tsv .jsonl .json), a URL, an id, or - for stdin; a channel (@handle, a URL with or
    without its tab, UC...), a playlist (a URL with list=, PL..., UU...), or search:words. The next run lists what
    these hold. A URL with a video and a list is the video. A line that names no video is
    rejected by name and number in rejects.csv and never stops the good ones. Works beside a live run.
    """
    errors: list[str] = []
    streams = opened(inputs, column, errors)
    result = Seeded()
    if streams or exists(root):
        queue = make_queue(root)
        result = seed_inputs(queue, streams, errors, max_results)
        if as_json:
            import json

            names = ("read", "added", "duplicate", "rejected", "listed")
            click.echo(json.dumps({"schema_version": 1, **{name: getattr(result, name) for name in names}}))
        else:
            click.echo(told(result, queue))
    for error in errors:
        say(f"engine: {error}")
    with suppress(AttributeError):
        sys.stdin.close()
    return Exit.USAGE if errors or (result.read and result.read == result.rejected) else Exit.OK
