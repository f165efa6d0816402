"""`engine status`."""

from __future__ import annotations

import time

import click

from engine import status
from engine.cli import say
from engine.cli.options import json_option, queue_option
from engine.errors import Exit, UsageError


@click.command("status")
@queue_option()
@json_option
@click.option("--watch", is_flag=True, help="Show it again every second until ^C.")
@click.option(
    "--exit-code",
    "by_state",
    is_flag=True,
    help="Exit 0: finished, 3: finished and some failed, 20: running, 21: paused, 22: stalled, 23: stopped with "
    "work left, 10: no queue.",
)
def command(root: str, as_json: bool, watch: bool, by_state: bool) -> int:
    """Counts, rate, ETA, and what limits the run now. Touches no lock; answers in every state of the queue."""
    if watch and by_state:
        raise UsageError("--exit-code: --watch shows it until ^C; `engine wait` waits for the end of the run")
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
            return status.exit_code(value) if by_state else Exit.OK
        time.sleep(1.0)
