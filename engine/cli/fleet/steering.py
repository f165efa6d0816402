"""`engine fleet status`, `pause`, `resume`, `set` and `stop`: what people say to a fleet, and what it says."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from engine.cli import print_lines, say
from engine.cli.fleet.options import ledger_argument
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option
from engine.cli.set import read_pairs
from engine.errors import Exit, UsageError
from engine.fleet.ledger import Ledger
from engine.fleet.outlook import MANY, Outlook, exit_code
from engine.fleet.own_proxies import SHARED_ADVICE
from engine.fleet.sums import write_summary
from engine.units import duration, size

WATCH_S = 5.0
_SHOWN = 20


@click.command("status", cls=EngineCommand)
@ledger_argument
@json_option
@click.option("--watch", is_flag=True, help="Show it again every five seconds until ^C.")
@click.option(
    "--exit-code",
    "by_state",
    is_flag=True,
    help="Exit 0: finished, 3: finished and some failed or set aside, 20: running, 21: paused, 23: stopped with "
    "work left, 10: no fleet.",
)
def status(ledger: str, as_json: bool, watch: bool, by_state: bool) -> int:
    """Show how far a fleet is, from its ledger alone: no scheduler and no driver need be there."""
    if watch and by_state:
        raise UsageError("--exit-code cannot go with --watch, which runs until ^C")
    there = Ledger(ledger)
    look = Outlook(there)
    while True:
        value = look.collect()
        if value["not_in_summary"] >= MANY:
            write_summary(there)
        if as_json:
            click.echo(json.dumps(value))
        else:
            print_lines(*_lines(ledger, value))
        if not watch:
            return exit_code(value) if by_state else Exit.OK
        sys.stdout.flush()
        time.sleep(WATCH_S)


def _lines(ledger: str, value: dict[str, Any]) -> list[str]:
    """A status for people."""
    shares = value["shares"]
    final = value["ok"] + value["absent"] + value["failed"]
    share = 100 * final / value["jobs"] if value["jobs"] else 100.0
    parts = [
        f"{name.replace('_', ' ')} {shares[name]:,}"
        for name in ("at_work", "silent", "left", "waiting", "set_aside")
        if shares[name]
    ]
    lines = [
        f"{ledger}  {value['state']}",
        f"{final:,} of {value['jobs']:,} final ({share:.1f} %): ok {value['ok']:,}, absent {value['absent']:,}, "
        f"failed {value['failed']:,}",
        f"shares: {shares['done']:,} of {shares['total']:,} done{', ' * bool(parts)}{', '.join(parts)}",
    ]
    if value["kinds"]:
        lines.append(
            "why not: "
            + ", ".join(
                f"{kind} {count:,}"
                for kind, count in sorted(value["kinds"].items(), key=lambda each: -each[1])
            )
        )
    if value["rate_per_s"]:
        left = f", about {duration(value['eta_s'])} left" if value["eta_s"] else ""
        lines.append(f"{value['rate_per_s']:.2f} videos/s on {len(value['machines']):,} machines{left}")
    if value["requests"]:
        lines.append(f"shares that are done took {value['requests']:,} requests, {size(value['bytes'])}")
    if value["groups"]["total"]:
        lines.append(f"proxy groups: {value['groups']['held']:,} of {value['groups']['total']:,} in use")
    for machine in value["machines"][:_SHOWN]:
        group = "" if machine["group"] is None else f", proxy group {machine['group']}"
        limit = machine["limited_by"] or "nothing"
        rate = f"{machine['rate_per_s']:.2f}/s, limited by {limit}"
        lines.append(f"  {machine['machine']}: {machine['shares']} shares, {rate}{group}")
    if len(value["machines"]) > _SHOWN:
        lines.append(f"  and {len(value['machines']) - _SHOWN:,} more machines")
    for each in value["shared_proxies"][:_SHOWN]:
        machines = " and ".join(each["machines"][:3]) + (" and others" if len(each["machines"]) > 3 else "")
        proxies = "the same proxy" if each["proxies"] == 1 else f"the same {each['proxies']:,} proxies"
        lines.append(f"warning: {machines} use {proxies}: {SHARED_ADVICE}")
    troubled = [each for each in value["at_work"] if each["state"] in ("silent", "set aside")]
    for each in troubled[:_SHOWN]:
        since = f" for {duration(each['silent_s'])}" if each["silent_s"] else ""
        lines.append(
            f"  share {each['key']} is {each['state']}{since}: hold {each['hold']}, {each['machine'] or 'no beat'}"
        )
    return lines


@click.command("pause", cls=EngineCommand)
@ledger_argument
def pause(ledger: str) -> int:
    """Have all shares begin nothing new until `engine fleet resume`; each hears of it with its next beat."""
    return _ask(ledger, "pause", "asked every share to pause")


@click.command("resume", cls=EngineCommand)
@ledger_argument
def resume(ledger: str) -> int:
    """Have a fleet go on that was paused or stopped."""
    return _ask(ledger, "resume", "asked every share to go on")


@click.command("stop", cls=EngineCommand)
@ledger_argument
def stop(ledger: str) -> int:
    """Have all shares bring what they have and leave, and the driver end. `engine fleet run` goes on later."""
    return _ask(ledger, "stop", "asked every share to stop")


@click.command("set", cls=EngineCommand)
@ledger_argument
@click.argument("pairs", metavar="KEY=VALUE...", nargs=-1, required=True)
def set_(ledger: str, pairs: tuple[str, ...]) -> int:
    """Change rate, threads or processes of all runs at work and to come, as in `engine fleet set L rate=1/s`."""
    wanted = read_pairs(pairs)
    values = {name: getattr(wanted, name) for name in ("rate", "threads", "processes")}
    chosen = {name: value for name, value in values.items() if value is not None}
    return _ask(
        ledger, "set", f"asked every run for {' '.join(f'{k}={v}' for k, v in chosen.items())}", chosen
    )


def _ask(ledger: str, what: str, said: str, settings: dict[str, Any] | None = None) -> int:
    there = Ledger(ledger)
    there.fleet()
    there.ask(what, settings)
    say(f"{said}: those at work hear of it within {duration(there.timing.beat_s)}")
    return Exit.OK


COMMANDS = (status, pause, resume, set_, stop)
