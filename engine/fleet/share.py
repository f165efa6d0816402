"""`engine fleet share`: one share from its hold to `done/`, on this machine.

Dask's tasks, Slurm's arrays, Kubernetes' jobs and people all call it.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.budget import lease
from engine.errors import DiskError, EngineError, Exit, HeldError, UsageError
from engine.fleet import parts
from engine.fleet.group_use import GroupUse
from engine.fleet.ledger import Fleet, Generation, Ledger
from engine.fleet.machine import MachineDirectory
from engine.fleet.names import ShareKey
from engine.fleet.objects import UnavailableError
from engine.fleet.outlook import also_used
from engine.fleet.own_proxies import SHARED_ADVICE, named, own_proxies
from engine.fleet.share_hold import ShareEnd, ShareHold
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
        visit = ShareVisit(ledger, fleet, generation, key, machine, options, stop, say)
        code = max(code, visit.run(), key=_severity)
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


class ShareVisit:
    """This machine's visit to one share, from the look whether it is done to the exit code."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        generation: Generation,
        key: ShareKey,
        machine: MachineDirectory,
        options: MachineOptions,
        stop: SignalEvent,
        say: Say,
    ) -> None:
        self._ledger, self._fleet, self._generation, self._key = ledger, fleet, generation, key
        self._machine, self._options, self._stop, self._say = machine, options, stop, say
        self._place = machine.share(fleet.id, key)
        self._me = {"machine": machine.name, "token": secrets.token_hex(8), "at": utc()}
        self._group_use: GroupUse | None = None

    def run(self) -> int:
        done = self._ledger.done(self._key)
        if done is None:
            end = self._alone()
            if end.done is None:
                return self._tell(end)
            done = self._ledger.done(self._key)
        failed = done.counts.get("failed", 0) if done is not None else 0
        self._say(f"share {self._key} is done: {_counts(done.counts) if done else ''}")
        return Exit.SOME_FAILED if failed else Exit.OK

    def _alone(self) -> ShareEnd:
        """Work on it while no other process of this machine does. Raises HeldError."""
        lock = Lock(self._place.lock)
        if not lock.take(note={"share": str(self._key)}):
            pid = (living_holder(lock.path) or {}).get("pid")
            raise HeldError(f"another process of this machine is at work on share {self._key} (pid {pid})")
        with lock:
            try:
                self._use_group()
                return self._work()
            finally:
                if self._group_use is not None:
                    self._group_use.end()

    def _use_group(self) -> None:
        """Hold a proxy group for the share, where the fleet has some and no `join` holds one for it."""
        if not self._fleet.groups or self._options.joined:
            return
        pool = self._options.run.get("proxies")
        self._group_use = GroupUse(self._ledger, self._fleet, self._machine, self._me, pool)
        self._group_use.take(self._stop, self._say)

    def _work(self) -> ShareEnd:
        ledger, machine, key = self._ledger, self._machine, self._key
        jobs = ledger.jobs(self._generation, key)
        group = self._group_use.group if self._group_use is not None else self._options.group
        run = {**self._options.run, **self._fleet.options, "budget": machine.budget(group)}
        if self._group_use is not None and self._group_use.group is not None:
            run["proxies"] = self._group_use.proxies
        own = {} if group is not None else own_proxies(run)
        facts = {"share": str(key), "jobs": len(jobs), **({"egresses": sorted(own)} if own else {})}
        facts |= {} if group is None else {"group": group}
        work = RunWork(self._place, jobs, run, facts, self._stop, ledger.timing, lease.now_s)
        hold = ShareHold(
            key,
            frozenset(job.video_id for job in jobs),
            self._me,
            work,
            lease.now_s,
            ledger.timing,
            mine=lambda note: note.get("machine") == machine.name,
            beside=self._options.beside,
            on_hold=lambda number, note: self._say(f"share {key}: hold {number}, {len(jobs):,} videos"),
            on_first_beat=lambda: self._warn_of_others(own),
            read_part=parts.read,
        )
        try:
            end = perform(ledger.objects, hold.steps(), self._pause)
        except UnavailableError as exc:
            raise DiskError(
                f"{exc}. What was fetched is in {machine.root}: run again when it answers"
            ) from None
        finally:
            work.end()
        if end.done is not None:
            work.clear()
        elif work.said:
            self._say(f"share {key}: {work.said}")
        return end

    def _pause(self, seconds: float) -> None:
        if self._group_use is not None and self._group_use.lost.is_set():
            self._stop.set()
        if self._stop.is_set():  # wait a little all the same: the run is still draining
            SignalEvent().wait(min(seconds, self._ledger.timing.glance_s, 0.2))
        else:
            self._stop.wait(seconds)

    def _warn_of_others(self, own: Mapping[str, str]) -> None:
        """Say which of this machine's proxies another machine uses. Of two that begin at once one sees the other: it
        looks when its own beat is there."""
        with contextlib.suppress(EngineError):  # a ledger that does not answer now is asked by the next share
            for machine, both in also_used(self._ledger, self._machine.name, own).items():
                self._say(f"warning: {machine} uses {named(own, both)} as well: {SHARED_ADVICE}")

    def _tell(self, end: ShareEnd) -> int:
        key = self._key
        if end.why == "set aside":
            self._say(
                f"share {key} is set aside: several machines in a row died while they worked on it. `engine fleet "
                "retry --set-aside` gives it back"
            )
            return Exit.SOME_FAILED
        if end.why == "stopped" or self._stop.is_set():
            self._say(f"share {key} was left: the next hold goes on with what was brought")
            return Exit.WORK_REMAINS
        self._say(f"share {key}: its run ended with exit code {end.code}; what is final was brought")
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
