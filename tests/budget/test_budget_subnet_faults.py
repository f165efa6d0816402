"""Egresses that learn together, where something goes wrong: a death, a damaged record, another list."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from subnet_run import KEY, RUN, SubnetRun

from engine.budget import Budget, BudgetSettings, Outcome, parse_rate, snapshot
from engine.budget.pacing import fresh, plausible, ready_at
from engine.budget.records import found
from engine.budget.snapshot import remembered
from engine.budget.state import (
    CONFIRMED,
    MAX_EGRESSES,
    RECORD_BYTES,
    SUBNET,
    TOGETHER,
    EgressState,
    Header,
    Phase,
    State,
    Why,
    offset,
    pack,
    pack_header,
    unpack,
)
from engine.budget.store import Store
from engine.budget.subnet_learning import JOINED, PARTED
from engine.budget.subnets import (
    ALONE_FAILS,
    added_up,
    as_seen,
    for_so_many,
    parted,
    take_together,
    with_share,
)
from engine.model import EgressSpec

NOW, WALL = 50_000.0, 1.7e9
NAME = "203.0.113.0/24"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SubnetRun]:
    made = SubnetRun(tmp_path)
    yield made
    made.budget.close()


def together(budget: Budget) -> list[bool]:
    """Whether each egress learns with others, once each has been used."""
    store = budget._store
    for egress in range(len(store)):
        with store.transaction(egress):
            pass
    return [bool(state and state.flags & TOGETHER) for state in store.own_states()]


def put(path: str, at: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        os.pwrite(file.fileno(), data, at)


def at_of(run: SubnetRun, key: int) -> int:
    at = found(Path(run.path).read_bytes(), key)
    assert at is not None
    return at


def of_another_boot(run: SubnetRun) -> None:
    """Let all that the file says be of another boot."""
    data = Path(run.path).read_bytes()
    put(run.path, 0, pack_header(Header(len(data) // RECORD_BYTES - 1, b"x" * 16)))


def last_refusal_of_one_alone(run: SubnetRun) -> Callable[[], object]:
    """One is refused while the others are served: the report that parts them."""
    run.join()
    run.over()
    run.budget.report(run.permit(2), Outcome.OK, job="a control video")
    with run.budget._store.transaction(0) as record:
        record.state = record.state._replace(open_until=record.now, fails=ALONE_FAILS - 1)
    permit = run.permit(0)
    return lambda: run.budget.report(permit, Outcome.BLOCKED, job="a control video")


def last_refusal_of_a_shared_limit(run: SubnetRun) -> Callable[[], object]:
    """Two are refused: the report that joins them."""
    run.refuse(0)
    run.budget.report(run.permit(1), Outcome.BLOCKED, job="1 video")
    permit = run.permit(1)
    return lambda: run.budget.report(permit, Outcome.BLOCKED, job="1 control")


def is_killed(run: SubnetRun, writes: int, act: Callable[[], object]) -> bool:
    """Whether a process that does this makes more than so many writes: before the next one it is killed."""
    pid = os.fork()
    if pid == 0:
        file, left = run.budget._store._file, [None] * writes
        write = file.put

        def counted(at: int, data: bytes) -> None:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left.pop()
            write(at, data)

        file.put = counted  # type: ignore[method-assign]
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


# ---- processes --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("prepare", [last_refusal_of_a_shared_limit, last_refusal_of_one_alone])
def test_killed_amid_joining_or_parting_all_learn_together_or_none(
    tmp_path: Path, prepare: Callable[[SubnetRun], Callable[[], object]]
) -> None:
    for writes in range(20):
        place = tmp_path / str(writes)
        place.mkdir()
        run = SubnetRun(place)
        killed = is_killed(run, writes, prepare(run))
        assert together(run.budget) in ([True, True, True, False], [False] * 4), writes
        assert together(run.budget)[0] is (run.shared() is not None), writes
        run.budget.close()
        if not killed:
            break
    assert writes > 4


def test_parted_by_one_process_is_parted_for_all_and_told_once(run: SubnetRun) -> None:
    act = last_refusal_of_one_alone(run)
    other = run.open(count=4)
    assert together(other) == [True, True, True, True, False]
    act()
    assert together(other) == [False] * 5
    assert run.shared() is None
    assert not run.budget._store.part(KEY)
    assert [what for _, what, _ in run.events].count(PARTED) == 1
    other.close()


# ---- other lists ------------------------------------------------------------------------------------------
def test_a_proxy_that_is_added_learns_with_its_subnet(run: SubnetRun) -> None:
    run.join()
    run.budget.close()
    run.budget = run.open(new_run=True, count=5)
    assert together(run.budget) == [True] * 5 + [False]
    assert not run.budget.usable(4)
    run.budget.close()
    run.budget = run.open(new_run=True, count=1)  # two of the subnet's are not in the list any more
    assert together(run.budget) == [True, False]
    assert not run.budget.usable(0)


def test_one_that_another_run_has_as_well_joins_when_it_is_refused(run: SubnetRun) -> None:
    other = run.open(count=5)
    run.join()
    assert together(other) == [True] * 3 + [False] * 3
    stop = threading.Event()
    for attempt in ("video", "control"):
        permit = other.take(egress=4, stop=stop)
        assert permit is not None
        other.report(permit, Outcome.BLOCKED, job=attempt)
    assert together(other) == [True] * 5 + [False]
    state = other.peek(4)
    assert state is not None
    assert other._subnets is not None
    other._subnets.refused(4, state, None)  # as by another thread that was refused before
    assert [what for _, what, _ in run.events].count(JOINED) == 2
    other.close()


def test_at_another_rate_the_record_of_the_subnet_is_given_up_and_its_block_goes_on(run: SubnetRun) -> None:
    run.join()
    run.change(0, open_until=time.monotonic() + 500, open_until_wall=time.time() + 500)
    run.budget._subnets._moved(run.shared(), run.shared(), time.monotonic())  # type: ignore[union-attr, arg-type]
    run.budget.apply_settings(BudgetSettings(parse_rate("2/s")))
    assert run.shared() is None
    assert together(run.budget) == [False] * 4
    assert not run.budget.usable(2)
    assert 400 < snapshot(run.path)[2].open_in_s <= 500


def test_in_a_full_file_a_subnet_takes_the_place_of_an_old_egress(tmp_path: Path) -> None:
    run = SubnetRun(tmp_path)
    old = [EgressSpec(f"o{n:04}", f"http://o{n}.example:80") for n in range(MAX_EGRESSES - 4)]
    run.budget.close()
    Budget.open(run.path, old, RUN).close()
    assert os.path.getsize(run.path) == offset(MAX_EGRESSES)
    run.budget = run.open(new_run=True)
    run.join()
    assert together(run.budget) == [True, True, True, False]
    assert os.path.getsize(run.path) == offset(MAX_EGRESSES)
    run.budget.close()
    Budget.open(run.path, [EgressSpec("new", "http://new.example:80")], RUN).close()
    run.budget = run.open()
    assert together(run.budget) == [True, True, True, False]
    run.budget.close()


# ---- damage -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("damage", [b"\0", b"\xff"])
def test_an_egress_whose_record_is_damaged_stays_with_its_subnet(run: SubnetRun, damage: bytes) -> None:
    run.join()
    put(run.path, at_of(run, run.own(2).key), damage * RECORD_BYTES)
    assert run.budget.take(egress=2, stop=run.stop, give_up=lambda: True) is None
    assert together(run.budget) == [True, True, True, False]
    assert not run.budget.usable(2)


@pytest.mark.parametrize("damage", [b"\0", b"\xff"])
def test_without_the_shared_record_a_block_goes_on(run: SubnetRun, damage: bytes) -> None:
    run.join()
    put(run.path, at_of(run, KEY), damage * RECORD_BYTES)
    with run.budget._store.transaction(2):
        pass
    assert not run.budget.usable(2)
    assert run.budget.take(egress=2, stop=run.stop, if_usable=True) is None


def test_after_a_reboot_a_block_goes_on_and_the_shared_record_is_given_up(run: SubnetRun) -> None:
    run.join()
    run.budget.close()
    of_another_boot(run)
    run.budget = run.open(new_run=True)
    assert [run.budget.usable(egress) for egress in range(4)] == [False, False, False, True]
    assert together(run.budget) == [False] * 4
    data = Path(run.path).read_bytes()
    states = [unpack(data[at : at + RECORD_BYTES]) for at in range(offset(0), len(data), RECORD_BYTES)]
    assert not any(state and state.flags & SUBNET for state in states)
    assert len(snapshot(run.path)) == 4


def test_what_an_older_engine_wrote_does_not_divide_a_subnet(run: SubnetRun) -> None:
    """It keeps the flags of a record, and nothing where the subnet is."""
    run.join()
    run.resume()
    put(run.path, at_of(run, run.own(0).key), pack(run.own(0)._replace(subnet=0)))
    run.budget.close()
    run.budget = run.open(new_run=True)
    assert together(run.budget) == [True, True, True, False]


# ---- pacing -----------------------------------------------------------------------------------------------
def joined(
    rate: str, count: int, *, now: float = NOW, **fields: object
) -> tuple[list[EgressState], EgressState, BudgetSettings]:
    """Egresses that share a limit which blocks none of them at `now`."""
    settings = BudgetSettings(parse_rate(rate))
    blocked = {"state": State.OPEN, "why": Why.BLOCK, "flags": CONFIRMED, "trouble_since": now}
    alone = [fresh(n + 1, b"", now, WALL, settings)._replace(**fields) for n in range(count)]
    shared = added_up([state._replace(**blocked) for state in alone], NAME, now, WALL, settings)
    shared = shared._replace(
        state=State.CLOSED, why=Why.NONE, flags=SUBNET, trouble_since=0.0, open_until=0.0
    )
    return [with_share(state, shared, count, now) for state in alone], shared, settings


@pytest.mark.parametrize("working", [1, 2])
def test_the_ceiling_of_a_run_holds_for_each(working: int) -> None:
    """Whoever is left of them does not send for those that are lost."""
    members, shared, settings = joined("2/s", 4)
    slots: dict[int, list[float]] = {egress: [] for egress in range(working)}
    now = NOW
    while now < NOW + 10:
        seen = [as_seen(members[egress], shared, settings) for egress in range(working)]
        ready, egress = min((ready_at(state), egress) for egress, state in enumerate(seen))
        if ready > now:
            now = ready
            continue
        members[egress], shared, grant = take_together(members[egress], shared, now, settings, 1)
        assert not isinstance(grant, float)
        assert now <= grant.slot <= grant.expires
        slots[egress].append(grant.slot)
    for own in slots.values():
        assert 19 <= len(own) <= 22
        assert all(later - earlier >= 0.49 for earlier, later in itertools.pairwise(own[2:]))


def test_more_egresses_raise_the_ceiling_of_their_subnet() -> None:
    _, shared, settings = joined("2/s", 4)
    shared = shared._replace(phase=Phase.FIXED)
    assert shared.configured == pytest.approx(1 / 8)
    more = for_so_many(shared, 10, settings)
    assert (more.configured, more.phase) == (pytest.approx(1 / 20), Phase.HOLD)
    assert for_so_many(shared, 4, settings) is shared
    assert for_so_many(shared, 1, settings) is shared
    _, shared, settings = joined("auto", 4)
    assert for_so_many(shared, 10, settings) is shared


def test_a_share_is_no_faster_than_the_ceiling() -> None:
    members, shared, settings = joined("2/s", 4)
    assert with_share(members[0], shared, 2, NOW).rate_per_s == 2.0
    busy = members[0]._replace(tat=NOW + 0.5)
    assert plausible(with_share(busy, shared, 2, NOW), NOW, settings)


def test_a_slow_one_that_joins_faster_ones_is_believed() -> None:
    members, shared, settings = joined("auto", 3)
    slow = members[0]._replace(interval=30.0, tat=NOW + 30)
    assert plausible(with_share(slow, shared._replace(interval=0.1), 3, NOW), NOW, settings)


def test_many_that_are_parted_at_once_do_not_all_send_at_once() -> None:
    members, _, _ = joined("auto", 100)
    last_used = [member._replace(tat=NOW - 100, interval=20.0) for member in members]
    free = sorted(ready_at(parted(member, NOW)) - NOW for member in last_used)
    assert 5 <= sum(at < 5 for at in free) <= 50
    assert free[-1] < 30


def test_who_is_lost_probes_after_those_that_work() -> None:
    members, shared, settings = joined("auto", 2)
    blocked = {"state": State.OPEN, "why": Why.BLOCK, "flags": SUBNET | CONFIRMED, "open_until": NOW + 60}
    shared = shared._replace(**blocked)
    lost = members[0]._replace(state=State.OPEN, why=Why.NETWORK, open_until=NOW + 5)
    works, waits = (ready_at(as_seen(state, shared, settings)) for state in (members[1], lost))
    assert (works, waits > works + 1) == (NOW + 60, True)
    assert ready_at(as_seen(lost, shared._replace(state=State.CLOSED), settings)) == NOW + 5


# ---- what is shown ----------------------------------------------------------------------------------------
def test_status_shows_the_longer_cool_down_and_the_rate_of_now(run: SubnetRun) -> None:
    run.join()
    run.change(0, open_until=time.monotonic() + 500, interval=0.1, base=9.0)
    views = snapshot(run.path)[:3]
    assert [view.state for view in views] == ["blocked"] * 3
    assert [view.open_in_s for view in views] == pytest.approx([500] * 3, abs=5)
    assert [view.rate_per_s for view in views] == pytest.approx([10 / 3] * 3)
    assert [state.base for state in remembered(run.path)[:3]] == pytest.approx([3.0] * 3)


# ---- what it costs ----------------------------------------------------------------------------------------
def test_a_permit_looks_at_few_of_many_that_learn_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, permits = 200, 400

    def on_common_rate(
        states: Sequence[EgressState | None], now: float, wall: float
    ) -> tuple[dict[int, EgressState], EgressState]:
        _, shared, _ = joined("auto", count, now=now, interval=0.1)
        return {egress: with_share(s, shared, count, now) for egress, s in enumerate(states) if s}, shared

    specs = [EgressSpec(f"p{n}", f"http://203.0.113.{n}:80") for n in range(count)]
    budget = Budget.open(str(tmp_path / "budget"), specs, RUN)
    budget._store.change(on_common_rate)
    looks: list[int] = []
    peek, used, stop = Store.peek, set(), threading.Event()

    def counted(store: Store, egress: int) -> EgressState | None:
        looks.append(egress)
        return peek(store, egress)

    monkeypatch.setattr(Store, "peek", counted)
    for _ in range(permits):
        permit = budget.take(stop=stop)
        assert permit is not None
        used.add(permit.egress)
    assert len(used) == count
    assert len(looks) < 20 * permits
    budget.close()
