"""`engine retry`."""

from __future__ import annotations

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.display.slow_work import SlowWork
from engine.cli.failures import split_kinds
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import next_run, older_option, queue_option
from engine.cli.sync import noun
from engine.errors import Exit
from engine.model import Kind
from engine.queue.directory import open_queue
from engine.queue.manifest import read_checkpoint
from engine.units import parse_duration_s


@click.command("retry", cls=EngineCommand)
@queue_option()
@click.option("--kind", "kinds", metavar="K", multiple=True, help="Only this kind; repeatable.")
@click.option("--absent", is_flag=True, help="Put back absent jobs as well.")
@older_option
@click.option("--dry-run", is_flag=True, help="Print how many it would be, and do nothing.")
def command(root: str, kinds: tuple[str, ...], absent: bool, older_than: str | None, dry_run: bool) -> int:
    """Put failed jobs back into the queue, and channels, playlists and searches that could not be listed (kind
    `listing`); the next run does them again. Not beside a live run (exit 11).

    Videos without captions may have some in a few weeks: `engine retry --kind no_captions --older-than 14d`.
    """
    asked = split_kinds(kinds)
    kept = _kept(root) if not asked or Kind.KEPT in asked else 0
    back = Batch(root).retry(
        asked,
        absent=absent,
        older_than_s=parse_duration_s(older_than, "--older-than") if older_than else None,
        dry_run=dry_run,
        on_progress=SlowWork("jobs"),
    )
    sources = f" and {back.sources:,} {noun(back.sources)}" if back.sources else ""
    if dry_run:
        say(f"{back.jobs:,} jobs{sources} would be put back")
    elif back.jobs or back.sources:
        say(f"{back.jobs:,} jobs{sources} put back: `{next_run(open_queue(root), root)}` does them again")
    else:
        say("nothing to put back")
    if kept and back.jobs:
        run = next_run(open_queue(root), root)
        say(
            f"{kept:,} had ended as `kept` and will again where the file is still there: `{run} --replace` fetches "
            "and replaces these"
        )
    return Exit.OK


def _kept(root: str) -> int:
    """How many jobs ended as `kept`."""
    checkpoint = read_checkpoint(open_queue(root))
    return checkpoint.counts.kinds.get(Kind.KEPT, 0) if checkpoint else 0
