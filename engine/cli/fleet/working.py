"""`engine fleet share`, `join` and `run`: what machines do."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import click

from engine.cli import say
from engine.cli.fleet.options import MACHINE, ledger_argument, machine_options, options_of_run, work_option
from engine.cli.options.commands import EngineCommand
from engine.cli.options.values import LOCAL_PATH, Whole
from engine.errors import Exit, UsageError
from engine.fleet.ledger import Ledger
from engine.fleet.share import MachineOptions, on_signals, run_share
from engine.process import environment
from engine.process.threads import start_thread
from engine.storage import disk
from engine.storage.processes import SignalEvent

PLACES = 2
_STDIN = 0
_JOIN_BYTES = 1 << 20


scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS",
    required=True,
    envvar="ENGINE_FLEET_SCHEDULER",
    help="Dask's scheduler: tcp://head:8786.",
)


@click.command("share", cls=EngineCommand)
@ledger_argument
@click.argument("share", metavar="N")
@work_option
@click.option(
    "--beside",
    is_flag=True,
    help="Do not wait for a machine that is at work on it: the first to finish wins.",
)
@click.option(
    "--until-stdin-ends", is_flag=True, help="Leave the share, as by a signal, when standard input ends."
)
@click.option("--joined", metavar="FILE", type=LOCAL_PATH, hidden=True)
@options_of_run(MACHINE)
def share(
    ledger: str,
    share: str,
    work: str,
    beside: bool,
    until_stdin_ends: bool,
    joined: str | None,
    **values: Any,
) -> int:
    """Work on one share until it is done: a hold, a run, its rows brought to the ledger. Again after any crash.

    N is a number from 0 on, as Slurm's $SLURM_ARRAY_TASK_ID or Kubernetes' $JOB_COMPLETION_INDEX, or a key as
    status shows it. A share that is done costs one look. Exit codes are those of `engine run`; 4: it was left.
    """  # fmt: skip
    options = _of_join(joined) if joined else machine_options(work, values)
    environment.forget_secrets()
    stop = SignalEvent()
    signalled = on_signals(stop)
    if until_stdin_ends:
        start_thread(_watch, stop, name="stdin")
    code = run_share(Ledger(ledger), share, replace(options, beside=beside), stop, say)
    return signalled() or code if code == Exit.WORK_REMAINS else code


def _of_join(path: str) -> MachineOptions:
    """What the machine's `join` hands to its shares."""
    try:
        value = json.loads(disk.read_small(path, _JOIN_BYTES) or b"")
        return MachineOptions(value["work"], value["run"], value["group"], joined=True)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} cannot be read: `engine fleet join` writes it") from None


def _watch(stop: SignalEvent) -> None:
    try:
        while os.read(_STDIN, 4096):
            pass
    except OSError:  # closed: the same
        pass
    stop.set()


@click.command("join", cls=EngineCommand)
@ledger_argument
@scheduler_option
@click.option(
    "--places",
    metavar="N",
    type=Whole(1, 64),
    default=PLACES,
    show_default=True,
    help="How many shares are at work here at once; they share one budget.",
)
@work_option
@options_of_run(MACHINE)
def join(ledger: str, scheduler: str, places: int, work: str, **values: Any) -> int:
    """Have this machine work for a fleet, until ^C or TERM: its shares then bring what they have and leave.

    The options are those of `engine run` that belong to a machine; engine.toml in this directory is read as well.
    """  # fmt: skip
    from engine.fleet.join import join as offer

    options = machine_options(work, values)
    stop = SignalEvent()
    signalled = on_signals(stop)
    code = offer(Ledger(ledger), scheduler, options, places, stop, say)
    return signalled() or code


@click.command("run", cls=EngineCommand)
@ledger_argument
@scheduler_option
@click.option(
    "--ahead",
    metavar="N",
    type=Whole(0, 10_000),
    default=0,
    show_default=True,
    help="Tell the scheduler of up to N shares that wait for a place, so that an autoscaler sees demand.",
)
@click.option(
    "--twice",
    is_flag=True,
    help="At the end let idle places begin shares that are at work elsewhere; it costs requests.",
)
def run(ledger: str, scheduler: str, ahead: int, twice: bool) -> int:
    """Hand out shares until all are done. The same line again after any crash.

    What is done is asked of the ledger alone, so driver, scheduler and machines may die at any time. Exit codes: 0
    all done, none failed; 3 some failed, or shares are set aside; 4 stopped, or the scheduler is gone.
    """  # fmt: skip
    from engine.fleet.drive import Driver

    there = Ledger(ledger)
    if there.asked().stopped:
        there.ask("resume")
    stop = SignalEvent()
    signalled = on_signals(stop)
    code = Driver(there, scheduler, say, ahead=ahead, twice=twice).run(stop)
    return signalled() or code


COMMANDS = (share, join, run)
