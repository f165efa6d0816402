"""`engine status`."""

from __future__ import annotations

import sys
import time

import click

from engine import status
from engine.cli import say
from engine.cli.options import json_option, queue_option
from engine.errors import Exit
from engine.queue.layout import Queue

WATCH_S = 1.0


@click.command("status")
@queue_option()
@json_option
@click.option("--watch", is_flag=True, help="Show it again every second until ^C.")
def command(root: str, as_json: bool, watch: bool) -> int:
    """Counts, rate, ETA, and what limits the run now. Touches no lock; answers in every state of the queue."""
    if watch and not as_json and sys.stdout.isatty():
        return _watch(root)
    while True:
        value = status.collect(root)
        if as_json:
            click.echo(status.dumps(value))
        if value["state"] == "empty":
            return _none(root)
        if not as_json:
            from engine.cli.show import show

            show(value, root)
        if not watch:
            return Exit.OK
        sys.stdout.flush()
        time.sleep(WATCH_S)


def _none(root: str) -> int:
    say(f"engine: no queue in {root}: make one with `engine seed INPUT -q {root}`")
    return Exit.NO_QUEUE


def _watch(root: str) -> int:
    """The live view on a screen of its own, until ^C; what it showed last stays."""
    from rich.console import Console
    from rich.live import Live

    from engine.cli.show import panel
    from engine.failures import Latest

    console = Console(highlight=False)
    latest, its = Latest(Queue(root)), None
    try:
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                value = status.collect(root)
                if value["state"] == "empty":
                    break
                width, height = console.size
                its = panel(value, root, latest(), width=width, height=height, now=time.time())
                live.update(its, refresh=True)
                time.sleep(WATCH_S)
    except KeyboardInterrupt:
        pass
    if its is None:
        return _none(root)
    console.print(its)
    return Exit.OK
