"""`engine verify`."""

from __future__ import annotations

import shlex

import click

from engine.cli import say, tell
from engine.cli.once import Command
from engine.cli.options import json_option, next_run, queue_option
from engine.cli.places import PLACE
from engine.errors import EngineError, Exit, UsageError
from engine.output import destination
from engine.queue.directory import Queue, open_queue
from engine.queue.marker import output_of


@click.command("verify", cls=Command)
@queue_option()
@json_option
@click.option("--repair", "mend", is_flag=True, help="Rebuild what segments and journals can rebuild.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=PLACE,
    help="With --repair: the output directory was moved to DIR, or is to stay with this copy of the queue.",
)
def command(root: str, as_json: bool, mend: bool, output: str | None) -> int:
    """Audit the queue: every job in exactly one state, every ok row's files there with the right sha256.

    With --repair, tokens, manifest, checkpoint, status and caches are made again from segments and journals, and
    jobs whose files are not what their rows say are put back for the next run.

    Not beside a live run (exit 11). Exit 2 when the output directory is not there or another queue's. Exit 14 when
    damage is found, or left after a repair.
    """
    from engine.verify import audit

    queue = open_queue(root)
    if output is not None and not mend:
        raise UsageError("-o goes with --repair: it says where the output directory was moved to")
    if mend:
        from engine.recovery.repair import repair

        repaired = repair(root, output)
        found, value, lines = repaired.audit, repaired.to_json(), repaired.lines()
    else:
        destination.check(queue, _output(queue))
        found = audit(root)
        value, lines = found.to_json(), found.lines()
    if as_json:
        import json

        click.echo(json.dumps(value))
    else:
        for line in lines:
            tell(line)
    if not found.ok:
        _say_next(queue, root, mended=mend)
    return Exit.OK if found.ok else Exit.DAMAGED


def _say_next(queue: Queue, root: str, *, mended: bool) -> None:
    """What to do about damage; nothing where not even `batch.json` can be read, of which the audit has told."""
    try:
        run = next_run(queue, root)
    except EngineError:
        return
    if mended:
        say(f"next: `{run}` goes on with what is left")
    else:
        say(f"next: after a crash run again, `{run}`; else `engine verify --repair -q {shlex.quote(root)}`")


def _output(queue: Queue) -> str | None:
    """Where the output is; None before the first run, and when `batch.json` cannot be read: the audit says that."""
    try:
        return output_of(queue)
    except UsageError:
        return None
