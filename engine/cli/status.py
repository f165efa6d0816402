"""`engine status`."""

from __future__ import annotations

import sys
import time

import click

from engine.cli import say, say_neighbours
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option, queue_option
from engine.errors import Exit, UsageError
from engine.monitor import status
from engine.queue.directory import Queue, no_queue

WATCH_S = 1.0


@click.command("status", cls=EngineCommand)
@queue_option()
@json_option
@click.option(
    "--format",
    "style",
    type=click.Choice(["prometheus"]),
    help="Print it in the text format of Prometheus, as for a textfile collector.",
)
@click.option("--watch", is_flag=True, help="Show it again every second until ^C.")
@click.option(
    "--exit-code",
    "by_state",
    is_flag=True,
    help="Exit 0: finished, 3: finished and some failed, 20: running, 21: paused, 22: stalled, 23: stopped with "
    "work left, 10: no queue.",
)
def command(root: str, as_json: bool, style: str | None, watch: bool, by_state: bool) -> int:
    """Print counts, rate, ETA, and what limits the run now. Takes no lock; works in every state of the queue."""
    if watch and by_state:
        raise UsageError(
            "--exit-code cannot go with --watch, which runs until ^C; `engine wait` waits for the end of the run"
        )
    if style and (as_json or watch):
        raise UsageError("--format prometheus goes with neither --json nor --watch: call it again and again")
    if watch and not as_json and sys.stdout.isatty():
        return _watch(root)
    while True:
        value = status.collect(root)
        if as_json:
            click.echo(status.dumps(value))
        elif style:
            from engine.monitor import prometheus

            click.echo(prometheus.render(value, root), nl=False)
        if value["state"] == "empty":
            return _none(root)
        if not as_json and not style:
            from engine.cli.display.status_panel import show

            show(value, root)
        if not watch:
            return status.exit_code(value) if by_state else Exit.OK
        sys.stdout.flush()
        time.sleep(WATCH_S)


def _none(root: str) -> int:
    say(f"engine: {no_queue(root)}")
    say_neighbours(root)
    return Exit.NO_QUEUE


def _watch(root: str) -> int:
    """The live view on a screen of its own, until ^C; then the last view is printed."""
    from rich.console import Console
    from rich.live import Live

    from engine.cli.display.status_panel import panel
    from engine.monitor.failed_jobs import LatestFailures

    console = Console(highlight=False)
    latest, view = LatestFailures(Queue(root)), None
    try:
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                value = status.collect(root)
                if value["state"] == "empty":
                    break
                width, height = console.size
                view = panel(value, root, latest(), width=width, height=height, now=time.time())
                live.update(view, refresh=True)
                time.sleep(WATCH_S)
    except KeyboardInterrupt:
        pass
    if view is None:
        return _none(root)
    console.print(view)
    return Exit.OK
