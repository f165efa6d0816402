"""`engine status`."""

from __future__ import annotations

import time

import click

from engine import status
from engine.cli import say
from engine.cli.options import json_option, queue_option
from engine.errors import Exit


@click.command("status")
@queue_option()
@json_option
@click.option("--watch", is_flag=True, help="Show it again every second until ^C.")
def command(root: str, as_json: bool, watch: bool) -> int:
    """Counts, rate, ETA, and what limits the run now. Touches no lock; answers in every state of the queue."""
    while True:
        value = status.collect(root)
        if as_json:
            click.echo(status.dumps(value))
        if value["state"] == "empty":
            say(f"engine: no queue in {root}: make one with `engine seed INPUT -q {root}`")
            return Exit.NO_QUEUE
        if not as_json:
            from engine.cli.show import show

            if watch:
                click.clear()
            show(value, root)
        if not watch:
            return Exit.OK
        time.sleep(1.0)
