"""Egresses of one subnet that share a limit learn together: pure functions.

Proxies whose addresses lie in one /24 (IPv6: /48) may share a limit or not. They begin at rates that differ, so that
limits of their own are not felt at the same moment. When some of them are blocked within 30 s, and none of the others
is served meanwhile, they share one limit. From then on the subnet has a record of its own, with the rates and the
histories of its egresses added up: it paces them and is blocked and probed as one. Each egress still has its own
breaker. When one goes on being refused while others are served, the subnet is parted again.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from engine.budget.circuit_breaker import PROBE_GAP_S, on_outcome
from engine.budget.learnt import UNKNOWN, Learnt
from engine.budget.pacing import MAX_INTERVAL_S, MIN_INTERVAL_S, Grant, fresh, take
from engine.budget.settings import BudgetSettings, Outcome
from engine.budget.state import (
    CONFIRMED,
    EVER_BLOCKED,
    LABEL_BYTES,
    SUBNET,
    TOGETHER,
    EgressState,
    Phase,
    State,
    Why,
)
from engine.budget.volume import added
from engine.model import EgressSpec

PREFIX = {4: 24, 6: 48}  # bits of an address by which subnets are told
LATELY_S, WITHIN_S, LATE_S = 90.0, 30.0, 5.0  # who sent; refused together; answers that were on their way
ENOUGH = 3  # so many refused together are enough, however many others there are
LEAST_RATIO = 1.1  # between the rates of those refused: at equal rates, equal limits are felt together, too
LEAST_START, MOST_START = 0.7, 1.3  # of the rate that an egress alone begins at
ALONE_FAILS = 4  # so many refusals in a row, while others are served, part a subnet
_OF_THE_SUBNET = frozenset({Outcome.OK, Outcome.BLOCKED, Outcome.VIDEO_BLOCKED, Outcome.NO_CAPTIONS})


def subnet_of(spec: EgressSpec) -> str:
    """The subnet of a proxy, as `203.0.113.0/24`; empty where its address says nothing of where requests leave."""
    if spec.proxy_url is None or spec.rotating:
        return ""
    try:
        address = ipaddress.ip_address(urlsplit(spec.proxy_url).hostname or "")
    except ValueError:  # a name
        return ""
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, PREFIX[address.version]), strict=False))


def subnets_of(specs: Sequence[EgressSpec]) -> list[str]:
    """The subnet of each egress; empty where no other is in it."""
    subnets = [subnet_of(spec) for spec in specs]
    counts = Counter(subnets)
    return [subnet if counts[subnet] > 1 else "" for subnet in subnets]


def subnet_key(subnet: str) -> int:
    """The key of a subnet's record, unlike any egress's; never 0."""
    digest = hashlib.blake2b(f"subnet\n{subnet}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") & ((1 << 53) - 1)) or 1


def start_factors(subnets: Sequence[str]) -> list[float]:
    """By how much each egress begins faster or slower than one alone: evenly spread within a subnet."""
    counts, seen = Counter(subnets), Counter[str]()
    factors = []
    for subnet in subnets:
        if subnet:
            factors.append(LEAST_START + (MOST_START - LEAST_START) * seen[subnet] / (counts[subnet] - 1))
            seen[subnet] += 1
        else:
            factors.append(1.0)
    return factors


def share_a_limit(members: Sequence[EgressState], now: float, settings: BudgetSettings) -> bool:
    """Whether the blocks of a subnet's egresses say that one limit holds for all of them."""
    pace = settings.pace
    refused = [
        state
        for state in members
        if state.state in (State.OPEN, State.HALF_OPEN)
        and state.why == Why.BLOCK
        and state.flags & CONFIRMED
        and state.trouble_since >= now - WITHIN_S / pace
    ]
    if len(refused) < 2 or any(state.interval <= 0 for state in members):
        return False
    first = min(state.trouble_since for state in refused)
    lately = sum(max(state.ok_at, state.trouble_since) >= now - LATELY_S / pace for state in members)
    if len(refused) < min(ENOUGH, lately / 2):
        return False
    if any(state.ok_at > first + LATE_S / pace for state in members):
        return False  # somebody was served
    rates = [state.rate_per_s for state in refused]
    return max(rates) >= LEAST_RATIO * min(rates)


