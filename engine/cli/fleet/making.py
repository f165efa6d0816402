"""`engine fleet plan` and `engine fleet retry`: they make shares."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from contextlib import ExitStack
from typing import Any

import click

from engine.budget import parse_rate
from engine.cli import print_lines, say
from engine.cli.display.slow_work import SlowWork
from engine.cli.fleet.options import FROZEN, frozen_options, ledger_argument, options_of_run
from engine.cli.options.commands import EngineCommand
from engine.cli.options.network import proxies_option
from engine.cli.options.values import Whole
from engine.errors import Exit, UsageError
from engine.fleet import names
from engine.fleet.group_use import dealt as dealt_proxies
from engine.fleet.group_use import hashes
from engine.fleet.ledger import Fleet, Ledger, Replaced
from engine.fleet.planning import Dealt, Spill, commonest, deal, spill
from engine.network.proxies import read_proxies
from engine.seeding.reading import Reading

SHARE = 20_000
VIDEOS_AN_HOUR = 1800  # of an egress, for each request per second: two requests a video


@click.command("plan", cls=EngineCommand)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@ledger_argument
@click.option(
    "--share",
    "share_size",
    metavar="N",
    type=Whole(1, 1_000_000),
    help=f"Videos of a share (default {SHARE:,}, at least).",
)
@click.option(
    "--egresses",
    metavar="N",
    type=Whole(1, 1024),
    help="Instead of --share: about an hour of a machine with N egresses.",
)
@click.option(
    "--rate", metavar="R", default="0.5/s", show_default=True, help="With --egresses: at this rate of each."
)
@click.option(
    "--groups",
    metavar="N",
    type=Whole(1, 999),
    help="Deal the proxies of --proxies to N groups; a machine uses one at a time.",
)
@proxies_option
@click.option("--add", is_flag=True, help="Add to a fleet that is there; videos that it has are left out.")
@click.option("--column", metavar="NAME", help="The column (or key) that holds the video, by name or number.")
@click.option("--sheet", metavar="NAME", help="The sheet of a workbook.")
@click.option("--encoding", metavar="NAME", help="The encoding of text files and stdin.")
@click.option(
    "--keep-columns",
    metavar="all|none|A,B",
    default="all",
    show_default=True,
    help="Which of the other columns are kept with a video.",
)
@click.option(
    "--skip-known",
    metavar="FILE",
    multiple=True,
    help="Leave out the videos in this file or folder; repeatable.",
)
@options_of_run(FROZEN)
def plan(
    inputs: tuple[str, ...],
    ledger: str,
    share_size: int | None,
    egresses: int | None,
    rate: str,
    groups: int | None,
    proxies: str | None,
    add: bool,
    column: str | None,
    sheet: str | None,
    encoding: str | None,
    keep_columns: str,
    skip_known: tuple[str, ...],
    **values: Any,
) -> int:
    """Read the videos and deal them to shares, in a ledger that is made in a new or an empty place.

    INPUT is what `engine seed` reads, but for channels, playlists and searches. The options on what is fetched are
    fixed here for the whole fleet. --add deals more videos later.
    """  # fmt: skip
    there = Ledger(ledger)
    size = _share_size(share_size, egresses, rate)
    options = frozen_options(values)
    fleet, elders = _existing(there, add=add)
    errors: list[str] = []
    reading = Reading(column, sheet, keep_columns, skip_known, encoding)
    unwanted = reading.known_elsewhere(say)
    streams = reading.open(inputs, errors, say)
    if errors:
        raise UsageError(*errors)
    pools = _groups(groups, proxies)
    with ExitStack() as stack:
        waiting = Spill(stack)
        progress = SlowWork("videos")
        found = spill(
            [progress.over("read", stream) for stream in streams],
            waiting,
            None if unwanted is None else lambda video_id: not unwanted.missing([video_id]),
        )
        if not waiting.count and (found.rejected or not found.read):
            raise UsageError("nothing that was given names a video", *commonest(found))
        if fleet is None:
            fleet = Fleet(secrets.token_hex(16), max(1, math.ceil(waiting.count / size)), options, pools)
            there.make(fleet)
        else:
            _same_options(fleet, options, pools)
        generation = deal(there, waiting, fleet.shares, "add" if elders else "plan", elders, found)
    _tell(found, len(generation.jobs), ledger)
    return Exit.OK


def _existing(there: Ledger, *, add: bool) -> tuple[Fleet | None, list[Any]]:
    """The fleet that is there, and its generations. Raises UsageError when it is not asked for."""
    if there.read(names.FLEET) is None:
        if add:
            there.fleet()  # says that there is none
        return None, []
    fleet, elders = there.fleet(), there.generations()
    if elders and not add:
        raise UsageError(f"{there.where} holds a fleet already: --add deals more videos to it")
    return fleet, elders


def _share_size(size: int | None, egresses: int | None, rate: str) -> int:
    if size is not None and egresses is not None:
        raise UsageError("--share and --egresses say the same: give one of the two")
    if egresses is None:
        return size or SHARE
    try:
        parsed = parse_rate(rate)
    except ValueError as exc:
        raise UsageError(f"--rate: {exc}") from None
    per_s = getattr(parsed, "per_s", None)
    if not per_s:
        raise UsageError(f"--rate {rate}: with --egresses give a number, as 0.5/s")
    return max(100, round(egresses * float(per_s) * VIDEOS_AN_HOUR))


def _groups(groups: int | None, proxies: str | None) -> tuple[tuple[str, ...], ...]:
    if groups is None:
        return ()
    if proxies is None:
        raise UsageError("--groups deals a pool of proxies: name it with --proxies FILE")
    urls, warnings = read_proxies(proxies)
    for warning in warnings:
        say(f"warning: {warning}")
    different = list(dict.fromkeys(urls))
    if len(different) < groups:
        raise UsageError(f"--groups {groups}: {proxies} names {len(different)} different proxies")
    return tuple(tuple(hashes(group)) for group in dealt_proxies(different, groups))


def _same_options(fleet: Fleet, options: dict[str, Any], pools: tuple[tuple[str, ...], ...]) -> None:
    """Raise UsageError when something is given that this fleet was begun with otherwise."""
    ctx, typed = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    named = {"formats": "format"}
    for name in FROZEN:
        key = named.get(name, name)
        if ctx.get_parameter_source(name) is typed and options.get(key) != fleet.options.get(key):
            raise UsageError(
                f"--{key.replace('_', '-')}: this fleet was begun with {fleet.options.get(key)!r}; leave it out, or "
                "plan another fleet"
            )
    if pools and pools != fleet.groups:
        raise UsageError("--groups: this fleet was begun with other groups; leave it out")


def _tell(found: Dealt, shares: int, ledger: str) -> None:
    print_lines(
        f"read {found.read:,}: {found.added:,} videos in {shares:,} shares, duplicate {found.duplicate:,}, known "
        f"{found.known:,}, rejected {found.rejected:,}"
    )
    for reason in commonest(found):
        say(f"  rejected: {reason}")
    say(
        f"next: `engine fleet run {ledger} --scheduler ADDRESS`, or `engine fleet share {ledger} N` for each share"
    )


@click.command("retry", cls=EngineCommand)
@ledger_argument
@click.option("--kind", "kinds", metavar="K", multiple=True, help="Only jobs of this kind; repeatable.")
@click.option("--absent", is_flag=True, help="Absent jobs as well.")
@click.option("--set-aside", is_flag=True, help="Give shares back that were set aside, and nothing else.")
def retry(ledger: str, kinds: tuple[str, ...], absent: bool, set_aside: bool) -> int:
    """Deal the failed jobs of shares that are done again, as another generation of the fleet.

    Each job keeps exactly one row: in a merge that of the latest generation counts.
    """
    from engine.fleet.results import give_back, retry_jobs
    from engine.monitor.failed_jobs import check_kinds

    there = Ledger(ledger)
    fleet, elders = there.fleet(), there.generations()
    if set_aside:
        count = give_back(there)
        print_lines(f"{count:,} share{'s' * (count != 1)} given back")
        return Exit.OK
    wanted = check_kinds(kinds)
    progress = SlowWork("shares")
    with ExitStack() as stack:
        waiting, found = Spill(stack), Dealt()
        counts, reasons = Counter[str](), Counter[str]()
        for row in retry_jobs(
            there,
            frozenset(map(str, wanted or ())),
            absent,
            lambda done, total: progress("looked at", done, total),
        ):
            waiting.add(row["video_id"], row.get("input") or {})
            counts[row["status"]] += 1
            reasons[row["kind"]] += 1
        if waiting.count:
            deal(there, waiting, fleet.shares, "retry", elders, found, Replaced(counts, reasons))
    print_lines(f"{found.added:,} videos are tried again")
    return Exit.OK


COMMANDS = (plan, retry)
