"""`engine fleet share`: one share from its hold to `done/`, on this machine.

Dask's tasks, Slurm's arrays, Kubernetes' jobs and people all call it.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.budget import lease
from engine.errors import DiskError, Exit, HeldError, UsageError
from engine.fleet import parts
from engine.fleet.group_use import GroupUse
from engine.fleet.ledger import Fleet, Generation, Ledger
from engine.fleet.machine import MachineDirectory
from engine.fleet.names import ShareKey
from engine.fleet.objects import UnavailableError
from engine.fleet.protocol import ShareEnd, ShareHold
from engine.fleet.steps import perform
from engine.fleet.work import RunWork
from engine.storage.locks import Lock, living_holder
from engine.storage.processes import SignalEvent
from engine.storage.timestamps import utc

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What belongs to the machine: its directory, and options of `engine run` by their long names.

    `group`: the proxy group that its `join` holds; None where it has none, or where the share takes one itself.
    """

    work: str
    run: Mapping[str, Any] = field(default_factory=dict, repr=False)
    group: int | None = None
    joined: bool = False
    beside: bool = False


def run_share(ledger: Ledger, which: str, options: MachineOptions, stop: SignalEvent, say: Say) -> int:
    """Work on a share, by its number (then in all its generations) or its key; returns the exit code."""
    fleet, generations = ledger.fleet(), ledger.generations()
    machine = MachineDirectory(options.work)
    code = int(Exit.OK)
    keys = chosen(which, fleet, generations)
    for generation, key in keys:
        code = max(code, _one(ledger, fleet, generation, key, machine, options, stop, say), key=_severity)
        if stop.is_set() and code in (Exit.OK, Exit.SOME_FAILED) and key != keys[-1][1]:
            return Exit.WORK_REMAINS
    return code


def chosen(which: str, fleet: Fleet, generations: list[Generation]) -> list[tuple[Generation, ShareKey]]:
    """The shares that a number or a key names. Raises UsageError for one that is not there."""
    key = ShareKey.parse(which)
    number = (
        int(which) if which.isascii() and which.isdigit() and len(which) < 12 else key.number if key else -1
    )
    if not 0 <= number < fleet.shares:
        raise UsageError(f"there is no share {which!a}: this fleet has shares 0 to {fleet.shares - 1:,}")
    wanted = None if key is None or "-" not in which else key.generation
    return [
        (generation, ShareKey(number, generation.number))
        for generation in generations
        if number in generation.jobs and wanted in (None, generation.number)
    ]


def _severity(code: int) -> int:
    """What a command that did several things says: rather that something is left than that some failed."""
    order = (Exit.OK, Exit.SOME_FAILED, Exit.WORK_REMAINS)
    return order.index(Exit(code)) if code in order else len(order)


def _one(
    ledger: Ledger,
    fleet: Fleet,
    generation: Generation,
    key: ShareKey,
    machine: MachineDirectory,
    options: MachineOptions,
    stop: SignalEvent,
    say: Say,
) -> int:
    done = ledger.done(key)
    place = machine.share(fleet.id, key)
    if done is None:
        lock = Lock(place.lock)
        if not lock.take(note={"share": str(key)}):
            holder = living_holder(place.lock) or {}
            raise HeldError(
                f"another process of this machine is at work on share {key} (pid {holder.get('pid')})"
            )
        with lock:
            me = {"machine": machine.name, "token": secrets.token_hex(8), "at": utc()}
            group_use = _group_use(ledger, fleet, machine, options, me, stop, say)
            try:
                end = _work(ledger, fleet, generation, key, machine, options, group_use, me, stop, say)
            finally:
                if group_use is not None:
                    group_use.end()
        if end.done is None:
            return _tell(end, key, stop, say)
        done = ledger.done(key)
    failed = done.counts.get("failed", 0) if done is not None else 0
    say(f"share {key} is done: {_counts(done.counts) if done else ''}")
    return Exit.SOME_FAILED if failed else Exit.OK


def _group_use(
    ledger: Ledger,
    fleet: Fleet,
    machine: MachineDirectory,
    options: MachineOptions,
    me: dict[str, Any],
    stop: SignalEvent,
    say: Say,
) -> GroupUse | None:
    """The share's own hold on a proxy group, where the fleet has some and no `join` holds one for it."""
    if not fleet.groups or options.joined:
        return None
    group_use = GroupUse(ledger, fleet, machine, me, options.run.get("proxies"))
    for warning in group_use.warnings:
        say(f"warning: {warning}")
    if group_use.start(stop, lambda: say("every proxy group is another machine's: waiting for one")):
        say(f"this machine uses proxy group {group_use.group}")
    return group_use


def _work(
    ledger: Ledger,
    fleet: Fleet,
    generation: Generation,
    key: ShareKey,
    machine: MachineDirectory,
    options: MachineOptions,
    group_use: GroupUse | None,
    me: dict[str, Any],
    stop: SignalEvent,
    say: Say,
) -> ShareEnd:
    jobs = ledger.jobs(generation, key)
    group = group_use.group if group_use is not None else options.group
    run = {**options.run, **fleet.options, "budget": machine.budget(group)}
    if group_use is not None and group_use.group is not None:
        run["proxies"] = group_use.proxies
    facts = {"share": str(key), "jobs": len(jobs), **({} if group is None else {"group": group})}
    work = RunWork(machine.share(fleet.id, key), jobs, run, facts, stop, ledger.timing, lease.now_s)
    hold = ShareHold(
        key,
        frozenset(job.video_id for job in jobs),
        me,
        work,
        lease.now_s,
        ledger.timing,
        mine=lambda note: note.get("machine") == machine.name,
        beside=options.beside,
        on_hold=lambda number, note: say(f"share {key}: hold {number}, {len(jobs):,} videos"),
        read_part=parts.read,
    )

    def pause(seconds: float) -> None:
        if group_use is not None and group_use.lost.is_set():
            stop.set()
        stop.wait(seconds) if not stop.is_set() else _short(seconds, ledger.timing.glance_s)

    try:
        end = perform(ledger.objects, hold.steps(), pause)
    except UnavailableError as exc:
        raise DiskError(f"{exc}. What was fetched is in {machine.root}: run again when it answers") from None
    finally:
        work.end()
    if end.done is not None:
        work.clear()
    elif work.said:
        say(f"share {key}: {work.said}")
    return end


def _short(seconds: float, at_most: float) -> None:
    """Wait a little, though this process is to leave: its run is still draining."""
    SignalEvent().wait(min(seconds, at_most, 0.2))


def _tell(end: ShareEnd, key: ShareKey, stop: SignalEvent, say: Say) -> int:
    if end.why == "set aside":
        say(
            f"share {key} is set aside: several machines in a row died while they worked on it. `engine fleet retry "
            "--set-aside` gives it back"
        )
        return Exit.SOME_FAILED
    if end.why == "stopped" or stop.is_set():
        say(f"share {key} was left: the next hold goes on with what was brought")
        return Exit.WORK_REMAINS
    say(f"share {key}: its run ended with exit code {end.code}; what is final was brought")
    return end.code or Exit.WORK_REMAINS


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {counts.get(name, 0):,}" for name in ("ok", "absent", "failed"))


def on_signals(stop: SignalEvent) -> Callable[[], int]:
    """Set `stop` at the signals that end a run; returns a function that gives the signal's exit code, 0 for none."""
    seen: list[int] = []

    def handle(number: int, _frame: object) -> None:
        seen.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
    return lambda: 128 + seen[0] if seen else 0
