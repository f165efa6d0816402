"""`engine stop`."""

from __future__ import annotations

import click

from engine.cli import say
from engine.cli.once import Command
from engine.cli.options import queue_option
from engine.errors import Exit
from engine.queue.control import request_stop
from engine.queue.directory import open_queue
from engine.storage.locks import living_holder, who


@click.command("stop", cls=Command)
@queue_option()
@click.option("--now", is_flag=True, help="End at once; what is in flight is fetched again by the next run.")
def command(root: str, now: bool) -> int:
    """Ask a live run to finish what is in flight and end."""
    queue = open_queue(root)
    run = living_holder(queue.run_lock)
    if run is None:
        say("engine: no run is live here")
        return Exit.OK
    request_stop(queue, now=now)
    say(f"asked the run ({who(run)}) to " + ("end now" if now else "finish what is in flight and end"))
    return Exit.OK
