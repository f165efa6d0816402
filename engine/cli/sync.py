"""`engine sync`."""

from __future__ import annotations

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import next_run, queue_option
from engine.cli.options.input import since_option
from engine.errors import Exit
from engine.queue import listings
from engine.queue.directory import open_queue


@click.command("sync", cls=EngineCommand)
@queue_option()
@click.option("--searches", is_flag=True, help="Repeat searches as well: their results vary.")
@since_option("Leave out videos older than this day (UTC, as 2026-01-31), from now on; see `engine seed`.")
def command(root: str, searches: bool, since: str | None) -> int:
    """Have the next run list the batch's channels and playlists again, to add what is new.

    Channels and lists of uploads are read from the newest video down to what was there the last time; other
    playlists are read in full; what could not be listed is tried again. Videos in the queue stay as they are. This
    command sends nothing itself: the next run does, or the one that is live.
    """
    queue = open_queue(root)
    count = Batch(root).sync(searches=searches, since=since)
    left = len(listings.open_listings(queue)) - count
    if count:
        say(f"{count:,} {noun(count)} to be listed again: `{next_run(queue, root)}` does it")
    elif left:
        say(
            f"nothing to list again; {left:,} {noun(left)} still to be listed: `{next_run(queue, root)}` goes on"
        )
    else:
        say("nothing to list again: this batch has no channel or playlist that was listed before")
    return Exit.OK


def noun(count: int) -> str:
    """What messages call channels, playlists and searches."""
    return "source" if count == 1 else "sources"
