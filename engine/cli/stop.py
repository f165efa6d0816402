"""`engine stop`."""

from __future__ import annotations

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import queue_option
from engine.errors import Exit, NoRunError
from engine.storage.locks import who


@click.command("stop", cls=EngineCommand)
@queue_option()
@click.option("--now", is_flag=True, help="End at once; the next run fetches again what was in flight.")
def command(root: str, now: bool) -> int:
    """Ask a live run to finish what is in flight and end."""
    batch = Batch(root)
    run = batch.live_note()
    try:
        batch.stop(now=now)
    except NoRunError as exc:
        say(f"engine: {exc}")
    else:
        asked = "end now" if now else "finish what is in flight and end"
        say(f"asked the run ({who(run or {})}) to {asked}")
    return Exit.OK