def added_up(
    members: Sequence[EgressState], subnet: str, now: float, wall: float, settings: BudgetSettings
) -> EgressState:
    """The record of a subnet that is blocked: the rates and histories of its egresses, added up."""
    refused = [state for state in members if state.why == Why.BLOCK and state.flags & CONFIRMED]
    working = [state for state in members if state.state != State.RETIRED]
    fastest = max(refused, key=lambda state: state.rate_per_s)
    key, label = subnet_key(subnet), f"subnet {subnet}".encode()[:LABEL_BYTES]
    opened = max(refused, key=lambda state: state.open_until)
    state = fresh(key, label, now, wall, settings)
    rate = sum(each.rate_per_s for each in working)
    return state._replace(
        state=State.OPEN,
        why=Why.BLOCK,
        phase=fastest.phase,
        step=fastest.step,
        flags=SUBNET | CONFIRMED | EVER_BLOCKED,
        fails=max(each.fails for each in refused),
        opened_epoch=state.epoch,
        interval=1 / rate,
        configured=state.configured / len(members) if state.configured > 0 else state.configured,
        open_until=opened.open_until,
        open_until_wall=opened.open_until_wall,
        top=sum(each.top for each in working),
        base=sum(each.base for each in working),
        hold_s=fastest.hold_s,
        phase_s=fastest.phase_s,
        ticked_at=now,
        resumed_at=max(each.resumed_at for each in working),
        measured=sum(each.measured for each in working),
        metered=sum(each.metered for each in working),
        trouble_since=min(each.trouble_since for each in refused),
        refused_job=fastest.refused_job,
        ok_at=max(each.ok_at for each in working),
        opened_at=max(each.opened_at for each in refused),
        learnt=_learnt([each.learnt for each in working]),
    )


def _learnt(parts: Sequence[Learnt]) -> Learnt:
    """What several have learnt, as if one had sent it all."""
    best = max(parts, key=lambda part: part.evidence)
    answers = [part.answers for part in parts if part.answers]
    return Learnt(
        kind=best.kind,
        refusals=sum(part.refusals for part in parts),
        block_s=max(part.block_s for part in parts),
        sent=sum(part.sent for part in parts),
        evidence=sum(part.evidence for part in parts if part.kind == best.kind)
        if best.kind != UNKNOWN
        else 0,
        since=sum(part.since for part in parts),
        excess=sum(part.excess for part in parts),
        volume=added([part.volume for part in parts]),
        answers=tuple(map(sum, zip(*answers, strict=True))) if len(answers) == len(parts) else (),
    )


def for_so_many(subnet: EgressState, members: int, settings: BudgetSettings) -> EgressState:
    """The record of a subnet of which a run uses so many egresses: where it has a ceiling, each brings its own."""
    ceiling = settings.configured / members
    if ceiling <= 0 or subnet.configured <= ceiling * (1 + 1e-6):
        return subnet
    at_ceiling = subnet.phase == Phase.FIXED
    return subnet._replace(configured=ceiling, phase=Phase.HOLD if at_ceiling else subnet.phase)


def with_share(member: EgressState, subnet: EgressState, members: int, now: float) -> EgressState:
    """An egress that learns with its subnet, at its share of the rate: what is shown of it, and what it goes on with
    should the subnet's record be lost. So one that is closed also notes until when the subnet is blocked."""
    learnt = member.learnt._replace(kind=subnet.learnt.kind, block_s=subnet.learnt.block_s)
    interval = min(max(subnet.interval * members, member.configured), MAX_INTERVAL_S)
    if member.state == State.CLOSED:
        blocked = subnet.state != State.CLOSED and subnet.flags & CONFIRMED
        member = member._replace(
            open_until=subnet.open_until if blocked else 0.0,
            open_until_wall=subnet.open_until_wall if blocked else 0.0,
        )
    return member._replace(
        flags=member.flags | TOGETHER,
        subnet=subnet.key,
        phase=Phase.FIXED,
        step=0,
        interval=interval,
        tat=min(member.tat, now + interval),
        top=subnet.top / members,
        base=subnet.base / members,
        learnt=learnt,
    )


