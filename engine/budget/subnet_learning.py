"""Which egresses of a run learn together: looked into when one of them is refused, and changed under the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.budget.settings import BudgetSettings
from engine.budget.state import CONFIRMED, EgressState, State, event
from engine.budget.store import Store
from engine.budget.subnets import added_up, is_alone, parted, share_a_limit, subnet_key, with_share

JOINED, PARTED = "shared_limit", "shared_limit_ended"  # events


class Subnets:
    """The subnets of a budget's egresses. `on_event(egress, what, wait_s)` is told what becomes of them."""

    def __init__(
        self, store: Store, subnets: Sequence[str], on_event: Callable[[int, str, float], None]
    ) -> None:
        self._store = store
        self._subnet_of = subnets
        self._members: dict[str, list[int]] = {}
        for egress, subnet in enumerate(subnets):
            if subnet:
                self._members.setdefault(subnet, []).append(egress)
        self._by_key = {subnet_key(subnet): members for subnet, members in self._members.items()}
        self._on_event = on_event
        store.on_subnet_moved = self._moved

    def refused(self, egress: int, state: EgressState, shared: EgressState | None) -> None:
        """Look into it after a refusal: `state` is the egress's since then, `shared` was its subnet's before it.
        Raises DiskError."""
        subnet = self._subnet_of[egress]
        if not subnet:
            return
        if shared is not None:
            if is_alone(state, shared) and self._store.part(shared.key):
                self._on_event(self._members[subnet][0], PARTED, 0.0)
        elif state.flags & CONFIRMED and state.state == State.OPEN:
            self._join_if_shared(subnet)

    def _join_if_shared(self, subnet: str) -> None:
        members = self._members[subnet]

        def joined(
            states: Sequence[EgressState | None], now: float, wall: float
        ) -> tuple[dict[int, EgressState], EgressState | None]:
            known = {egress: state for egress in members if (state := states[egress]) is not None}
            shared = self._store.peek_subnet(subnet_key(subnet))
            if shared is not None:  # others found out, as those of another run
                new = any(not state.subnet for state in known.values())
                return (_with_shares(known, shared, now), shared) if new else ({}, None)
            alone = [parted(state, now) for state in known.values()]
            settings: BudgetSettings = self._store.settings
            if len(alone) < len(members) or not share_a_limit(alone, now, settings):
                return {}, None
            shared = added_up(alone, subnet, now, wall, settings)
            return _with_shares(known, shared, now), shared

        shared = self._store.change(joined)
        if shared is not None:
            self._on_event(members[0], JOINED, 0.0)

    def _moved(self, before: EgressState, after: EgressState, now: float) -> None:
        """A subnet has another state now: show each of its egresses its share, and say what happened to those that
        were not refused themselves."""
        members = self._by_key.get(after.key, [])
        own: dict[int, EgressState] = {}

        def shared_out(
            states: Sequence[EgressState | None], now: float, wall: float
        ) -> tuple[dict[int, EgressState], EgressState | None]:
            own.update(
                (egress, state)
                for egress in members
                if (state := states[egress]) is not None and state.subnet == after.key
            )
            return _with_shares(own, self._store.peek_subnet(after.key) or after, now), None

        self._store.change(shared_out)
        was_told = before.flags & CONFIRMED and before.state != State.CLOSED
        if after.flags & CONFIRMED if after.state == State.OPEN else was_told and after.state == State.CLOSED:
            for egress, state in own.items():
                if state.state == State.CLOSED:
                    self._on_event(egress, *event(before, after, now))


def _with_shares(states: dict[int, EgressState], shared: EgressState, now: float) -> dict[int, EgressState]:
    working = sum(state.state != State.RETIRED for state in states.values())
    return {egress: with_share(state, shared, max(working, 1), now) for egress, state in states.items()}
