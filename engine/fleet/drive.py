"""`engine fleet run`: the driver, which hands shares to a Dask scheduler.

It hands out no more shares than there are places, and ties each to a worker with a place free. Such a task runs there
or nowhere, so the share of a worker that has left is handed out again. The driver believes the ledger alone: a task
that came back, however it ended, is looked up in `done/`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.errors import Exit
from engine.fleet import names, task
from engine.fleet.dask_tasks import DaskTasks, connect, ended
from engine.fleet.ledger import Ledger
from engine.fleet.names import ShareKey
from engine.fleet.places import FreePlaces, Machine
from engine.fleet.share import Say
from engine.fleet.sums import counting, folded, write_summary
from engine.storage.processes import SignalEvent

_POLL_S = 0.5
_PLACES_S = 1.0
_LEDGER_S = 60.0
_BACK_OFF_S = (1.0, 5.0, 30.0, 120.0, 300.0)
_HELD_S = 30.0  # at most, until a share is tried again at which a machine is still at work
_FATAL = frozenset({Exit.BUG, Exit.USAGE})  # of a share: what every machine would meet
_TRIES = 8  # of one share that ends so, before the driver gives it up for now


@dataclass(frozen=True, slots=True)
class Out:
    """A share that is out, and the address of the one worker that may run it."""

    key: ShareKey
    worker: str


@dataclass
class Handed:
    """The shares that are out, and those that wait for another try."""

    out: dict[Any, Out] = field(default_factory=dict)  # by future
    todo: list[ShareKey] = field(default_factory=list)
    not_before: dict[ShareKey, float] = field(default_factory=dict)
    tries: Counter[ShareKey] = field(default_factory=Counter)
    failures: Counter[ShareKey] = field(default_factory=Counter)
    given_up: dict[ShareKey, str] = field(default_factory=dict)
    set_aside: set[ShareKey] = field(default_factory=set)
    done: set[ShareKey] = field(default_factory=set)


class Driver:
    """Hands out shares until all are done, or none can be."""

    def __init__(
        self,
        ledger: Ledger,
        scheduler: str,
        say: Say,
        *,
        ahead: int = 0,
        twice: bool = False,
        work: Callable[..., tuple[int, str]] = task.share,
        on_tick: Callable[[Handed], None] = lambda handed: None,
    ) -> None:
        self._ledger, self._scheduler, self._say = ledger, scheduler, say
        self._ahead, self._twice, self._work, self._on_tick = ahead, twice, work, on_tick
        self._handed = Handed()
        self._machines: dict[str, Machine] = {}  # by the addresses of their workers
        self._looked_at_s, self._told = -_PLACES_S, ""

    def run(self, stop: SignalEvent) -> int:
        """Returns the exit code. Raises UsageError when the scheduler cannot be reached."""
        fleet = self._ledger.fleet()
        handed = self._handed
        keys = [key for generation in self._ledger.generations() for key in generation.share_keys()]
        handed.done = self._ledger.done_keys() & set(keys)
        handed.todo = self._unbegun_first(set(keys) - handed.done)
        self._say(f"{len(keys):,} shares, {len(handed.done):,} of them done")
        if handed.todo:
            with connect(self._scheduler) as client:
                prefix = f"engine-{fleet.id[:12]}"
                code = self._loop(DaskTasks(client, self._ledger.where, prefix, self._work), stop)
            if code is not None:
                return code
        write_summary(self._ledger)
        return self._result()

    def _unbegun_first(self, keys: set[ShareKey]) -> list[ShareKey]:
        """In order, but for shares that are begun: a machine may be at work on one, and another would wait for it."""
        begun = set(self._ledger.names("beats/"))
        return sorted(keys, key=lambda key: (names.beat(key) in begun, key))

    # ---- the loop ----------------------------------------------------------------------------------------
    def _loop(self, tasks: DaskTasks, stop: SignalEvent) -> int | None:
        handed = self._handed
        looked_s = time.monotonic()
        # Of a share that is done a second copy may be out: it leaves by itself.
        while handed.todo or {out.key for out in handed.out.values()} - handed.done:
            if stop.is_set():
                self._say("stopped: the shares that are out finish; run again to go on")
                return Exit.WORK_REMAINS
            if not tasks.connected:
                self._say(f"the scheduler {self._scheduler} is gone: start it again, then this command")
                return Exit.WORK_REMAINS
            self._look_at_machines(tasks)
            self._collect()
            self._hand_out(tasks)
            tasks.show_demand(min(self._ahead, len(handed.todo)))
            if time.monotonic() - looked_s >= min(_LEDGER_S, self._ledger.timing.beat_s):
                looked_s = time.monotonic()
                if self._ledger.asked().stopped:
                    self._say("stopped by `engine fleet stop`: run again to go on")
                    return Exit.WORK_REMAINS
                write_summary(self._ledger)
            self._on_tick(handed)
            stop.wait(_POLL_S if handed.out or not handed.todo else _PLACES_S)
        return None

    def _look_at_machines(self, tasks: DaskTasks) -> None:
        """See which machines are there. A scheduler that does not answer changes nothing."""
        now = time.monotonic()
        if now - self._looked_at_s < _PLACES_S:
            return
        self._looked_at_s = now
        there = tasks.machines()
        if there is not None:
            self._machines = there
        places = sum(machine.places for machine in self._machines.values())
        text = "" if places else "no machine has joined yet: `engine fleet join` on each"
        if text and text != self._told:
            self._say(text)
        self._told = text

    def _collect(self) -> None:
        """See to the shares whose tasks have come back, and to those whose workers have left."""
        handed = self._handed
        for future, out in list(handed.out.items()):
            came_back = future.done()
            if not came_back and out.worker in self._machines:
                continue
            del handed.out[future]
            if out.key in handed.done:
                continue  # its second copy
            if self._ledger.read(names.done(out.key)) is not None:
                handed.done.add(out.key)
            elif out.key in (other.key for other in handed.out.values()):
                pass  # its second copy is still out
            elif came_back:
                self._again(out.key, *ended(future))
            else:
                self._say(f"share {out.key} is handed out again: its machine has left")
                handed.todo.append(out.key)
            future.release()

    def _again(self, key: ShareKey, code: int, said: str) -> None:
        """Hand a share out once more, later each time, unless it cannot be done."""
        handed = self._handed
        last = said.splitlines()[-1] if said else ""
        if code == Exit.SOME_FAILED:
            handed.set_aside.add(key)
            self._say(last)
            return
        wait_s = _BACK_OFF_S[min(handed.tries[key], len(_BACK_OFF_S)) - 1]
        if code == Exit.HELD:  # by what an earlier driver or a dead worker left at work there: it ends
            wait_s = min(wait_s, _HELD_S)
        else:
            handed.failures[key] += 1
        failures = handed.failures[key]
        if (code in _FATAL and failures >= 3) or failures >= _TRIES:
            handed.given_up[key] = last
            self._say(f"share {key} is given up for now, after {failures} tries: {last}")
            return
        handed.not_before[key] = time.monotonic() + wait_s
        handed.todo.append(key)
        self._say(f"share {key} is handed out again in {wait_s:g} s: {last or f'exit code {code}'}")

    def _hand_out(self, tasks: DaskTasks) -> None:
        handed, now = self._handed, time.monotonic()
        free = FreePlaces(self._machines, (out.worker for out in handed.out.values()))
        for key in [key for key in handed.todo if handed.not_before.get(key, 0.0) <= now]:
            worker = free.take()
            if worker is None:
                return
            handed.todo.remove(key)
            self._submit(tasks, Out(key, worker))
        if self._twice and not handed.todo:
            copies = Counter(out.key for out in handed.out.values())
            for out in [out for out in handed.out.values() if copies[out.key] == 1]:
                beside = free.take(but=out.worker)
                if beside is not None:
                    self._submit(tasks, Out(out.key, beside), beside=True)

    def _submit(self, tasks: DaskTasks, out: Out, *, beside: bool = False) -> None:
        self._handed.tries[out.key] += 1
        self._handed.out[tasks.submit(str(out.key), out.worker, beside=beside)] = out

    def _result(self) -> int:
        handed = self._handed
        if handed.given_up:
            self._say(
                f"{len(handed.given_up):,} shares could not be worked on: see above; run again to go on"
            )
            return Exit.WORK_REMAINS
        counts, _ = counting(folded(self._ledger, handed.done)[0], self._ledger.generations())
        total = f"ok {counts['ok']:,}, absent {counts['absent']:,}, failed {counts['failed']:,}"
        aside = f"; {len(handed.set_aside)} shares are set aside" if handed.set_aside else ""
        self._say(f"{len(handed.done):,} shares are done: {total}{aside}")
        return Exit.SOME_FAILED if counts["failed"] or handed.set_aside else Exit.OK