def parted(member: EgressState, now: float) -> EgressState:
    """An egress that learns alone again, from about the rate that was its share: at equal rates nothing would tell
    whether the next block is everybody's. Its first slot is within an interval, for many are parted at once. A block
    of the subnet goes on as its own."""
    if not member.flags & TOGETHER:
        return member
    spread = (member.key * 2654435761 % (1 << 32)) / (1 << 32)
    factor = LEAST_START + (MOST_START - LEAST_START) * spread
    if member.state == State.CLOSED and member.open_until > now:
        epoch = (member.epoch + 1) & 0xFFFFFFFF
        member = member._replace(
            state=State.OPEN,
            why=Why.BLOCK,
            flags=member.flags | CONFIRMED,
            fails=1,
            epoch=epoch,
            opened_epoch=epoch,
            trouble_since=member.trouble_since or now,
            opened_at=now,
        )
    interval = max(member.interval / factor, member.configured, MIN_INTERVAL_S)
    at_ceiling = interval <= member.configured * (1 + 1e-6)
    learnt = member.learnt._replace(kind=UNKNOWN, answers=(), evidence=0)
    return member._replace(
        flags=member.flags & ~TOGETHER,
        subnet=0,
        phase=Phase.FIXED if at_ceiling else Phase.START,
        interval=interval,
        tat=now + spread * interval,
        top=1 / interval,
        base=1 / interval,
        learnt=learnt,
    )


def as_seen(member: EgressState, subnet: EgressState, settings: BudgetSettings) -> EgressState:
    """An egress as its subnet lets it be: paced, and closed, by both."""
    tat = (
        max(subnet.tat, member.tat) if member.configured > 0 else subnet.tat
    )  # the run's ceiling holds for each
    gap_s = PROBE_GAP_S / settings.pace
    # Whose refusal it was, is for the egress that was refused to find out; a lost egress finds out nothing.
    others_first = member.why == Why.NETWORK or (
        member.state == State.CLOSED and not subnet.flags & CONFIRMED
    )
    seen = closed_by_both(member, subnet, gap_s if others_first else 0.0)
    return seen._replace(tat=tat, interval=subnet.interval)


def closed_by_both(member: EgressState, subnet: EgressState, grace_s: float = 0.0) -> EgressState:
    """An egress with what closes it for longer, its own breaker or the subnet's, and that for `grace_s` more."""
    if subnet.state == State.CLOSED or member.state == State.RETIRED:
        return member
    if member.state == State.CLOSED:
        return member._replace(
            state=subnet.state,
            why=subnet.why,
            holder=subnet.holder,
            open_until=subnet.open_until + grace_s,
            open_until_wall=subnet.open_until_wall + grace_s,
        )
    if member.state == subnet.state == State.HALF_OPEN and member.holder == subnet.holder:
        return member
    return member._replace(
        state=State.OPEN,
        holder=0,
        open_until=max(member.open_until, subnet.open_until + grace_s),
        open_until_wall=max(member.open_until_wall, subnet.open_until_wall + grace_s),
    )


def take_together(
    member: EgressState,
    subnet: EgressState,
    now: float,
    settings: BudgetSettings,
    holder: int,
    *,
    further: bool = False,
) -> tuple[EgressState, EgressState, Grant | float]:
    """Reserve the subnet's next slot for one of its egresses, as `take` does; the grant's epoch is the egress's."""
    after, own = take(member, now, settings, holder, further=further, paced=False)
    if not isinstance(own, Grant):
        return member, subnet, own
    subnet, shared = take(subnet, now, settings, holder, further=further)
    if not isinstance(shared, Grant):
        return member, subnet, shared
    return after, subnet, Grant(max(own.slot, shared.slot), min(own.expires, shared.expires), own.epoch)


def on_member_outcome(subnet: EgressState, outcome: Outcome, *, epoch: int, **more: Any) -> EgressState:
    """The subnet after an outcome of one of its egresses: what is lost on the way is that egress's own. `epoch` is
    the subnet's; `more` goes to `on_outcome`."""
    if outcome not in _OF_THE_SUBNET:
        if subnet.state != State.HALF_OPEN or epoch != subnet.epoch:
            return subnet
        outcome = Outcome.OTHER  # its probe has said nothing
    return on_outcome(subnet, outcome, epoch=epoch, **more)


def is_alone(member: EgressState, subnet: EgressState) -> bool:
    """Whether an egress was refused again and again while others of its subnet were served: they share no limit.

    `subnet` is what it was before the last refusal.
    """
    return (
        member.state == State.OPEN
        and member.why == Why.BLOCK
        and member.fails >= ALONE_FAILS
        and subnet.state == State.CLOSED
        and subnet.resumed_at > member.trouble_since > 0
    )
