"""Machines as coroutines over a ledger in memory: they take turns, one step each, and die where the test says.

The machines run the engine's own protocol. Only the work is made up: a run that makes rows as its clock goes on. The
ledger answers 500, or has written and answers 500, or refuses what it has already written (a late 412), by seed.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.fleet import names
from engine.fleet.names import PartName, ShareKey
from engine.fleet.objects import UnavailableError
from engine.fleet.protocol import FleetAsked, from_bytes
from engine.fleet.share_hold import Glance, ShareEnd, ShareHold
from engine.fleet.steps import Create, Names, Pause, Put, Read, Step, answer
from engine.fleet.timing import Timing

STEP_S = 0.05  # what a step takes


class MemoryObjects:
    """A ledger in memory. `trouble` is the share of steps that go wrong; `atomic` False is a store that lies."""

    def __init__(self, seed: int = 0, trouble: float = 0.0, *, atomic: bool = True) -> None:
        self.shown = "memory"
        self.files: dict[str, bytes] = {}
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self._random = random.Random(seed)
        self._trouble, self._atomic = trouble, atomic

    def names(self, prefix: str) -> list[str]:
        self.counts["list"] += 1
        self._fail("before")
        return sorted(name for name in self.files if name.startswith(prefix))

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes | None:
        self.counts["get"] += 1
        self._fail("before")
        data = self.files.get(name)
        return data if data is None else data[start:end]

    def put(self, name: str, data: bytes) -> None:
        self._write("put", name, data)

    def create(self, name: str, data: bytes) -> bool:
        self.counts["put"] += 1
        self._fail("before")
        if name in self.files and self._atomic:
            return False
        self.files[name] = data
        self._fail("after")
        return (
            self._random.random() >= self._trouble
        )  # else its own first try was repeated below, and refused

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def _write(self, kind: str, name: str, data: bytes) -> None:
        self.counts[kind] += 1
        self.bytes += len(data)
        self._fail("before")
        self.files[name] = data
        self._fail("after")

    def _fail(self, when: str) -> None:
        if self._random.random() < self._trouble:
            raise UnavailableError(f"500, {when} it was done")


def pack_ids(ids: frozenset[str]) -> bytes:
    return json.dumps(sorted(ids)).encode()


def read_ids(data: bytes) -> tuple[frozenset[str], dict[str, Any]]:
    ids = frozenset(json.loads(data))
    return ids, {"rows": len(ids)}


class MadeUpWork:
    """A run that makes `rate` rows a second by its machine's clock, from a queue that outlives a death."""

    def __init__(
        self, wanted: frozenset[str], rate: float, clock: Callable[[], float], queue: set[str]
    ) -> None:
        self._wanted, self._rate, self._clock, self._queue = wanted, rate, clock, queue
        self._todo: list[str] = []
        self._began_s = self._given = 0
        self.stop = False

    def begin(self, ids: frozenset[str], *, resumed: bool) -> None:
        if not resumed:
            self._queue.clear()
        self._rows = sorted(self._queue - ids)  # what an earlier hold of this machine had and did not bring
        self._todo = sorted(self._wanted - ids - self._queue)
        random.Random(self._rate).shuffle(self._todo)  # each machine finishes them in an order of its own
        self._since = self._clock()

    def _advance(self) -> None:
        made = min(len(self._todo), int((self._clock() - self._since) * self._rate) - self._given)
        for video_id in self._todo[:made]:
            self._rows.append(video_id)
            self._queue.add(video_id)
        del self._todo[:made]
        self._given += made

    def look(self) -> Glance:
        self._advance()
        if self.stop and self._todo:
            return Glance(len(self._rows), ended=4)
        return Glance(len(self._rows), finished=not self._todo)

    def rows(
        self, known: Callable[[str], bool], at_most: int
    ) -> tuple[bytes, frozenset[str], dict[str, Any]] | None:
        ids = frozenset(video_id for video_id in self._rows[:at_most] if not known(video_id))
        del self._rows[:at_most]
        if not ids:
            return self.rows(known, at_most) if self._rows else None
        return pack_ids(ids), ids, {"rows": len(ids)}

    def follow(self, asked: FleetAsked) -> None:
        self.stop = self.stop or asked.stopped

    def stopping(self) -> bool:
        return self.stop


@dataclass
class Machine:
    """One machine: what is on its disk, how far off its clock is, and how it ends."""

    name: str
    clock_off_s: float = 0.0
    disk: dict[ShareKey, set[str]] = field(default_factory=dict)  # the sub-queues
    holds: set[str] = field(default_factory=set)  # the notes of its own holds


