"""Nights of several egresses that share a limit, or have one each: by the pure functions of `engine.budget`."""

from __future__ import annotations

import itertools
import random
from typing import NamedTuple

from low_rates import HOUR, START, WALL, Cell, sent

from engine.budget import BudgetSettings, Outcome, parse_rate
from engine.budget.circuit_breaker import on_outcome
from engine.budget.pacing import Grant, fresh, ready_at, take
from engine.budget.rate_controller import configure
from engine.budget.state import CONFIRMED, EgressState
from engine.budget.subnets import (
    added_up,
    as_seen,
    is_alone,
    on_member_outcome,
    parted,
    share_a_limit,
    start_factors,
    take_together,
    with_share,
)

SUBNET = "203.0.113.0/24"


class Token(NamedTuple):
    """A permit: by which egress, and the epoch of its subnet."""

    egress: int
    grant: Grant
    subnet_epoch: int


class Egresses:
    """The egresses of one subnet, as a budget file has them."""

    def __init__(
        self, count: int, rate: str = "auto", *, together: bool = True, joined: bool = False
    ) -> None:
        self.settings = BudgetSettings(parse_rate(rate))
        self.subnet: EgressState | None = None
        self.joined: list[float] = []
        self.parted: list[float] = []
        self._together = together
        factors = start_factors([SUBNET] * count) if together else [1.0] * count
        self.members = [
            configure(fresh(7 + n, b"", START, WALL, self.settings), self.settings, START, factor)
            for n, factor in enumerate(factors)
        ]
        self._holders, self._jobs = itertools.count(1), itertools.count(1)
        self._join_anyhow = joined

    def ask(self, now: float) -> tuple[float, Token] | float:
        at = START + now
        if self.subnet is not None:
            seen = [as_seen(member, self.subnet, self.settings) for member in self.members]
        else:
            seen = self.members
        ready, _, egress = min((ready_at(state), self.members[n].tat, n) for n, state in enumerate(seen))
        if ready > at:
            return ready - at
        member, holder = self.members[egress], next(self._holders)
        got: Grant | float
        if self.subnet is not None:
            member, self.subnet, got = take_together(member, self.subnet, at, self.settings, holder)
        else:
            member, got = take(member, at, self.settings, holder)
        self.members[egress] = member
        epoch = self.subnet.epoch if self.subnet is not None else 0
        return (max(got.slot - START, now), Token(egress, got, epoch)) if isinstance(got, Grant) else got

    def told(self, now: float, token: Token, passed: bool) -> bool:
        at, job = START + now, next(self._jobs)
        outcome = Outcome.OK if passed else Outcome.BLOCKED
        before = self.members[token.egress]
        state = on_outcome(
            before,
            outcome,
            epoch=token.grant.epoch,
            granted_s=token.grant.slot,
            job=job,
            now=at,
            wall=WALL + now,
            settings=self.settings,
        )
        self.members[token.egress] = state
        moved = state.state != before.state
        known = self.subnet
        if known is not None:
            self.subnet = on_member_outcome(
                known,
                outcome,
                epoch=token.subnet_epoch,
                granted_s=token.grant.slot,
                job=job,
                now=at,
                wall=WALL + now,
                settings=self.settings,
            )
            moved = moved or self.subnet.state != known.state
            if is_alone(state, known):
                self.members = [parted(member, at) for member in self.members]
                self.subnet = None
                self.parted.append(now)
            elif self.subnet.state != known.state:
                self._share_out(at)
        elif (
            self._together
            and state.flags & CONFIRMED
            and not passed
            and (self._join_anyhow or share_a_limit(self.members, at, self.settings))
        ):
            self._join_anyhow = False
            self.subnet = added_up(self.members, SUBNET, at, WALL + now, self.settings)
            self._share_out(at)
            self.joined.append(now)
        return moved

    def _share_out(self, at: float) -> None:
        if self.subnet is not None:
            self.members = [with_share(member, self.subnet, len(self.members), at) for member in self.members]


class Came(NamedTuple):
    """Share used after the first hour; refused per 1,000 after it, and in the whole night; blocks; joined, parted."""

    share: float
    refused: float
    refused_whole: float
    episodes: float
    joined: int
    parted: int


def play(
    cell: Cell,
    seed: int,
    count: int,
    *,
    shared: bool,
    together: bool = True,
    joined: bool = False,
    rate: str = "auto",
) -> Came:
    """One night of `count` egresses at a site that limits them as one, or each."""
    site = cell.site(seed)
    egresses = Egresses(count, rate, together=together, joined=joined)
    ok: list[float] = []
    refused: list[float] = []

    def answer(t: float, token: Token) -> bool:
        passed = not site.refuses("" if shared else str(token.egress), t)
        (ok if passed else refused).append(t)
        return passed

    sent(egresses, answer, cell.hours * HOUR, random.Random(seed), cell.threads * count, cell.latency_s)
    late_ok, late_refused = (sum(t >= HOUR for t in times) for times in (ok, refused))
    may = cell.could_pass() * (cell.hours * HOUR - HOUR) * (1 if shared else count)
    return Came(
        late_ok / may,
        1000 * late_refused / max(late_ok + late_refused, 1),
        1000 * len(refused) / max(len(ok) + len(refused), 1),
        site.blocks,
        len(egresses.joined),
        len(egresses.parted),
    )
