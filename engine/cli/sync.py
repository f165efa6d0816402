"""`engine sync`."""

from __future__ import annotations

import click

from engine.cli import say
from engine.cli.once import Command
from engine.cli.options import next_run, queue_option
from engine.errors import Exit
from engine.queue import channel_state
from engine.queue.directory import open_queue
from engine.seeding.seed import SEED_WAIT_S
from engine.storage.locks import take_or_say_who


@click.command("sync", cls=Command)
@queue_option()
@click.option("--searches", is_flag=True, help="Do searches again as well: their results vary.")
def command(root: str, searches: bool) -> int:
    """Have the batch's channels and playlists looked through again for what is new.

    Channels and lists of uploads are read from the newest video on, down to what was there the last time; other
    playlists whole; what could not be listed is tried again. Videos that are in the queue stay as they are. Sends
    nothing itself: the next run does, or the one that is at work.
    """
    queue = open_queue(root)
    with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
        count = channel_state.sync(queue, searches=searches)
        left = len(channel_state.open_listings(queue)) - count
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
    """What listings are called before people."""
    return "source" if count == 1 else "sources"
