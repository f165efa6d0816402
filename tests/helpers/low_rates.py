"""Nights against hidden limits as real ones are: from one request in 10 s up, blocks of minutes and hours.

A *cell* is a limit with a kind of block. The site is the rehearsal's own hidden limit (`engine.rehearsal`), a model
and not the real one; the client always has work. Hours pass in seconds.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from peers import PEERS

from engine.budget import BudgetSettings, Outcome, parse_rate
from engine.budget.circuit_breaker import on_outcome
from engine.budget.pacing import Grant, fresh, take
from engine.rehearsal.hidden_limit import HiddenLimit

HOUR = 3600.0
START, WALL = 1000.0, 1_700_000_000.0
LATENCY_S = (0.05, 0.25)
LIMITS = (0.1, 0.33, 0.5, 1.0, 2.0, 5.0, 20.0)
NIGHT_H = {5.0: 6.0, 20.0: 4.0}  # else 10: what is found out takes requests, and there are more of them
KINDS: dict[str, dict[str, float]] = {
    "window 10 s": {"window_s": 10.0},
    "window 60 s": {"window_s": 60.0},
    "window 1 h": {"window_s": HOUR},
    "bucket 10": {"burst": 10.0},
    "bucket 100": {"burst": 100.0},
    "bucket 1000": {"burst": 1000.0},
}
BLOCKS: dict[str, dict[str, float | bool]] = {
    "60 s": {"block_s": 60.0},
    "15 min": {"block_s": 900.0},
    "1 h": {"block_s": HOUR},
    "15 min doubling": {"block_s": 900.0, "doubling": True},
}
SPURIOUS: dict[str, dict[str, float]] = {
    "one request a minute": {"spurious_s": 60.0},
    "60 s an hour": {"spurious_s": HOUR, "spurious_block_s": 60.0},
    "60 s in 10,000": {"spurious_share": 1e-4, "spurious_block_s": 60.0},
}


class Controller(Protocol):
    """What decides when requests leave."""

    def ask(self, now: float) -> tuple[float, object] | float:
        """(when to send, a token), or how long to wait."""

    def told(self, now: float, token: object, passed: bool) -> bool:
        """What became of a request; whether it may be worth asking again."""


class Ours:
    """The project's own budget, by its pure functions."""

    def __init__(self, rate: str = "auto", pace: float = 1.0) -> None:
        self.settings = BudgetSettings(parse_rate(rate), pace)
        self.state = fresh(7, b"night", START, WALL, self.settings)
        self._holders, self._jobs = itertools.count(1), itertools.count(1)

    def ask(self, now: float) -> tuple[float, Grant] | float:
        self.state, got = take(self.state, START + now, self.settings, next(self._holders))
        return (max(got.slot - START, now), got) if isinstance(got, Grant) else got

    def told(self, now: float, token: Grant, passed: bool) -> bool:
        before = self.state.state
        self.state = on_outcome(
            self.state,
            Outcome.OK if passed else Outcome.BLOCKED,
            epoch=token.epoch,
            granted_s=token.slot,
            job=next(self._jobs),
            now=START + now,
            wall=WALL + now,
            settings=self.settings,
        )
        return self.state.state != before


@dataclass(frozen=True)
class Cell:
    """A limit and its blocks. `factor(t)` is what the limit is multiplied by t seconds after the start."""

    limit: float
    kind: str
    block: str
    spurious: str = ""
    steps: bool = False
    threads: int = 8
    latency_s: tuple[float, float] = LATENCY_S

    @property
    def hours(self) -> float:
        return NIGHT_H.get(self.limit, 10.0)

    def factor(self, t: float) -> float:
        """A limit with steps halves after 30 % of the night, and is 1.5 times the first after 60 %."""
        share = t / (self.hours * HOUR)
        return 1.0 if not self.steps or share < 0.3 else 0.5 if share < 0.6 else 1.5

    def site(self, seed: int) -> HiddenLimit:
        options = {"burst": 10.0, **KINDS[self.kind], **BLOCKS[self.block], **SPURIOUS.get(self.spurious, {})}
        return HiddenLimit(self.limit, block_spread=0.1, seed=seed, **options)  # type: ignore[arg-type]

    def could_pass(self) -> float:
        """Requests a second that the limit lets pass: a window lets whole ones pass."""
        window_s = KINDS[self.kind].get("window_s", 0.0)
        return max(int(self.limit * window_s + 1e-9), 1) / window_s if window_s else self.limit

    def __str__(self) -> str:
        parts = [f"{self.limit:g}/s", self.kind, self.block]
        parts += [self.spurious] * bool(self.spurious) + ["steps"] * self.steps
        return ", ".join([*parts, f"{self.threads} threads"])


class Came(NamedTuple):
    """What a night came to. `share` of what could pass and `refused` per 1,000, both after the first hour; block
    episodes in the whole night, and what passed in the whole night as a share of the limit times its length."""

    share: float
    refused: float
    episodes: float
    whole: float


def play(cell: Cell, seed: int, who: str = "ours", rate: str = "auto") -> Came:
    """One night of a cell, by the project's controller or one of `PEERS`."""
    site = cell.site(seed)
    controller: Controller = Ours(rate) if who == "ours" else PEERS[who](cell.could_pass())  # type: ignore[assignment]
    first = site.rate
    ok: list[float] = []
    refused: list[float] = []

    def answer(t: float, _token: object) -> bool:
        site.rate = first * cell.factor(t)
        passed = not site.refuses("", t)
        (ok if passed else refused).append(t)
        return passed

    sent(controller, answer, cell.hours * HOUR, random.Random(seed), cell.threads, cell.latency_s)
    late_ok, late_refused = (sum(t >= HOUR for t in times) for times in (ok, refused))
    seconds = range(0, int(cell.hours * HOUR), 60)
    may, late_may = (
        60 * cell.could_pass() * sum(cell.factor(t) for t in seconds if t >= since) for since in (0.0, HOUR)
    )
    episodes = site.blocks + (site.spurious if site.spurious_block_s else 0)
    return Came(
        late_ok / late_may,
        1000 * late_refused / max(late_ok + late_refused, 1),
        episodes,
        len(ok) / may,
    )


def sent(
    controller: Controller,
    answer: Callable[[float, object], bool],
    duration_s: float,
    rng: random.Random,
    threads: int,
    latency_s: tuple[float, float],
) -> None:
    """Let `threads` threads send as the controller allows; `answer(t, token)` says whether a request that arrives
    passes."""
    least, most = (latency / 2 for latency in latency_s)
    events: list[
        tuple[float, int, object, bool | None]
    ] = []  # when, order, token, None: it arrives; else its answer
    order = itertools.count()
    free, now, ask_at = threads, 0.0, 0.0
    while now < duration_s:
        while events and events[0][0] <= now:
            at, _, token, passed = heapq.heappop(events)
            if passed is None:
                passed = answer(at, token)
                heapq.heappush(events, (at + rng.uniform(least, most), next(order), token, passed))
                continue
            if controller.told(at, token, passed) or not free:
                ask_at = now
            free += 1
        if free and ask_at <= now:
            got = controller.ask(now)
            if isinstance(got, tuple):
                free -= 1
                heapq.heappush(events, (got[0] + rng.uniform(least, most), next(order), got[1], None))
                continue
            ask_at = now + min(max(got, 1e-4), 3600.0)
        nexts = [duration_s] if not free else [duration_s, ask_at]
        now = max(min([*nexts, events[0][0]] if events else nexts), now)
