"""A server with a hidden limit, and a client that always has work: the controller's world, without a clock.

Events are requests that reach the server and answers that come back; hours pass in seconds. The server is a
model (a token bucket or a fixed window, and a block for whoever exceeds it), not the real site.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.budget.circuit_breaker import on_outcome
from engine.budget.pacing import Grant, fresh, take
from engine.budget.rate_controller import configure
from engine.budget.settings import BudgetSettings, Outcome
from engine.budget.state import EgressState
from engine.rehearsal.hidden_limit import HiddenLimit

WALL = 1_700_000_000.0
START = 1000.0


@dataclass
class BucketServer:
    """Allows `limit(t)` requests a second with a burst of one second; more means a block of 30 to 60 s."""

    limit: Callable[[float], float]
    rng: random.Random
    block_s: tuple[float, float] = (30.0, 60.0)
    spurious: float = 0.0
    retry_after_s: float | None = None
    blocked_until: float = 0.0
    blocks: int = 0
    _tokens: float = 1.0
    _at: float = START

    def answer(self, now: float) -> bool:
        if now < self.blocked_until:
            return False
        if self.spurious and self.rng.random() < self.spurious:
            return False
        limit = self.limit(now)
        self._tokens = min(self._tokens + (now - self._at) * limit, max(limit, 2.0))
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return True
        self.blocked_until = now + self.rng.uniform(*self.block_s)
        self.blocks += 1
        return False


@dataclass
class WindowServer:
    """Allows `limit(t) * window_s` requests in each fixed window, and none until the next when they are used."""

    limit: Callable[[float], float]
    window_s: float = 10.0
    blocks: int = 0
    _window: int = -1
    _used: int = 0

    def answer(self, now: float) -> bool:
        window = int(now / self.window_s)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        allowed = self.limit(now) * self.window_s
        if self._used > allowed:
            self.blocks += self._used == int(allowed) + 1
            return False
        return True


@dataclass
class StandInServer:
    """The limit of the stand-in itself (`engine.rehearsal.hidden_limit`), for the same stretch without a clock."""

    limit: Callable[[float], float]
    hidden: HiddenLimit
    blocks: int = 0
    _blocked: bool = False

    def answer(self, now: float) -> bool:
        was, self._blocked = self._blocked, self.hidden.refuses("", now)
        self.blocks += self._blocked and not was
        return not self._blocked


Server = BucketServer | WindowServer | StandInServer


@dataclass
class Night:
    """What a simulated stretch of time came to; times are seconds since its start."""

    limit: Callable[[float], float]
    duration_s: float
    state: EgressState
    blocks: list[float] = field(default_factory=list)  # when the server began to refuse
    ok: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)

    def share(self, leave_out: list[tuple[float, float]] | None = None) -> float:
        """Requests that passed, as a share of what the limit would have let pass."""
        kept = [t for t in range(int(self.duration_s)) if not _within(t, leave_out)]
        return _count(self.ok, leave_out) / sum(self.limit(START + t) for t in kept)

    def refused_per_1000(self, leave_out: list[tuple[float, float]] | None = None) -> float:
        return 1000 * _count(self.refused, leave_out) / _count(self.sent, leave_out)

    def blocks_per_1000(self, leave_out: list[tuple[float, float]] | None = None) -> float:
        """Times the server began to refuse; each costs some refused requests, those in flight and the probes."""
        return 1000 * _count(self.blocks, leave_out) / _count(self.sent, leave_out)


def _within(t: float, spans: list[tuple[float, float]] | None) -> bool:
    return any(a <= t < b for a, b in spans or ())


def _count(times: list[float], leave_out: list[tuple[float, float]] | None) -> int:
    """How many of these sorted times lie outside the spans, which do not overlap."""
    return len(times) - sum(bisect_left(times, b) - bisect_left(times, a) for a, b in leave_out or ())


def simulate(
    server: Server,
    settings: BudgetSettings,
    duration_s: float,
    rng: random.Random,
    *,
    threads: int = 64,
    latency_s: tuple[float, float] = (0.05, 0.25),
    demand: Callable[[float], bool] = lambda t: True,
    turn: tuple[float, BudgetSettings] | None = None,
) -> Night:
    """Let `threads` threads take, send and report for `duration_s`; `demand(t)` says when there is work.

    `turn` is when somebody sets other settings, and which.
    """
    now = START
    night = Night(server.limit, duration_s, fresh(7, b"sim", now, WALL, settings))
    state = night.state
    answers: list[tuple[float, int, Outcome, Grant]] = []  # when, by which thread
    arrivals: list[tuple[float, int, Grant]] = []
    free = list(range(1, threads + 1))
    again_at = now
    job = 0
    end = START + duration_s
    while now < end:
        if turn is not None and now >= START + turn[0]:
            settings, turn = turn[1], None
            state, again_at = configure(state, settings, now), now
        while arrivals and arrivals[0][0] <= now:
            at, thread, grant = heapq.heappop(arrivals)
            blocks = server.blocks
            passed = server.answer(at)
            if server.blocks > blocks:
                night.blocks.append(at - START)
            (night.ok if passed else night.refused).append(at - START)
            back = at + rng.uniform(*latency_s) / 2
            heapq.heappush(answers, (back, thread, Outcome.OK if passed else Outcome.BLOCKED, grant))
        while answers and answers[0][0] <= now:
            at, thread, outcome, grant = heapq.heappop(answers)
            job += 1
            before = state.state
            state = on_outcome(
                state,
                outcome,
                epoch=grant.epoch,
                granted_s=grant.slot,
                job=job,
                now=at,
                wall=WALL + at,
                settings=settings,
                retry_after_s=getattr(server, "retry_after_s", None) if outcome is Outcome.BLOCKED else None,
            )
            if not free or state.state != before:  # else nothing has become possible that was not
                again_at = now
            free.append(thread)
        if free and again_at <= now:
            if not demand(now - START):
                again_at = now + 1.0
            else:
                state, result = take(state, now, settings, free[-1])
                if isinstance(result, Grant):
                    thread = free.pop()
                    night.sent.append(result.slot - START)
                    heapq.heappush(arrivals, (result.slot + rng.uniform(*latency_s) / 2, thread, result))
                    continue
                again_at = now + min(max(result, 1e-4), 3600.0)
        nexts = [end] if turn is None else [end, START + turn[0]]
        if free:
            nexts.append(again_at)
        if arrivals:
            nexts.append(arrivals[0][0])
        if answers:
            nexts.append(answers[0][0])
        now = max(min(nexts), now)
    night.state = state
    night.sent.sort()  # after a faster rate a slot may lie a little before the one granted last
    return night
