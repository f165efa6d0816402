"""`engine verify`."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click

from engine.batch import Batch
from engine.cli import print_lines, say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option, next_run, queue_option
from engine.cli.options.values import LOCAL_PATH
from engine.errors import EngineError, Exit, UsageError
from engine.queue.directory import open_queue

if TYPE_CHECKING:
    from engine.verify import Audit

# Sorts of problems that the next run sees to by itself.
LEFT_BY_KILLS = frozenset({"stray temporary file", "unfinished retry", "unfinished gathering"})


@click.command("verify", cls=EngineCommand)
@queue_option()
@json_option
@click.option("--repair", is_flag=True, help="Rebuild what segments and journals can rebuild.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=LOCAL_PATH,
    help="With --repair: the output directory was moved to DIR, or belongs to this copy of the queue from now on.",
)
def command(root: str, as_json: bool, repair: bool, output: str | None) -> int:
    """Audit the queue: every job in exactly one state, every ok row's files there with the right sha256.

    With --repair, tokens, manifest, checkpoint, status and caches are made again from segments and journals, and
    jobs whose files are not what their rows say are put back for the next run.

    Not beside a live run (exit 11). Exit 2 when the output directory is not there or another queue's. Exit 14 when
    damage is found, or left after a repair.
    """
    batch = Batch(root)
    open_queue(root)
    if output is not None and not repair:
        raise UsageError("-o goes with --repair: it names the place to which the output directory was moved")
    if repair:
        repaired = batch.repair(output=output)
        audit, value, lines = repaired.audit, repaired.to_json(), repaired.lines()
    else:
        audit = batch.verify()
        value, lines = audit.to_json(), audit.lines()
    if as_json:
        click.echo(json.dumps(value))
    else:
        for line in lines:
            print_lines(line)
    if not audit.ok or repair:
        _say_next(root, audit, repaired=repair)
    return Exit.OK if audit.ok else Exit.DAMAGED


def _say_next(root: str, audit: Audit, *, repaired: bool) -> None:
    """What to do next; nothing when not even `batch.json` can be read, which the audit has reported."""
    try:
        run = next_run(open_queue(root), root)
    except EngineError:
        return
    left = sum(count for state, count in audit.states.items() if state in ("pending", "deferred"))
    repair = f"`engine verify --repair -q {shlex.quote(root)}`"
    if repaired and audit.ok:
        if left:
            say(f"next: `{run}` fetches the {left:,} that {'is' if left == 1 else 'are'} left")
    elif repaired:
        say(f"next: `{run}` goes on with what is left")
    elif set(audit.totals) <= LEFT_BY_KILLS:
        say(f"next: `{run}` removes what a kill left over and goes on")
    else:
        say(f"next: {repair} repairs what can be repaired")