class World:
    """Machines that take shares from a list as a scheduler would hand them out, until all are done.

    `death` says, for each step, whether its machine dies there; `freeze` for how long it then stands still.
    """

    def __init__(
        self,
        shares: Mapping[ShareKey, frozenset[str]],
        objects: MemoryObjects,
        seed: int = 0,
        *,
        machines: int = 3,
        rate: float = 1.0,
        rows_a_part: int = 7,
        death: Callable[[int], bool] = lambda step: False,
        freeze: Callable[[int], float] = lambda step: 0.0,
        timing: Timing | None = None,
        beside: bool = False,
    ) -> None:
        """`beside`: each share is handed to all machines at once, and none waits for another."""
        self.shares, self.objects = shares, objects
        self.random = random.Random(seed)
        self.now_s, self.steps, self.deaths = 0.0, 0, 0
        self.begun = Counter[ShareKey]()
        self._rate, self._rows_a_part, self._death, self._freeze = rate, rows_a_part, death, freeze
        self._beside = beside
        self._timing = timing or Timing(insist_s=10_000.0)
        self.machines = [Machine(f"m{at}", self.random.uniform(-3600, 3600)) for at in range(machines)]
        self._starts = 0

    def play(self, limit: int = 2_000_000) -> None:
        """Let them work until each share has its `done/`."""
        heap: list[tuple[float, int, Machine, Any, ShareKey, Any]] = []
        todo = [*self.shares]
        self.random.shuffle(todo)
        if self._beside:
            todo = [key for key in todo for _ in self.machines]
        for machine in self.machines:
            self._start(heap, machine, todo)
        while heap and self.steps < limit:
            at_s, order, machine, steps, key, said = heapq.heappop(heap)
            self.now_s = max(self.now_s, at_s)
            self.steps += 1
            if self._death(self.steps):
                self.deaths += 1
                todo.append(key)
                self._start(heap, machine, todo, after_s=5.0)  # it comes again, with its disk
                continue
            frozen_s = self._freeze(self.steps)
            if frozen_s:
                todo.append(key)  # its scheduler thinks it dead
                heapq.heappush(heap, (self.now_s + frozen_s, order, machine, steps, key, said))
                helper = Machine(f"x{self.steps}", self.random.uniform(-3600, 3600))
                self._start(heap, helper, todo)
                continue
            end, wait_s, said = self._step(steps, said)
            if end is None:
                heapq.heappush(heap, (self.now_s + wait_s, order, machine, steps, key, said))
                continue
            if end.done is None and end.why != "set aside":
                todo.append(key)
            self._start(heap, machine, todo)
        assert not heap, "it does not end"

    def _step(self, steps: Any, said: Any) -> tuple[ShareEnd | None, float, Any]:
        """Take one step; the ledger answers at once, and what it says is heard a moment later."""
        try:
            step: Step = steps.throw(said) if isinstance(said, UnavailableError) else steps.send(said)
        except StopIteration as end:
            return end.value, 0.0, None
        if isinstance(step, Pause):
            return None, step.seconds, None
        assert isinstance(step, Names | Read | Put | Create)
        try:
            return None, STEP_S, answer(self.objects, step)
        except UnavailableError as exc:
            return None, STEP_S, exc

    def _start(self, heap: list[Any], machine: Machine, todo: list[ShareKey], after_s: float = 0.0) -> None:
        while todo:
            key = todo.pop(0)
            if names.done(key) in self.objects.files:
                continue
            self._starts += 1
            self.begun[key] += 1
            off_s = machine.clock_off_s
            clock = lambda: self.now_s + off_s  # noqa: B023, E731
            rate = self._rate * (1 + int(machine.name[1:]) % 3 / 3 * self._beside)
            work = MadeUpWork(self.shares[key], rate, clock, machine.disk.setdefault(key, set()))
            me = {"machine": machine.name, "token": f"{self._starts:016x}"}
            share = ShareHold(
                key, self.shares[key], me, work, clock, self._timing,
                mine=lambda note: note.get("machine") == machine.name,
                read_part=read_ids, rows_a_part=self._rows_a_part, beside=self._beside,
            )  # fmt: skip
            heapq.heappush(heap, (self.now_s + after_s, self._starts, machine, share.steps(), key, None))
            return


def shares_of(count: int, each: int) -> dict[ShareKey, frozenset[str]]:
    return {
        ShareKey(number): frozenset(f"{number:05d}{job:06d}" for job in range(each))
        for number in range(count)
    }


def violations(world: World) -> list[str]:
    """What is wrong with the rows that the ledger says are there: doubled, missing, of another share, of no part."""
    found = []
    for key, wanted in world.shares.items():
        done = from_bytes(world.objects.files.get(names.done(key)))
        if not done:
            found.append(f"{key}: not done")
            continue
        ids: Counter[str] = Counter()
        for part in done["parts"]:
            hold, _, number = part["name"].partition(".")
            data = world.objects.files.get(PartName(int(hold), int(number)).path(key))
            if data is None:
                found.append(f"{key}: no part {part['name']}")
                continue
            ids.update(json.loads(data))
            if len(json.loads(data)) != part["rows"]:
                found.append(f"{key}: {part['name']} is not what done says")
        doubled = [video_id for video_id, count in ids.items() if count > 1]
        if doubled:
            found.append(f"{key}: {len(doubled)} doubled")
        if set(ids) != wanted:
            found.append(f"{key}: {len(wanted - set(ids))} missing, {len(set(ids) - wanted)} foreign")
    return found
