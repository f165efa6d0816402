"""`engine wait`."""

from __future__ import annotations

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import queue_option
from engine.cli.options.values import Number
from engine.monitor.status import exit_code


@click.command("wait", cls=EngineCommand)
@queue_option()
@click.option("--timeout", metavar="S", type=Number(0), help="Wait for so many seconds at most.")
def command(root: str, timeout: float | None) -> int:
    """Wait until no run is live here, and exit as `engine status --exit-code` would.

    0: finished, 3: finished and some failed, 23: stopped with work left; after --timeout 20: running, 21: paused,
    22: stalled. It returns at once when no run is live.
    """
    from engine.cli.display.phrases import missing_rows

    found = Batch(root).wait(timeout)
    value = found.to_json()
    counts = f"{found.state}: {found.final:,} of {found.total:,} final, {found.failed:,} failed"
    say("; ".join(part for part in (counts, missing_rows(value)) if part))
    return exit_code(value)
