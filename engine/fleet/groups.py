"""Proxy groups: some egresses that one machine may use at a time, by a lease that it renews in the ledger.

The times are such that two machines never use a group at once, whatever their clocks say and however long one of them
stands still (`LEASE` is `lease_s`, `TAKE` is `take_s`, which is longer):

- A holder uses the group until `LEASE` after its last successful renewal *began*. `engine.budget.lease` holds its
  requests back after that, also in processes that were frozen and know of nothing.
- Another takes it when nothing about it has changed for `TAKE`, by a watch of its own, and then waits `LEASE` more.
- A renewal succeeds when, after it is written, no later lease is there. So whoever renews just before or after the
  next lease is created stops within that wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.fleet import names
from engine.fleet.objects import UnavailableError
from engine.fleet.protocol import Watched, next_number, to_bytes
from engine.fleet.steps import Create, Names, Pause, Put, Read, Steps, create_ours, insist
from engine.fleet.timing import Timing


@dataclass(frozen=True, slots=True)
class GroupLease:
    """A lease of a group. `usable_at_s`: from when on, by the clock of its holder."""

    group: int
    number: int
    usable_at_s: float


class GroupHolder:
    """One machine's claim on one of the fleet's proxy groups."""

    def __init__(
        self, groups: int, me: Mapping[str, Any], clock: Callable[[], float], timing: Timing, first: int = 0
    ) -> None:
        """`first`: where it begins to look, so that machines that start together do not all try the same one."""
        self._order = [(first + at) % groups for at in range(groups)]
        self._me, self._clock, self._timing = me, clock, timing
        self._watched = {group: Watched(clock) for group in self._order}
        self.lease: GroupLease | None = None
        self.valid_until_s = 0.0
        self._renewals = 0

    def take(self) -> Steps[bool]:
        """Look once at all groups and take the first that is free; False when none is."""
        for_s = self._timing.insist_s
        found = yield from insist(Names("groups/"), for_s)
        for group in self._order:
            leases, gone = names.numbered([name for name in found if name.startswith(f"groups/{group:03d}/")])
            newest = max(leases, default=0)
            was_left = not newest or newest in gone
            beat = None if was_left else (yield from insist(Read(names.group_beat(group)), for_s))
            idle_s = self._watched[group].unchanged_s((newest, newest in gone, beat))
            if not was_left and idle_s < self._timing.take_s:
                continue
            number = next_number(leases)
            note = to_bytes({**self._me, "lease": number})
            if (yield from create_ours(names.group_lease(group, number), note, for_s)):
                wait_s = 0.0 if was_left else self._timing.lease_s
                self.lease = GroupLease(group, number, self._clock() + wait_s)
                return True
        return False

    def renew(self) -> Steps[bool]:
        """Renew the lease once; False when it is another's by now. A ledger that does not answer renews nothing."""
        if self.lease is None:
            return False
        began_s = self._clock()
        self._renewals += 1
        beat = {**self._me, "lease": self.lease.number, "renewal": self._renewals}
        try:
            yield Put(names.group_beat(self.lease.group), to_bytes(beat))
            lost = (yield Read(names.group_lease(self.lease.group, self.lease.number + 1))) is not None
        except UnavailableError:
            return True
        if lost:
            self.valid_until_s = 0.0
            return False
        self.valid_until_s = began_s + self._timing.lease_s
        return True

    def keep(self, valid_until: Callable[[float], None], leaving: Callable[[], bool]) -> Steps[str]:
        """Take a group, then renew the lease until it is lost or given up; returns which: `lost` or `left`.

        `valid_until` is told up to when the group may be used, 0 for not any more.
        """
        while not (yield from self.take()):
            if leaving():
                return "left"
            yield Pause(self._timing.renew_s)
        while self.lease and (wait_s := self.lease.usable_at_s - self._clock()) > 0 and not leaving():
            yield Pause(min(wait_s, self._timing.renew_s))
            if not (yield from self.renew()):
                return "lost"
        while not leaving():
            if not (yield from self.renew()):
                valid_until(0.0)
                return "lost"
            valid_until(self.valid_until_s)
            yield Pause(self._timing.renew_s)
        return "left"

    def leave(self) -> Steps[None]:
        """Give the group up, after the last request: the next machine need not wait."""
        if self.lease is not None:
            name = names.group_left(self.lease.group, self.lease.number)
            yield from insist(Create(name, to_bytes(self._me)), self._timing.lease_s)
