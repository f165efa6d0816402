"""`engine resume`."""

from __future__ import annotations

import click

from engine.cli import say
from engine.cli.once import Command
from engine.cli.options import next_run, queue_option
from engine.cli.pause import unanswered
from engine.errors import Exit, UsageError
from engine.queue.control import ControlRequest, read_run_state, send_request, wait_until_done
from engine.queue.directory import open_queue
from engine.storage.locks import living_holder, who


@click.command("resume", cls=Command)
@queue_option()
def command(root: str) -> int:
    """Have a paused run go on at once."""
    queue = open_queue(root)
    run = living_holder(queue.run_lock)
    if run is None:
        raise UsageError(f"no run is live here: `{next_run(queue, root)}` goes on with what is left")
    before, path = read_run_state(queue, run), send_request(queue, ControlRequest(paused=False))
    if not wait_until_done(queue, path):
        say(unanswered(run, "go on"))
    elif before is not None and not before.paused:
        say(f"the run ({who(run)}) is not paused")
    else:
        say(f"the run ({who(run)}) goes on")
    return Exit.OK
