"""Processes of threads over many egresses, without a clock: who waits for whom when some egresses are in trouble.

What stuck egresses may have and the budget's state of each are the engine's own; its lock, its queue and the site are
not here. An attempt is two requests. An egress in trouble dies, hangs or is blocked for every request, control videos
included.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.budget import BudgetSettings, Outcome, parse_rate
from engine.budget.circuit_breaker import on_outcome, silent_probe
from engine.budget.pacing import Grant, fresh, ready_at, take
from engine.budget.state import State
from engine.worker.stuck_egresses import StuckEgresses

START = 1000.0
HANGS_S, FAILS_S, ASIDE_S, LATE_S = 20.0, 0.01, 0.25, 0.012
OUTCOMES = {"gone": Outcome.NETWORK, "hang": Outcome.TIMEOUT, "429": Outcome.BLOCKED}
LOST = (Outcome.NETWORK, Outcome.TIMEOUT)


@dataclass
class Try:
    """An attempt under way: in which process, by which egress and thread, since when, for which epoch."""

    process: int
    egress: int
    thread: int
    began: float
    epoch: int


@dataclass
class Run:
    """`trouble[egress]` is what happens to it from `trouble_at` on. `passed` is when requests of each passed."""

    egresses: int
    rate: float
    processes: int
    threads: int
    trouble: dict[int, str]
    trouble_at: float
    latency_s: float = 0.06
    now: float = START
    passed: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(1)
        self._settings = BudgetSettings(parse_rate(str(self.rate)))
        self._states = [
            fresh(number + 1, b"", START, START, self._settings) for number in range(self.egresses)
        ]
        self._free = [self.threads] * self.processes
        self._stuck = [
            StuckEgresses(self.egresses, self.threads, lambda: self.now, processes=self.processes)
            for _ in range(self.processes)
        ]
        self._order = itertools.count(1)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._seats: list[list[tuple[float, float, int, int]]] = [[] for _ in range(self.processes)]
        self._version = [0] * self.egresses
        self._wakes = [float("inf")] * self.processes
        self._ok: dict[int, float] = {}
        self._hanging = 0
        self.most_hanging = 0

    def play(self, until_s: float) -> None:
        for egress in range(self.egresses):
            self._seat(egress)
        for process in range(self.processes):
            self._at(START, lambda process=process: self._pick(process))  # type: ignore[misc]
        while self._events and self._events[0][0] < START + until_s:
            self.now, _, act = heapq.heappop(self._events)
            act()

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(when, self.now), next(self._order), act))

    def _seat(self, egress: int, *processes: int) -> None:
        """Say when an egress is free."""
        self._version[egress] += not processes
        state = self._states[egress]
        for process in processes or range(self.processes):
            seat = (ready_at(state), state.tat, egress, self._version[egress])
            heapq.heappush(self._seats[process], seat)

    def _pick(self, process: int) -> None:
        """Give the free threads of a process what is ready."""
        self._wakes[process], seats, stuck = float("inf"), self._seats[process], self._stuck[process]
        while self._free[process] and seats:
            ready, _, egress, version = seats[0]
            if version != self._version[egress]:
                heapq.heappop(seats)
            elif ready > self.now:
                self._wake(process, ready + self._random.random() * LATE_S)
                return
            elif stuck.is_stuck(egress, self._states[egress].awaited_since(self.now)):
                heapq.heappop(seats)
                self._at(self.now + ASIDE_S, lambda egress=egress: self._ask_again(process, egress))  # type: ignore[misc]
            else:
                self._begin(process, egress)

    def _ask_again(self, process: int, egress: int) -> None:
        self._seat(egress, process)
        self._pick(process)

    def _wake(self, process: int, when: float) -> None:
        if when < self._wakes[process]:
            self._wakes[process] = when
            self._at(when, lambda: self._pick(process))

    def _begin(self, process: int, egress: int) -> None:
        thread, state = next(self._order), self._states[egress]
        if state.state == State.HALF_OPEN:
            state = silent_probe(state, self.now, self.now, self._settings, self._others_ok_at(egress))
        self._states[egress], grant = take(state, self.now, self._settings, thread)
        self._seat(egress)
        if isinstance(grant, Grant):
            self._free[process] -= 1
            self._stuck[process].begin(egress)
            trial = Try(process, egress, thread, self.now, grant.epoch)
            self._at(grant.slot, lambda: self._send(trial, again=True))

    def _send(self, trial: Try, *, again: bool) -> None:
        trouble = self.trouble.get(trial.egress) if self.now >= START + self.trouble_at else None
        took_s = self.latency_s * self._random.uniform(0.9, 1.5)
        if trouble is None:
            self.passed.append((self.now - START, trial.egress))
            after = self._ask_further if again else lambda trial: self._end(trial, Outcome.OK)
            self._at(self.now + took_s, lambda: after(trial))
            return
        took_s = {"hang": HANGS_S, "gone": FAILS_S}.get(trouble, took_s)
        self._hanging += trouble == "hang"
        self.most_hanging = max(self.most_hanging, self._hanging)
        self._at(self.now + took_s, lambda: self._end(trial, OUTCOMES[trouble]))

    def _ask_further(self, trial: Try) -> None:
        state = self._states[trial.egress]
        if state.state != State.CLOSED and state.holder != trial.thread:
            self._end(trial, Outcome.OTHER)
            return
        state, grant = take(state, self.now, self._settings, trial.thread, further=True)
        if not isinstance(grant, Grant):
            self._at(self.now + grant, lambda: self._ask_further(trial))
            return
        self._states[trial.egress], trial.epoch = state, grant.epoch
        self._seat(trial.egress)
        self._at(grant.slot, lambda: self._send(trial, again=False))

    def _end(self, trial: Try, outcome: Outcome) -> None:
        egress = trial.egress
        self._hanging -= outcome is Outcome.TIMEOUT
        self._states[egress] = on_outcome(
            self._states[egress],
            outcome,
            epoch=trial.epoch,
            granted_s=self.now,
            job=trial.thread,
            now=self.now,
            wall=self.now,
            settings=self._settings,
            others_ok_at=self._others_ok_at(egress),
        )
        if outcome is Outcome.OK:
            self._ok.pop(egress, None)
            self._ok[egress] = self.now  # the latest last
        self._seat(egress)
        self._stuck[trial.process].end(egress, self.now - trial.began, answered=outcome not in LOST)
        self._free[trial.process] += 1
        for process in range(self.processes):
            self._pick(process)

    def _others_ok_at(self, egress: int) -> float:
        return next((at for other, at in reversed(self._ok.items()) if other != egress), 0.0)
