"""`engine fleet merge`, `export`, `verify` and `tidy`: what is made of shares that are done."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from engine.cli import print_lines, say
from engine.cli.display.slow_work import SlowWork
from engine.cli.fleet.options import ledger_argument
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option
from engine.cli.options.values import LOCAL_PATH
from engine.errors import Exit
from engine.fleet import results
from engine.fleet.audit import verify as verify_ledger
from engine.fleet.ledger import Ledger
from engine.fleet.results import Made
from engine.output.formats import FORMATS

_SHOWN = 20


@click.command("merge", cls=EngineCommand)
@ledger_argument
@click.option("-o", "--output", "path", metavar="FILE", type=LOCAL_PATH, required=True, help="A new file.")
def merge(ledger: str, path: str) -> int:
    """Write one manifest with the rows of all shares that are done: one row a video.

    Exit 4 when shares are open yet, whose rows are missing.
    """
    progress = SlowWork("shares")
    made = results.merge(Ledger(ledger), path, lambda done, total: progress("merged", done, total))
    return _told(made, f"{made.rows:,} rows in {path}")


@click.command("export", cls=EngineCommand)
@ledger_argument
@click.option(
    "-o",
    "--output",
    "root",
    metavar="DIR",
    type=LOCAL_PATH,
    required=True,
    help="A new or an empty directory, or this fleet's earlier export.",
)
@click.option(
    "-f",
    "--format",
    "kinds",
    type=click.Choice((*FORMATS, "none")),
    multiple=True,
    help="Formats beside the .json record; repeatable; none: only the record. Default: those of the plan.",
)
def export(ledger: str, root: str, kinds: tuple[str, ...]) -> int:
    """Write the record and the other formats of each video that is ok, in the shape of a run's output directory.

    Interrupted, it goes on where it was. `engine import DIR -q QUEUE` makes a batch of it, for search and tables.
    """  # fmt: skip
    chosen = [kind for kind in kinds if kind != "none"] if kinds else None
    progress = SlowWork("shares")
    made = results.export(Ledger(ledger), root, chosen, lambda done, total: progress("exported", done, total))
    for problem in made.damaged[:_SHOWN]:
        say(f"damaged: {problem}")
    code = _told(made, f"{made.counts['ok']:,} videos in {root}, {made.files:,} files written")
    return Exit.DAMAGED if made.damaged else code


def _told(made: Made, done: str) -> int:
    print_lines(done)
    if made.open_shares:
        say(
            f"{made.open_shares:,} of {made.shares + made.open_shares:,} shares are not done yet: theirs is missing"
        )
        return Exit.WORK_REMAINS
    return Exit.OK


@click.command("verify", cls=EngineCommand)
@ledger_argument
@json_option
@click.option("--rows-only", is_flag=True, help="Do not compute the sha256 of each record.")
def verify(ledger: str, as_json: bool, rows_only: bool) -> int:
    """Audit the ledger: each share that is done has exactly one row for each of its jobs, and each record the sha256
    of its row. Reads every part. Exit 14 when damage is found.
    """  # fmt: skip
    progress = SlowWork("shares")
    audit = verify_ledger(
        Ledger(ledger), lambda done, total: progress("audited", done, total), records=not rows_only
    )
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "ok": audit.ok, **asdict(audit)}))
    else:
        for problem in audit.problems[:_SHOWN]:
            print_lines(f"damage: {problem}")
        if len(audit.problems) > _SHOWN:
            print_lines(f"and {len(audit.problems) - _SHOWN:,} more")
        print_lines(
            f"{audit.done:,} of {audit.shares:,} shares done, {audit.rows:,} rows, {audit.records:,} records: "
            + ("no damage found" if audit.ok else f"{len(audit.problems):,} problems")
        )
        if audit.nobodys_parts:
            print_lines(f"note: {audit.nobodys_parts:,} parts are nobody's: `engine fleet tidy` removes them")
        if audit.foreign:
            print_lines(f"note: {audit.foreign:,} files there are somebody else's")
    return Exit.OK if audit.ok else Exit.DAMAGED


@click.command("tidy", cls=EngineCommand)
@ledger_argument
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
def tidy(ledger: str, dry_run: bool) -> int:
    """Remove what nobody needs any more: holds and beats of shares that are done, parts that no share is made of.

    Not beside `engine fleet plan` or `retry`, whose shares do not count yet.
    """
    removed = results.tidy(Ledger(ledger), dry_run=dry_run)
    what = ", ".join(f"{sort} {count:,}" for sort, count in sorted(removed.items())) or "nothing"
    print_lines(f"{'would remove' if dry_run else 'removed'}: {what}")
    return Exit.OK


COMMANDS = (merge, export, verify, tidy)
