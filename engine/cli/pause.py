"""`engine pause`."""

from __future__ import annotations

from typing import Any

import click

from engine.cli import say
from engine.cli.once import Command
from engine.cli.options import queue_option
from engine.errors import Exit
from engine.monitor import status
from engine.queue.control import ControlRequest, read_run_state, send_request, wait_until_done
from engine.queue.directory import open_queue
from engine.storage.locks import living_holder, who


@click.command("pause", cls=Command)
@queue_option()
def command(root: str) -> int:
    """Have a live run begin nothing new, until `engine resume`.

    What is in flight finishes. The run stays alive and keeps the queue, and ^C and `engine stop` end it as ever.
    The time of --max-duration goes on counting. A pause ends with its run: the next one is not paused.
    """
    queue = open_queue(root)
    run = living_holder(queue.run_lock)
    if run is None:
        say("engine: no run is live here")
        return Exit.OK
    before, path = read_run_state(queue, run), send_request(queue, ControlRequest(paused=True))
    if not wait_until_done(queue, path):
        say(unanswered(run, "pause"))
    elif before is not None and before.paused:
        say(f"the run ({who(run)}) is paused already: `engine resume -q {root}` has it go on")
    else:
        left = status.collect(root)["in_flight"]
        finishes = f", what is in flight ({left:,}) finishes" if left else ""
        say(f"paused the run ({who(run)}){finishes}: `engine resume -q {root}` has it go on")
    return Exit.OK


def unanswered(run: dict[str, Any], what: str) -> str:
    """What to say when a run has not done in time what it was asked."""
    return (
        f"asked the run ({who(run)}) to {what}. It has not done so yet: it may still be seeding, or be at its end; "
        "`engine status` tells"
    )
