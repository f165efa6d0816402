"""`engine sources`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from engine.cli import print_lines, say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option, next_run, queue_option
from engine.errors import Exit, UsageError
from engine.inputs import find_source
from engine.output.terminal import printable
from engine.queue import listings
from engine.queue.directory import Queue, open_queue
from engine.queue.listings import Listing, about_dates, source_status
from engine.seeding.seed import SEED_WAIT_S
from engine.storage.locks import take_or_say_who


@click.command("sources", cls=EngineCommand)
@queue_option()
@click.option(
    "--drop", metavar="SOURCE", multiple=True, help="Forget it; the videos it added stay. Repeatable."
)
@click.option(
    "--rename", metavar="OLD NEW", nargs=2, help="Go on with OLD as NEW, as after a change of handle."
)
@json_option
def command(root: str, drop: tuple[str, ...], rename: tuple[str, str] | None, as_json: bool) -> int:
    """Show the channels, playlists and searches of the batch: how far each is listed, and what it added.

    A dropped source is not listed any more; `engine seed` adds it again. While a run lists sources, none can be
    dropped or renamed (exit code 11).
    """
    queue = open_queue(root)
    if drop and rename:
        raise UsageError("--drop and --rename: one of them at a time")
    if drop or rename:
        with _own(queue):
            if rename:
                _rename(queue, *rename)
            else:
                _drop(queue, drop)
    found = listings.read_all(queue)
    if as_json:
        click.echo(
            json.dumps({"schema_version": 1, "sources": [asdict(source_status(each)) for each in found]})
        )
    else:
        for line in _lines(found):
            print_lines(line)
        if not found:
            say("this batch has no sources")
        elif any(each.state == listings.OPEN for each in found):
            say(f"some are still to be listed: `{next_run(queue, root)}`")
    return Exit.OK


@contextlib.contextmanager
def _own(queue: Queue) -> Iterator[None]:
    """Have the listings to oneself. Raises HeldError while a run lists."""
    with (
        take_or_say_who(queue.lister_lock, "lister"),
        take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S),
    ):
        yield


def _drop(queue: Queue, names: tuple[str, ...]) -> None:
    """Drop them all, or none when one is not there."""
    for listing in {found.number: found for name in names for found in [_named(queue, name)]}.values():
        listings.drop(queue, listing)
        say(f"dropped {printable(listing.source)}: the {listing.added:,} videos that it added stay")


def _rename(queue: Queue, old: str, new: str) -> None:
    listing, source = _named(queue, old), find_source(new)
    if source is None or source.kind != listing.kind:
        raise UsageError(
            f"{printable(new, 60)!r} is no {listing.kind}, as {printable(listing.source, 60)} is"
        )
    if any(each.source == source.name for each in listings.read_all(queue)):
        raise UsageError(
            f"{printable(source.name, 60)} is a source of this batch already: drop one of the two"
        )
    before = listing.source
    listings.rename(queue, listing, source.name)
    say(f"{printable(before)} is {printable(source.name)} from now on")


def _named(queue: Queue, text: str) -> Listing:
    """The source that is written so, in any of its spellings. Raises UsageError, with the names there are."""
    meant = find_source(text)
    found = listings.read_all(queue)
    for listing in found:
        if listing.source == text or (meant is not None and listing.source == meant.name):
            return listing
    names = ", ".join(printable(each.source, 60) for each in found[:10]) or "none"
    raise UsageError(f"{printable(text, 60)} is no source of this batch; there are: {names}")


def _lines(found: list[Listing]) -> Iterator[str]:
    """A line a source: state, videos, when it was listed last, name, and what went wrong."""
    for listing in found:
        listed = (listing.listed_at or "-")[:16].replace("T", " ")
        why = f"  ({printable(listing.last_error, 80)})" if listing.last_error else ""
        added = f"{listing.added:,} added"
        dates = about_dates(listing)
        yield f"{listing.state:6}  {added:>14}  {listed:16}  {printable(listing.source, 60)}{dates}{why}"
