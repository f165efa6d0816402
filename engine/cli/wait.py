"""`engine wait`."""

from __future__ import annotations

import math

import click

from engine.cli import say
from engine.cli.once import Command
from engine.cli.options import Number, queue_option
from engine.errors import Exit
from engine.monitor import status
from engine.queue.control import wait_for_run_end
from engine.queue.directory import open_queue


@click.command("wait", cls=Command)
@queue_option()
@click.option("--timeout", metavar="S", type=Number(0), help="Wait for so many seconds at most.")
def command(root: str, timeout: float | None) -> int:
    """Wait until no run is live here, and exit as `engine status --exit-code` would.

    0: finished, 3: finished and some failed, 23: stopped with work left; after --timeout 20: running, 21: paused,
    22: stalled. At once when no run is live.
    """
    from engine.cli.show import rows_words

    queue = open_queue(root)
    wait_for_run_end(queue, math.inf if timeout is None else timeout)
    value = status.collect(root)
    final = value["ok"] + value["absent"] + value["failed"]
    said = f"{value['state']}: {final:,} of {value['total']:,} final, {value['failed']:,} failed"
    say("; ".join(part for part in (said, rows_words(value)) if part))
    return Exit(status.exit_code(value))
