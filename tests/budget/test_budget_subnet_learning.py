"""Egresses that learn together, in the budget file that all processes share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from subnet_run import KEY, RATES, RUN, SubnetRun

from engine.budget import Budget, BudgetSettings, Outcome, parse_rate, snapshot, totals
from engine.budget.records import found
from engine.budget.state import MAX_EGRESSES, RECORD_BYTES, TOGETHER, State, offset
from engine.budget.subnet_learning import JOINED, PARTED
from engine.budget.subnets import ALONE_FAILS
from engine.model import EgressSpec


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SubnetRun]:
    made = SubnetRun(tmp_path)
    yield made
    made.budget.close()


def test_they_learn_together_from_the_second_block_on(run: SubnetRun) -> None:
    run.refuse(0)
    assert run.together() == [False] * 4
    run.refuse(1)
    assert run.together() == [True, True, True, False]
    shared = run.shared()
    assert shared is not None
    assert shared.rate_per_s == pytest.approx(sum(RATES), rel=0.01)
    assert [name for name, what, _ in run.events if what == JOINED] == ["p001"]


def test_who_was_not_refused_waits_as_well_and_status_says_so(run: SubnetRun) -> None:
    run.join()
    assert [run.budget.usable(egress) for egress in range(4)] == [False, False, False, True]
    assert [view.state for view in snapshot(run.path)] == ["blocked", "blocked", "blocked", "ok"]
    assert all(view.open_in_s > 1 for view in snapshot(run.path)[:3])
    other = run.open()
    assert [other.usable(egress) for egress in range(4)] == [False, False, False, True]
    other.close()


def test_a_permit_from_before_the_block_is_not_current_any_more(run: SubnetRun) -> None:
    run.join()
    run.resume()
    early = run.permit(2)
    assert run.budget.current(early)
    run.refuse(0, "again ")
    assert run.own(2).state == State.CLOSED
    assert not run.budget.current(early)
    health = run.budget.report(early, Outcome.OTHER, job="late")
    assert health.in_trouble


def test_one_probe_for_all_and_its_success_is_everybodys(run: SubnetRun) -> None:
    run.join()
    run.over()
    probe = run.permit(2)
    assert probe.probe
    assert not run.budget.usable(1)
    assert run.budget.take(egress=0, stop=run.stop, if_usable=True) is None
    before = run.shared()
    run.budget.report(probe, Outcome.OK, job="a control video")
    after = run.shared()
    assert before is not None and after is not None
    assert (before.state, after.state) == (State.HALF_OPEN, State.CLOSED)
    assert run.budget.usable(2)
    assert after.rate_per_s < sum(RATES)
    shares = [run.own(egress).interval for egress in range(3)]
    assert shares == pytest.approx([3 * after.interval] * 3)
    told = [(name, what) for name, what, _ in run.events if name == "p003"]
    assert told == [("p003", "resume")]


def test_a_block_of_the_subnet_is_told_for_each_of_its_egresses(run: SubnetRun) -> None:
    run.join()
    run.resume()
    del run.events[:]
    run.refuse(1, "again ")
    blocked = {name for name, what, _ in run.events if what == "block"}
    assert blocked == {"p001", "p002", "p003"}


def test_they_are_paced_by_one_record(run: SubnetRun) -> None:
    run.join()
    run.resume()
    run.change(0, interval=0.1, top=10.0, base=10.0, tat=time.monotonic())
    slots, used = [], set()
    while len(slots) < 12:
        permit = run.budget.take(stop=run.stop)
        assert permit is not None
        if permit.egress < 3:
            slots.append(permit.granted_s)
            used.add(permit.egress)
            run.budget.report(permit, Outcome.OK, job=f"{len(slots)}")
    assert slots[-1] - slots[0] >= 11 * 0.095 - 0.2  # a burst of two may have been left
    assert used == {0, 1, 2}


def test_the_next_run_goes_on_together(run: SubnetRun) -> None:
    run.join()
    run.resume()
    run.budget.close()
    run.budget = run.open(new_run=True)
    assert run.together() == [True, True, True, False]
    assert run.budget.take(egress=0, stop=run.stop) is not None


def test_at_another_rate_each_begins_alone(run: SubnetRun) -> None:
    run.join()
    run.budget.close()
    run.budget = run.open(new_run=True, settings=BudgetSettings(parse_rate("2/s")))
    assert run.together() == [False] * 4


@pytest.mark.parametrize("damage", [b"\0", b"\xff"])
def test_without_the_shared_record_each_goes_on_with_its_share(run: SubnetRun, damage: bytes) -> None:
    run.join()
    run.resume()
    share = run.own(2).rate_per_s
    at = found(Path(run.path).read_bytes(), KEY)
    assert at is not None
    with open(run.path, "r+b") as file:
        os.pwrite(file.fileno(), damage * RECORD_BYTES, at)
    assert run.budget.take(egress=2, stop=run.stop) is not None
    assert run.together()[2] is False
    assert 0.69 <= run.own(2).rate_per_s / share <= 1.31
    other = run.open()
    other.close()
    assert run.together() == [False] * 4
    run.refuse(0, "again ")
    run.refuse(1, "again ")
    assert run.together() == [True, True, True, False]


def test_who_is_refused_while_the_others_are_served_parts_them(run: SubnetRun) -> None:
    run.join()
    run.over()
    run.budget.report(run.permit(2), Outcome.OK, job="a control video")
    fails = run.own(0).fails
    while fails < ALONE_FAILS:
        with run.budget._store.transaction(0) as record:
            record.state = record.state._replace(open_until=record.now)
        run.budget.report(run.permit(0), Outcome.BLOCKED, job="a control video")
        fails += 1
        if run.together()[0]:
            run.change(2, open_until=time.monotonic())
            run.budget.report(run.permit(2), Outcome.OK, job="a control video")
    assert run.together() == [False] * 4
    assert [what for _, what, _ in run.events].count(PARTED) == 1


def test_what_is_shared_counts_no_request(run: SubnetRun) -> None:
    run.join()
    run.resume()
    run.budget.flush()
    requests = sum(view.requests for view in snapshot(run.path))
    assert totals(run.path)[0] == requests


def test_in_a_full_file_each_learns_alone(tmp_path: Path) -> None:
    many = [
        EgressSpec(f"p{n:04}", f"http://203.0.{113 + n // 250}.{n % 250}:80") for n in range(MAX_EGRESSES)
    ]
    budget = Budget.open(str(tmp_path / "budget"), many, RUN, new_run=True)
    stop = threading.Event()
    for egress, rate in enumerate((5.0, 8.0)):
        with budget._store.transaction(egress) as record:
            record.state = record.state._replace(interval=1 / rate, tat=record.now)
    for egress in (0, 1):
        for attempt in ("video", "control"):
            permit = budget.take(egress=egress, stop=stop)
            assert permit is not None
            budget.report(permit, Outcome.BLOCKED, job=f"{egress} {attempt}")
    state = budget.peek(0)
    assert state is not None
    assert not state.flags & TOGETHER
    assert os.path.getsize(tmp_path / "budget") == offset(MAX_EGRESSES)
    budget.close()
