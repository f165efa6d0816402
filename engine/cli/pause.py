"""`engine pause`."""

from __future__ import annotations

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import queue_option
from engine.errors import Exit, NoAnswerError, NoRunError
from engine.storage.locks import who


@click.command("pause", cls=EngineCommand)
@queue_option()
def command(root: str) -> int:
    """Have a live run begin nothing new, until `engine resume`.

    What is in flight finishes. The run stays alive and keeps the queue; ^C and `engine stop` still end it.
    The time of --max-duration goes on counting. A pause ends with its run: the next one is not paused.
    """
    batch = Batch(root)
    run, before = batch.live_note(), batch.live_settings()
    try:
        batch.pause()
    except (NoRunError, NoAnswerError) as exc:
        say(f"engine: {exc}" if isinstance(exc, NoRunError) else str(exc))
        return Exit.OK
    goes_on = f"`engine resume -q {root}` has it go on"
    if before is not None and before.paused:
        say(f"the run ({who(run or {})}) is paused already: {goes_on}")
    else:
        left = batch.status().in_flight
        finishes = f", what is in flight ({left:,}) finishes" if left else ""
        say(f"paused the run ({who(run or {})}){finishes}: {goes_on}")
    return Exit.OK
