"""`engine retry`."""

from __future__ import annotations

import click

from engine.cli import say
from engine.cli.failures import check_kinds
from engine.cli.options import queue_option
from engine.errors import Exit
from engine.queue.layout import open_queue


@click.command("retry")
@queue_option()
@click.option("--kind", "kinds", metavar="K", multiple=True, help="Only this kind; repeatable.")
@click.option("--absent", is_flag=True, help="Put back absent jobs as well.")
@click.option("--dry-run", is_flag=True, help="Say how many it would be, and do nothing.")
def command(root: str, kinds: tuple[str, ...], absent: bool, dry_run: bool) -> int:
    """Put failed jobs back into the queue; the next run does them again. Not beside a live run (exit 11)."""
    from engine.retry import retry

    asked = check_kinds(kinds)
    count = retry(open_queue(root), kinds=asked, absent=absent, dry_run=dry_run)
    if dry_run:
        say(f"{count:,} jobs would be put back")
    else:
        say(
            f"{count:,} jobs put back: `engine run -q {root}` does them again"
            if count
            else "nothing to put back"
        )
    return Exit.OK
