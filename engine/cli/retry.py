"""`engine retry`."""

from __future__ import annotations

import click

from engine.cli import say
from engine.cli.failures import check_kinds
from engine.cli.once import Command
from engine.cli.options import next_run, older_option, queue_option
from engine.cli.slow import Slow
from engine.cli.sync import noun
from engine.errors import Exit
from engine.queue.channel_state import KIND as LISTING
from engine.queue.directory import open_queue
from engine.units import parse_duration_s


@click.command("retry", cls=Command)
@queue_option()
@click.option("--kind", "kinds", metavar="K", multiple=True, help="Only this kind; repeatable.")
@click.option("--absent", is_flag=True, help="Put back absent jobs as well.")
@older_option
@click.option("--dry-run", is_flag=True, help="Say how many it would be, and do nothing.")
def command(root: str, kinds: tuple[str, ...], absent: bool, older_than: str | None, dry_run: bool) -> int:
    """Put failed jobs back into the queue, and channels, playlists and searches that could not be listed (kind
    `listing`); the next run does them again. Not beside a live run (exit 11).

    Videos without captions may have some in a few weeks: `engine retry --kind no_captions --older-than 14d`.
    """
    from engine.recovery.requeue import retry, retry_listings

    asked = check_kinds(kinds)
    older_than_s = parse_duration_s(older_than, "--older-than") if older_than else None
    queue = open_queue(root)
    jobs = asked - {LISTING} if asked else asked
    sources = retry_listings(queue, dry_run=dry_run) if asked is None or LISTING in asked else 0
    count = 0
    if jobs or asked is None:
        count = retry(
            queue,
            kinds=jobs,
            absent=absent,
            older_than_s=older_than_s,
            dry_run=dry_run,
            on_progress=Slow("jobs"),
        )
    what = f"{count:,} jobs" if not sources else f"{count:,} jobs and {sources:,} {noun(sources)}"
    if dry_run:
        say(f"{what} would be put back")
    elif count or sources:
        say(f"{what} put back: `{next_run(queue, root)}` does them again")
    else:
        say("nothing to put back")
    return Exit.OK
