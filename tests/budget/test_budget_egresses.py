"""Several egresses: the dead are told from the lost network, the hanging from the slow, and all come back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from engine.budget import Budget, BudgetSettings, Outcome, parse_rate, snapshot
from engine.budget.circuit_breaker import (
    AWAY_S,
    GATEWAY_LOSSES,
    LOSSES,
    MAX_AWAY_S,
    PROBES,
    RECALL_S,
    on_outcome,
    recalled,
    silent_probe,
)
from engine.budget.pacing import Grant, fresh, plausible, take
from engine.budget.state import AWAY, EgressState, State, Why
from engine.model import EgressSpec

T0, WALL = 1000.0, 1.7e9
RUN = BudgetSettings(parse_rate("none"))
LONG_AGO, ALONE = 0.0, None


class Egress:
    """One egress and its clock. `others_ok_at` is what the others last achieved."""

    def __init__(self, settings: BudgetSettings = RUN) -> None:
        self.settings = settings
        self.now = T0
        self.state: EgressState = fresh(7, b"p001", T0, WALL, settings)

    def tell(
        self, outcome: Outcome, others_ok_at: float | None, job: int = 1, epoch: int | None = None
    ) -> None:
        self.state = on_outcome(
            self.state,
            outcome,
            epoch=self.state.epoch if epoch is None else epoch,
            granted_s=self.now,
            job=job,
            now=self.now,
            wall=WALL + self.now,
            settings=self.settings,
            others_ok_at=others_ok_at,
        )

    def probe(self) -> None:
        self.now = max(self.now, self.state.open_until) + 0.001
        self.state, got = take(self.state, self.now, self.settings, 1)
        assert isinstance(got, Grant)

    def lose(self, others_ok_at: float | None = LONG_AGO) -> Egress:
        for job in range(1, LOSSES + 1):
            self.tell(Outcome.NETWORK, others_ok_at, job)
        assert (self.state.state, self.state.why) == (State.OPEN, Why.NETWORK)
        return self

    def lose_probe(self, *, others_work: bool, outcome: Outcome = Outcome.NETWORK) -> None:
        self.probe()
        self.now += 0.5
        self.tell(outcome, self.now if others_work else LONG_AGO)

    @property
    def wait_s(self) -> float:
        return self.state.open_until - self.now

    @property
    def away(self) -> bool:
        return self.state.state == State.OPEN and bool(self.state.flags & AWAY)


# Retired for a while


def test_a_proxy_whose_probes_fail_while_others_work_is_retired_for_longer_and_longer() -> None:
    egress = Egress().lose()
    for _ in range(PROBES - 1):
        egress.lose_probe(others_work=True)
        assert not egress.away
        assert egress.wait_s < 15
    waits = []
    for _ in range(5):
        egress.lose_probe(others_work=True)
        assert egress.away
        waits.append(egress.wait_s)
    assert waits == pytest.approx([AWAY_S, 2 * AWAY_S, 4 * AWAY_S, MAX_AWAY_S, MAX_AWAY_S])
    assert plausible(egress.state, egress.now, RUN)
    egress.probe()
    egress.tell(Outcome.OK, egress.now)
    assert (egress.state.state, egress.away, egress.state.away) == (State.CLOSED, False, 0)


def test_where_nobody_works_the_network_is_lost_and_nobody_is_retired() -> None:
    egress = Egress().lose()
    for _ in range(50):
        egress.lose_probe(others_work=False)
        assert not egress.away
        assert egress.wait_s <= 11


def test_an_egress_that_is_alone_is_never_retired_for_being_unreachable() -> None:
    egress = Egress().lose(ALONE)
    for _ in range(50):
        egress.probe()
        egress.tell(Outcome.NETWORK, ALONE)
        assert egress.wait_s <= 11
        assert not egress.away


def test_what_others_did_before_it_opened_proves_nothing() -> None:
    egress = Egress().lose()
    for _ in range(10):
        opened_at = egress.state.opened_at
        egress.probe()
        egress.tell(Outcome.NETWORK, opened_at)
        assert not egress.away


def test_all_times_follow_the_pace() -> None:
    egress = Egress(BudgetSettings(parse_rate("none"), 60.0)).lose()
    for _ in range(PROBES):
        egress.lose_probe(others_work=True)
    assert egress.wait_s == pytest.approx(AWAY_S / 60)


def test_one_that_is_away_is_tried_soon_when_nobody_works_any_more() -> None:
    egress = Egress().lose()
    for _ in range(PROBES):
        egress.lose_probe(others_work=True)
    egress.state = recalled(egress.state, egress.now, WALL, RUN)
    assert egress.wait_s == pytest.approx(RECALL_S)
    for _ in range(3):
        egress.lose_probe(others_work=False)
        assert egress.wait_s <= 11
        assert egress.away  # it goes on being known as unreachable
    egress.lose_probe(others_work=True)
    assert egress.wait_s == pytest.approx(2 * AWAY_S)  # it is no stranger
    closed = fresh(7, b"p001", T0, WALL, RUN)
    assert recalled(closed, T0, WALL, RUN) == closed


# Hanging and trickling


@pytest.mark.parametrize("others_ok_at", [ALONE, LONG_AGO, T0 + 50])
def test_five_timeouts_in_a_row_open_an_egress(others_ok_at: float | None) -> None:
    egress = Egress()
    for _ in range(LOSSES):
        assert egress.state.state == State.CLOSED
        egress.now += 10
        egress.tell(Outcome.TIMEOUT, others_ok_at)
    assert (egress.state.state, egress.state.why) == (State.OPEN, Why.NETWORK)


def test_an_answer_between_begins_the_count_again() -> None:
    egress = Egress()
    for job in range(1, 100):
        egress.now += 1
        egress.tell(Outcome.TIMEOUT if job % 2 else Outcome.NETWORK, egress.now, job)
        if job % (LOSSES - 1) == 0:
            egress.tell(Outcome.OK, egress.now)
    assert egress.state.state == State.CLOSED


def test_a_probe_that_hangs_is_a_failed_one() -> None:
    egress = Egress().lose()
    egress.lose_probe(others_work=True, outcome=Outcome.TIMEOUT)
    assert egress.state.fails == 2
    egress.probe()
    assert silent_probe(egress.state, egress.now, WALL, RUN, egress.now) == egress.state  # it has time yet
    late = egress.state.open_until
    assert silent_probe(egress.state, late, WALL, RUN, ALONE) == egress.state
    opened = silent_probe(egress.state, late, WALL, RUN, late)
    assert (opened.state, opened.fails) == (State.OPEN, 3)
    alone = Egress().lose(ALONE)
    alone.probe()
    alone.tell(Outcome.TIMEOUT, ALONE)
    assert (alone.state.state, alone.away) == (State.OPEN, False)


# Rotating gateways


def test_a_gateway_outlives_its_exits_but_not_twenty_in_a_row() -> None:
    egress = Egress()
    for job in range(1, 200):
        egress.tell(Outcome.EXIT, ALONE, job)
        if job % (GATEWAY_LOSSES - 1) == 0:
            egress.tell(Outcome.OK, ALONE)
    assert egress.state.state == State.CLOSED
    egress.tell(Outcome.OK, ALONE)
    for job in range(1, GATEWAY_LOSSES):
        egress.tell(Outcome.EXIT, ALONE, job)
    assert egress.state.state == State.CLOSED
    egress.tell(Outcome.EXIT, ALONE, GATEWAY_LOSSES)
    assert (egress.state.state, egress.state.why) == (State.OPEN, Why.NETWORK)


# The file


def several(
    path: Path,
    count: int,
    rate: str = "none",
    pace: float = 1.0,
    events: list[str] | None = None,
    new_run: bool = False,
) -> Budget:
    specs = [EgressSpec(f"p{n:03d} h:1", f"http://u{n}@h:1") for n in range(count)]
    told = events if events is not None else []
    return Budget.open(
        str(path),
        specs,
        BudgetSettings(parse_rate(rate), pace),
        new_run=new_run,
        on_event=lambda name, what, wait_s: told.append(f"{name[:4]} {what}"),
    )


STOP = threading.Event()


def lose(budget: Budget, egress: int) -> None:
    permits = [budget.take(egress=egress, stop=STOP) for _ in range(LOSSES)]
    for job, permit in enumerate(permits):
        assert permit is not None
        budget.report(permit, Outcome.NETWORK, job=f"j{job}")


def test_a_dead_proxy_is_retired_told_and_tried_again(tmp_path: Path) -> None:
    """The clock runs 300 times faster: 10 minutes are 2 s."""
    events: list[str] = []
    budget = several(tmp_path / "budget", 2, pace=300, events=events)
    lose(budget, 1)
    good = budget.take(egress=0, stop=STOP)
    assert good is not None
    for _ in range(PROBES):
        budget.report(good, Outcome.OK, job="a")
        budget._order._looked_at = 0.0  # what the other has done is looked up four times a second
        probe = budget.take(egress=1, stop=STOP)
        assert probe is not None
        budget.report(good, Outcome.OK, job="a")
        budget._order._looked_at = 0.0
        before_s = time.monotonic()
        budget.report(probe, Outcome.NETWORK, job="b")
    views = snapshot(str(tmp_path / "budget"))
    assert views[1].open_in_s + (time.monotonic() - before_s) > 1.5
    assert views[1].open_in_s <= 2.0
    assert [view.state for view in views] == ["ok", "unreachable"]
    assert events[-1] == "p001 retired"
    again = budget.take(egress=1, stop=STOP)  # waits its time
    assert again is not None
    budget.report(again, Outcome.OK, job="c")
    assert [egress_view.state for egress_view in snapshot(str(tmp_path / "budget"))] == ["ok", "ok"]
    assert events[-1] == "p001 network_back"


def with_one_retired(path: Path) -> Budget:
    """Two egresses, of which the second is retired for long."""
    budget = several(path, 2)
    lose(budget, 1)
    with budget._store.transaction(1) as record:
        record.state = record.state._replace(
            flags=record.state.flags | AWAY,
            open_until=record.now + 3000,
            open_until_wall=record.wall + 3000,
        )
    return budget


def test_the_retired_are_recalled_when_the_last_one_closes(tmp_path: Path) -> None:
    budget = with_one_retired(tmp_path / "budget")
    lose(budget, 0)
    views = snapshot(str(tmp_path / "budget"))
    assert [view.state for view in views] == ["network", "unreachable"]
    assert views[1].open_in_s <= RECALL_S


def test_a_new_run_tries_the_retired_at_once(tmp_path: Path) -> None:
    budget = with_one_retired(tmp_path / "budget")
    several(tmp_path / "budget", 2)
    assert snapshot(str(tmp_path / "budget"))[1].open_in_s > 2000  # a worker that comes changes nothing
    several(tmp_path / "budget", 2, new_run=True)
    assert snapshot(str(tmp_path / "budget"))[1].open_in_s == 0
    probe = budget.take(egress=1, stop=STOP)
    assert probe is not None
    budget.report(probe, Outcome.OK, job="a")
    assert snapshot(str(tmp_path / "budget"))[1].state == "ok"


def test_one_to_be_avoided_is_used_only_when_no_other_is_closed(tmp_path: Path) -> None:
    budget = several(tmp_path / "budget", 3)

    def taken() -> int:
        permit = budget.take(stop=STOP, avoid=lambda egress, _: egress == 0)
        assert permit is not None
        return permit.egress

    used = [taken() for _ in range(40)]
    assert {used.count(1), used.count(2)} == {20}
    lose(budget, 1)
    budget._order.begin()
    assert {taken() for _ in range(10)} == {2}
    lose(budget, 2)
    budget._order.begin()
    assert taken() == 0


def test_one_to_be_avoided_waits_for_a_slot_of_another(tmp_path: Path) -> None:
    budget = several(tmp_path / "budget", 2, rate="20")
    used = [budget.take(stop=STOP, avoid=lambda egress, _: egress == 1) for _ in range(5)]
    assert [permit.egress for permit in used if permit is not None] == [0] * 5


def test_a_probe_that_hangs_is_given_up_by_whoever_comes_next(tmp_path: Path) -> None:
    budget = several(tmp_path / "budget", 2, pace=300)
    lose(budget, 1)
    assert budget.take(egress=1, stop=STOP) is not None  # the probe, of which nothing is heard
    with budget._store.transaction(1) as record:
        assert (record.state.state, record.state.fails) == (State.HALF_OPEN, 1)
        record.state = record.state._replace(open_until=record.now)
    got: list[object] = []
    other = threading.Thread(target=lambda: got.append(budget.take(egress=1, stop=STOP)))
    other.start()
    other.join()
    state = budget.peek(1)
    assert got[0] is not None
    assert state is not None
    assert (state.state, state.fails) == (State.HALF_OPEN, 2)
