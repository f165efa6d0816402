"""Proxy groups: whatever stands still, fails or comes back, two machines never use one at the same time."""

from __future__ import annotations

import heapq
import random
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_world import STEP_S, MemoryObjects

from engine.budget import Budget, BudgetSettings, lease, parse_rate
from engine.budget.lease import Lease
from engine.fleet.groups import GroupHolder
from engine.fleet.objects import UnavailableError
from engine.fleet.steps import Pause, answer
from engine.fleet.timing import Timing
from engine.model import EgressSpec


@dataclass
class Holder:
    """A machine that wants a group, with a clock of its own."""

    name: str
    off_s: float
    until_s: float = 0.0  # by the true time: up to when it may use its group
    group: int | None = None
    ends: str = ""


def play(
    seed: int, machines: int, groups: int, for_s: float = 6000.0, timing: Timing | None = None
) -> tuple[list[str], int]:
    """(moments at which a group was in use by two, how many leases were lost)."""
    drawn = random.Random(seed)
    objects = MemoryObjects(seed, 0.05)
    now, lost, order = [0.0], 0, 0
    wrong: list[str] = []
    found: list[Holder] = []
    heap: list[tuple[float, int, Holder, Any, GroupHolder, Any]] = []

    def begin(machine: Holder) -> None:
        nonlocal order
        order += 1
        holder = GroupHolder(
            groups, {"machine": machine.name, "token": str(order)}, lambda: now[0] + machine.off_s,
            timing or Timing(), drawn.randrange(groups),
        )  # fmt: skip

        def valid(until_s: float) -> None:
            machine.until_s = until_s - machine.off_s if until_s else 0.0
            machine.group = holder.lease.group if holder.lease else None

        heapq.heappush(heap, (now[0], order, machine, holder.keep(valid, lambda: False), holder, None))

    for at in range(machines):
        found.append(Holder(f"m{at}", drawn.uniform(-3600, 3600)))
        begin(found[-1])
    while now[0] < for_s:
        at_s, number, machine, steps, holder, said = heapq.heappop(heap)
        now[0] = max(now[0], at_s)
        using = [each.group for each in found if each.until_s > now[0]]
        if len(using) != len(set(using)):
            wrong.append(f"{now[0]:.1f}: {using}")
        if drawn.random() < 0.004:  # it stands still; its processes, too, which the budget's lease holds back
            heapq.heappush(heap, (now[0] + drawn.uniform(1, 900), number, machine, steps, holder, said))
            continue
        try:
            step = steps.throw(said) if isinstance(said, UnavailableError) else steps.send(said)
        except StopIteration as end:
            lost += end.value == "lost"
            begin(machine)
            continue
        if isinstance(step, Pause):
            heapq.heappush(heap, (now[0] + step.seconds, number, machine, steps, holder, None))
            continue
        try:
            result: Any = answer(objects, step)
        except UnavailableError as exc:
            result = exc
        slow_s = drawn.uniform(0, 40) if drawn.random() < 0.02 else STEP_S  # the answer is heard late
        heapq.heappush(heap, (now[0] + slow_s, number, machine, steps, holder, result))
    return wrong, lost


@pytest.mark.parametrize("seed", range(30))
def test_no_group_is_used_by_two_machines(seed: int) -> None:
    wrong, _ = play(seed, machines=4, groups=2)
    assert wrong == []


def test_groups_do_change_hands() -> None:
    assert sum(play(seed, machines=4, groups=2)[1] for seed in range(10)) > 5


def test_too_short_a_wait_is_caught() -> None:
    """Where a lease may be taken sooner than its holder gives it up, two machines use a group at once."""
    timing = Timing(take_s=20.0, lease_s=60.0)
    short = GroupHolder.take

    def hurried(self: GroupHolder) -> Any:
        taken = yield from short(self)
        if self.lease is not None:
            self.lease = type(self.lease)(self.lease.group, self.lease.number, self._clock())
        return taken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupHolder, "take", hurried)
        assert any(play(seed, machines=4, groups=2, timing=timing)[0] for seed in range(20))


def test_a_budget_file_is_used_up_to_its_lease(tmp_path: Any) -> None:
    budget = str(tmp_path / "budget")
    assert Lease(budget).valid()  # none: the egresses are the machine's own
    lease.renew(budget, lease.now_s() + 100)
    held = Lease(budget)
    assert held.valid()
    lease.renew(budget, lease.now_s() - 1)
    assert not held.valid()
    (tmp_path / "budget.lease").write_text("soon\n")
    assert not held.valid()
    (tmp_path / "budget.lease").unlink()
    assert not held.valid()
    assert Lease(budget).valid()


def test_no_permit_is_granted_without_the_lease(tmp_path: Any) -> None:
    """Not even one whose slot was reserved, and waited for, while the lease held."""
    path, stop, looks = str(tmp_path / "budget"), threading.Event(), iter(range(3))
    lease.renew(path, lease.now_s() - 1)
    budget = Budget.open(path, [EgressSpec("direct")], BudgetSettings(parse_rate("50/s")))
    assert budget.take(stop=stop, give_up=lambda: next(looks, None) is None) is None
    lease.renew(path, lease.now_s() + 100)
    assert budget.take(stop=stop) is not None
    held, looks = iter([True]), iter(range(3))  # frozen between the two looks at the lease
    budget._lease = SimpleNamespace(valid=lambda: next(held, False))  # type: ignore[assignment]
    assert budget.take(stop=stop, give_up=lambda: next(looks, None) is None) is None
    budget.close()
