"""The order of egresses: who is free first, at a cost that does not grow with their number."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from engine.budget import BudgetSettings, parse_rate
from engine.budget.budget_file import SLICE_S
from engine.budget.egress_order import SWEPT, Order
from engine.budget.pacing import Grant, take
from engine.budget.state import State
from engine.budget.store import Store
from engine.model import EgressSpec

SETTINGS = BudgetSettings(parse_rate("0.5/s"))


def store(path: Path, count: int, settings: BudgetSettings = SETTINGS) -> Store:
    specs = [EgressSpec(f"p{n:04}", f"http://u{n}@h:1") for n in range(count)]
    return Store(str(path / "budget"), specs, settings)


def grant(held: Store, order: Order, egress: int) -> bool:
    """Take a permit as `Budget` does; False when another process was first."""
    with held.transaction(egress) as record:
        record.state, given = take(record.state, record.now, held.settings, holder=1)
    order.reseat(egress, record.state)
    return isinstance(given, Grant)


def calls(act: Callable[[], object]) -> int:
    """How many functions are called, in Python and in C."""
    count = 0

    def note(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def cost_of_permits(path: Path, egresses: int, stuck: int) -> float:
    """The calls that a permit takes in the long run, where 400 are taken a second and some egresses are avoided."""
    path.mkdir()
    held = store(path, egresses, BudgetSettings(parse_rate("none")))
    order, now = Order(held), 100.0
    order.first(now, None)

    def permits() -> None:
        nonlocal now
        for _ in range(400):
            now += 1 / 400
            assert grant(held, order, order.first(now, lambda egress, _: egress < stuck).egress)

    permits()
    return calls(permits) / 400


def test_a_permit_costs_the_same_among_a_thousand(tmp_path: Path) -> None:
    few, many = (cost_of_permits(tmp_path / str(n), n, stuck=n // 20) for n in (2 * SWEPT, 16 * SWEPT))
    assert many < 1.5 * few


def test_a_success_of_others_costs_the_same_among_a_thousand(tmp_path: Path) -> None:
    costs = []
    for count in (2 * SWEPT, 16 * SWEPT):
        (tmp_path / str(count)).mkdir()
        order = Order(store(tmp_path / str(count), count))
        costs.append(calls(lambda order=order: order.others_ok_at(0)))  # type: ignore[misc]
    assert costs[1] <= costs[0]


def test_who_rested_longest_comes_first_and_all_have_their_turn(tmp_path: Path) -> None:
    held = store(tmp_path, 3 * SWEPT)
    order = Order(held)
    used = []
    for _ in range(3 * SWEPT):
        used.append(order.first(100.0, None).egress)
        assert grant(held, order, used[-1])
    assert sorted(used) == list(range(3 * SWEPT))


def test_what_another_process_took_is_seen_before_it_is_asked_for(tmp_path: Path) -> None:
    mine, other = store(tmp_path, 3 * SWEPT), store(tmp_path, 3 * SWEPT)
    orders = Order(mine), Order(other)
    for order in orders:
        order.first(100.0, None)
    used = []
    for _ in range(SWEPT):
        for held, order in zip((mine, other), orders, strict=True):
            used.append(order.first(100.0, None).egress)
            assert grant(held, order, used[-1])
    assert len(set(used)) == 2 * SWEPT


def test_one_that_another_process_closed_is_found_within_one_sweep(tmp_path: Path) -> None:
    count = 3 * SWEPT
    mine, other = store(tmp_path, count), store(tmp_path, count)
    for egress in range(count):
        with other.transaction(egress) as record:
            record.state = record.state._replace(state=State.OPEN, open_until=record.now + 1000)
    order = Order(mine)
    assert not order.first(100.0, None).closed
    with other.transaction(count - 1) as record:
        record.state = record.state._replace(state=State.CLOSED, open_until=0.0)
    found = [order.first(100.0 + n * SLICE_S, None).egress for n in range(1, 5)]
    assert found[-1] == count - 1


def test_all_that_work_are_to_be_avoided(tmp_path: Path) -> None:
    """Then one of them is used: a cool-down of the others would take longer."""
    held = store(tmp_path, 4)
    for egress in (2, 3):
        with held.transaction(egress) as record:
            record.state = record.state._replace(state=State.OPEN, open_until=record.now + 1000)
    order = Order(held)
    now = time.monotonic() + 10
    assert {order.first(now + n, lambda egress, _: egress < 2).egress for n in range(4)} <= {0, 1}
    with held.transaction(3) as record:
        record.state = record.state._replace(state=State.CLOSED)
    assert [order.first(now + 10 + n, lambda egress, _: egress < 2).egress for n in range(4)] == [3] * 4


@pytest.mark.parametrize("count", [2, 3 * SWEPT])
def test_the_latest_success_is_that_of_another(tmp_path: Path, count: int) -> None:
    order = Order(store(tmp_path, count))
    assert order.others_ok_at(0) == 0.0
    order.succeeded(0, 5.0)
    assert (order.others_ok_at(0), order.others_ok_at(1)) == (0.0, 5.0)
    order.succeeded(1, 7.0)
    order.succeeded(0, 6.0)
    assert (order.others_ok_at(0), order.others_ok_at(1)) == (7.0, 6.0)
