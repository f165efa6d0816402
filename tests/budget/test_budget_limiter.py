from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import Lateness, ends, shares_s

from engine.budget import Budget, BudgetSettings, EgressHealth, Outcome, parse_rate, snapshot
from engine.budget.settings import BURST
from engine.budget.state import RECORD_BYTES, Header, offset, pack, pack_header, unpack, unpack_header
from engine.budget.watch import Watch
from engine.errors import NoProxyError, UsageError
from engine.model import EgressSpec, Permit
from engine.storage.processes import boot_digest

STOP = threading.Event()
PACE = 100.0  # cool-downs of 30 ms


def specs(n: int) -> list[EgressSpec]:
    return [EgressSpec(f"p{i + 1:03} h:{i + 1}", f"http://user:canary@h:{i + 1}") for i in range(n)]


def opened(path: Path | str, n: int = 1, rate: str = "none", pace: float = PACE, **more: object) -> Budget:
    egresses = specs(n) if n > 1 else [EgressSpec("direct")]
    return Budget.open(str(path), egresses, BudgetSettings(parse_rate(rate), pace), **more)  # type: ignore[arg-type]


def taken(budget: Budget, egress: int | None = None) -> Permit:
    permit = budget.take(egress=egress, stop=STOP)
    assert permit is not None
    return permit


def edit(path: Path, place: int, **changes: object) -> None:
    data = bytearray(path.read_bytes())
    at = offset(place)
    state = unpack(bytes(data[at : at + RECORD_BYTES]))
    assert state is not None
    data[at : at + RECORD_BYTES] = pack(state._replace(**changes))  # type: ignore[arg-type]
    path.write_bytes(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget"


def test_requests_outcomes_and_bytes_are_counted_for_status(path: Path) -> None:
    budget = opened(path)
    budget.report(taken(budget), Outcome.OK, job="a")
    budget.unused(taken(budget))
    budget.report(taken(budget), Outcome.OTHER, job="b")
    budget.add_bytes(0, 1000)
    budget.add_bytes(0, 234)
    budget.flush()
    (view,) = snapshot(str(path))
    assert (view.name, view.state, view.rate_per_s, view.limited) == ("direct", "ok", None, False)
    assert (view.requests, view.ok, view.blocked, view.bytes) == (2, 1, 0, 1234)


def test_a_second_process_opens_the_same_budget(path: Path) -> None:
    one, two = opened(path, rate="5"), opened(path, rate="5")
    with Lateness() as machine:
        granted_s = [taken(budget).granted_s for budget in (one, two, one, two, one)]
    # Whoever is late: an idle egress keeps so many unused slots, and no more.
    assert granted_s[4] - granted_s[0] > 0.2 * (4 - BURST) - 1e-6
    if (
        machine.prompt
    ):  # or else a permit was had late, and the next one in time; or its slot was slept through
        gaps_s = [later - earlier for earlier, later in itertools.pairwise(granted_s)]
        assert 0.15 < gaps_s[0] < 0.25
        assert gaps_s[1:] == pytest.approx([0.2] * 3, abs=1e-6)


def test_a_permit_comes_at_its_slot_and_goes_stale(path: Path) -> None:
    budget = opened(path, rate="20")
    for _ in range(5):
        with Lateness() as machine:
            permit = taken(budget)
            had_s = time.monotonic()
        assert permit.granted_s <= had_s
        assert had_s <= permit.expires_s + 0.05 or not machine.prompt
        assert permit.expires_s - permit.granted_s == pytest.approx(0.05)


def test_who_comes_too_late_leaves_no_answer_to_be_awaited(path: Path) -> None:
    budget = opened(path, rate="30")
    permit = taken(budget)
    asked = budget.peek(0)
    assert asked is not None
    assert asked.awaited_since(time.monotonic()) > 0
    budget._too_late(permit, STOP)
    state = budget.peek(0)
    assert state is not None
    assert state.awaited_since(time.monotonic()) == 0
    assert state.requests == asked.requests - 1


def test_who_wakes_too_late_takes_anew(path: Path) -> None:
    class Sleepy(threading.Event):
        """Comes back 0.2 s late, once, and says when."""

        late_s, woke_s = 0.2, 0.0

        def wait(self, timeout: float | None = None) -> bool:
            late_s, self.late_s = self.late_s, 0.0
            found = super().wait((timeout or 0.0) + late_s)
            self.woke_s = self.woke_s or time.monotonic()
            return found

    budget = opened(path, rate="30")
    taken(budget)
    had = 1
    while had < 200:
        budget._given[0].acquire()  # the wait for the turn is not the one that is late
        threading.Timer(0.01, budget._given[0].release).start()
        stop = Sleepy()
        state = budget.peek(0)
        assert state is not None
        # So that it reserves at once, and waits then; a busy machine may be there when the slot is due already.
        threading.Event().wait(max(0.0, state.tat - 0.04 - time.monotonic()))
        permit = budget.take(egress=0, stop=stop)
        assert permit is not None
        had += 1
        if stop.woke_s:
            break
    assert stop.woke_s, "it never waited for its slot"
    assert permit.expires_s > stop.woke_s
    budget.flush()
    assert snapshot(str(path))[0].requests == had


def test_any_takes_what_is_free_and_spreads(path: Path) -> None:
    budget = opened(path, n=5)
    used = [taken(budget).egress for _ in range(50)]
    assert {used.count(egress) for egress in range(5)} == {10}
    assert taken(budget, 3).egress == 3


def test_any_goes_round_an_egress_that_is_blocked(path: Path) -> None:
    budget = opened(path, n=2, pace=1.0)
    permit = taken(budget, 0)
    before_s = time.monotonic()
    budget.report(permit, Outcome.BLOCKED, job="a")
    view = snapshot(str(path))[0]
    assert 0 < view.open_in_s + (time.monotonic() - before_s) <= 3.3
    assert not budget.current(permit)
    assert not budget.usable(0)
    assert {taken(budget).egress for _ in range(10)} == {1}
    assert [view.state for view in snapshot(str(path))] == ["blocked", "ok"]


def test_a_block_is_probed_by_one_and_ends_with_its_answer(path: Path) -> None:
    events: list[tuple[str, str]] = []
    budget = opened(path, on_event=lambda name, what, wait_s: events.append((name, what)))
    health = budget.report(taken(budget), Outcome.BLOCKED, job="a")
    assert (health.in_trouble, health.confirmed) == (True, False)
    probe = taken(budget)
    assert snapshot(str(path))[0].state == "probing"
    assert budget.usable(0)
    others: list[bool] = []
    other = threading.Thread(
        target=lambda: others.append(
            budget.usable(0) or budget.take(egress=0, stop=STOP, give_up=lambda: True) is not None
        )
    )
    other.start()
    other.join()
    assert others == [False]
    assert taken(budget, 0).epoch == probe.epoch  # the second request of the probe's attempt
    assert budget.report(probe, Outcome.BLOCKED, job="b").confirmed
    assert not budget.report(taken(budget), Outcome.OK, job="c").in_trouble
    assert events == [("direct", what) for what in ("block", "probe", "block", "probe", "resume")]


def test_how_an_egress_stands_after_a_loss(path: Path) -> None:
    budget = opened(path)
    permits = [taken(budget) for _ in range(6)]
    ok_at = budget.report(taken(budget), Outcome.OK, job="x").ok_at
    healths = [budget.report(permit, Outcome.NETWORK, job=f"j{n}") for n, permit in enumerate(permits)]
    assert healths[:4] == [EgressHealth(False, False, ok_at)] * 4
    assert [health.in_trouble for health in healths[4:]] == [True, True], (
        "the fifth opens it, the sixth comes late"
    )
    assert snapshot(str(path))[0].state == "network"
    budget.report(taken(budget), Outcome.OK, job="x")
    assert snapshot(str(path))[0].state == "ok"
    late = budget.report(permits[0], Outcome.NETWORK, job="y")
    assert late.in_trouble, "it was sent before the outage"


def test_one_confirming_fetch_an_egress_and_minute_whoever_asks(path: Path) -> None:
    one, two = opened(path, n=2, pace=1.0), opened(path, n=2, pace=1.0)
    assert [one.may_confirm(0), two.may_confirm(0), one.may_confirm(0)] == [True, False, False]
    assert two.may_confirm(1)
    state = two.peek(0)
    assert state is not None
    assert 59.0 < state.confirm_after - time.monotonic() <= 60.0
    edit(path, 0, confirm_after=time.monotonic())
    assert two.may_confirm(0)


def test_captions_that_were_shown_are_known_to_all(path: Path) -> None:
    one, two = opened(path), opened(path)
    one.report(taken(one), Outcome.OK, job="a", shown_at=7.0)
    one.report(taken(one), Outcome.OK, job="b")
    state = two.peek(0)
    assert state is not None
    assert state.shown_at == 7.0


def test_retired_egresses_are_not_used_until_a_new_run(path: Path) -> None:
    budget = opened(path, n=2)
    assert budget.report(taken(budget, 0), Outcome.DEAD, job="a").in_trouble
    assert budget.take(egress=0, stop=STOP) is None
    assert {taken(budget).egress for _ in range(5)} == {1}
    budget.report(taken(budget, 1), Outcome.DEAD, job="a")
    with pytest.raises(NoProxyError):
        budget.take(stop=STOP)
    with pytest.raises(NoProxyError):
        opened(path, n=2).take(stop=STOP)
    assert [view.state for view in snapshot(str(path))] == ["retired", "retired"]
    taken(opened(path, n=2, new_run=True))


def test_waiting_ends_when_it_is_told_to(path: Path) -> None:
    budget = opened(path, rate="1/h")
    for _ in range(1):
        taken(budget)
    stop, asked = threading.Event(), threading.Event()
    results: list[object] = []
    waiter = threading.Thread(target=lambda: results.append(budget.take(stop=stop)))
    queued = threading.Thread(
        target=lambda: results.append(budget.take(stop=threading.Event(), give_up=asked.is_set))
    )
    waiter.start()
    queued.start()
    asked.set()
    ends(queued)
    assert snapshot(str(path))[0].limited
    stop.set()
    ends(waiter)
    assert results == [None, None]


def test_another_rate_begins_anew_and_the_same_goes_on(path: Path) -> None:
    budget = opened(path, rate="5")
    budget.report(taken(budget), Outcome.OK, job="z")
    budget.report(taken(budget), Outcome.BLOCKED, job="a")
    budget.report(taken(budget), Outcome.BLOCKED, job="b")
    budget.report(taken(budget), Outcome.OK, job="c")
    cut = snapshot(str(path))[0].rate_per_s
    assert cut is not None
    assert cut < 5
    opened(path, rate="5", new_run=True)
    assert snapshot(str(path))[0].rate_per_s == cut
    opened(path, rate="8", new_run=True)
    assert snapshot(str(path))[0].rate_per_s == 8


def test_only_the_egresses_of_the_run_are_shown(path: Path) -> None:
    opened(path, n=3)
    opened(path, n=2, new_run=True)
    assert [view.name for view in snapshot(str(path))] == ["p001 h:1", "p002 h:2"]


def test_the_file_holds_1024_egresses_and_gives_up_old_ones(path: Path) -> None:
    with pytest.raises(UsageError, match="1,025 egresses"):
        opened(path, n=1025)
    budget = opened(path, n=1024)
    assert len({taken(budget).egress for _ in range(1024)}) == 1024
    budget = opened(path, new_run=True)
    taken(budget)
    assert [view.name for view in snapshot(str(path))] == ["direct"]
    assert path.stat().st_size == offset(1024)
    assert b"canary" not in path.read_bytes()


def test_there_must_be_an_egress_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Budget.open(str(tmp_path / "b"), [], BudgetSettings(parse_rate("1")))
    with pytest.raises(UsageError, match="queue directory"):
        opened(tmp_path / "gone" / "b")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with pytest.raises(UsageError):
        opened(tmp_path / "link")


def test_no_file_no_egresses(tmp_path: Path) -> None:
    assert snapshot(str(tmp_path / "none")) == []
    (tmp_path / "empty").write_bytes(b"")
    assert snapshot(str(tmp_path / "empty")) == []


def test_a_removed_file_is_made_again_with_what_is_known(path: Path) -> None:
    budget = opened(path)
    taken(budget)
    budget.report(taken(budget), Outcome.BLOCKED, job="a")
    [before] = snapshot(str(path))
    path.unlink()
    budget.may_confirm(0)
    [after] = snapshot(str(path))
    assert after.requests == before.requests == 2
    assert after.state == before.state == "blocked"


def test_a_file_that_lost_its_name_but_not_its_last_link_is_noticed_within_a_second(path: Path) -> None:
    budget = opened(path)
    taken(budget)
    os.link(path, path.with_name("kept"))
    path.unlink()
    budget._checked_at = -math.inf  # a second is over
    taken(budget)
    assert snapshot(str(path))[0].requests == 2


def test_removals_hand_out_no_slot_twice(path: Path) -> None:
    """By two who find out one after the other, also when the file is gone again before the second does."""
    one, two = opened(path, rate="20"), opened(path, rate="20")
    slots = []
    for turn in range(12):
        slots.append(taken(one if turn % 3 else two).granted_s)
        path.unlink()
    gaps = [after - before for before, after in itertools.pairwise(sorted(slots))]
    assert min(gaps) > 0.05 - 1e-6, gaps


def test_a_file_that_is_removed_each_half_second_still_gives_permits_at_a_slow_rate(path: Path) -> None:
    """Two who wait know together of every slot that was given."""
    budgets, over = [opened(path, rate="1"), opened(path, rate="1")], threading.Event()
    slots: list[float] = []

    def take(budget: Budget) -> None:
        while not over.is_set():
            permit = budget.take(stop=over)
            if permit is not None:
                slots.append(permit.granted_s)

    threads = [threading.Thread(target=take, args=(budget,)) for budget in budgets]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + 60.0
    while len(slots) < 5 and time.monotonic() < until_s:
        over.wait(0.5)
        path.unlink(missing_ok=True)
    over.set()
    for thread in threads:
        thread.join()
    gaps = [after - before for before, after in itertools.pairwise(sorted(slots))]
    assert len(slots) >= 5
    assert min(gaps) > 0.5, gaps


def test_a_permit_outlives_the_file_that_is_removed_while_it_is_waited_for(path: Path) -> None:
    """On a busy machine one may be late, but hardly each."""

    class Removing(threading.Event):
        removed = False

        def wait(self, timeout: float | None = None) -> bool:
            if not self.removed and requests() == known + 2:
                self.removed = True
                path.unlink()
            return super().wait(timeout)

    def requests() -> int:
        state = budget.peek(0)
        return state.requests if state is not None else 0

    budget = opened(path, rate="5")
    for _ in range(5):
        known, stop = requests(), Removing()
        first, second = budget.take(stop=stop), budget.take(stop=stop)
        assert first is not None and second is not None
        assert stop.removed
        if second.granted_s - first.granted_s < 0.3:  # no slot was lost
            return
    pytest.fail("each time another slot was waited for")


def test_another_file_in_its_place_takes_over_what_is_newer(path: Path) -> None:
    budget = opened(path, rate="1")
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    taken(budget)
    os.replace(copy, path)
    assert taken(budget).granted_s - time.monotonic() < 1.0  # it waited out the slot that it had given before
    assert snapshot(str(path))[0].requests == 2


def test_a_watch_says_that_something_removes_it_again_and_again(path: Path) -> None:
    watch = Watch(str(path))
    assert watch.look(0.0) is None  # it is not there yet
    said = []
    for turn in range(8):
        path.unlink(missing_ok=True)
        assert watch.look(turn) is None
        path.write_bytes(b"")
        said.append(watch.look(turn))
        assert watch.look(turn) is None
    assert [text is not None for text in said] == [False, False, False, True, False, False, False, False]
    assert str(path) in str(said[3])
    for turn in range(4):
        path.unlink()
        path.write_bytes(b"")
        assert watch.look(1000.0 + 40 * turn) is None, "that is seldom enough"
    watch.close()


def test_another_boot_gives_no_burst_and_keeps_the_counters(path: Path) -> None:
    budget = opened(path, rate="20")
    for _ in range(3):
        taken(budget)
    edit(path, 0, tat=1.0, ticked_at=1.0)  # long ago by this boot's clock
    data = path.read_bytes()
    header = unpack_header(data[:RECORD_BYTES])
    assert header is not None
    assert header.boot_id == boot_digest()
    path.write_bytes(pack_header(header._replace(boot_id=b"another boot 123")) + data[RECORD_BYTES:])
    before = time.monotonic()
    budget = opened(path, rate="20")
    with Lateness() as machine:
        slots = [taken(budget).granted_s for _ in range(3)]
    assert all(slot >= before + 0.05 * n - 1e-6 for n, slot in enumerate(slots, 1)), "a burst"
    assert slots[2] - slots[0] < 0.1 + 1e-6 or not machine.prompt
    assert snapshot(str(path))[0].requests == 6


@pytest.mark.parametrize(
    "change",
    [{"tat": 2.6e6}, {"tat": math.nan}, {"open_until": 1e9, "state": 1}, {"interval": 1e9}, {"state": 77}],
)
def test_a_record_that_cannot_be_is_put_right(path: Path, change: dict[str, float]) -> None:
    budget = opened(path, rate="100")
    taken(budget)
    edit(path, 0, **({**change, "tat": time.monotonic() + 2.6e6} if change == {"tat": 2.6e6} else change))
    if "open_until" in change:
        edit(path, 0, open_until_wall=0.0)
    began = time.monotonic()
    taken(budget)
    taken(budget)
    assert shares_s(began) < 2, "what it said was waited for"
    assert snapshot(str(path))[0].requests == 3


@settings(max_examples=150, deadline=None)
@given(
    damage=st.lists(
        st.one_of(
            st.tuples(st.just("flip"), st.integers(0, 4 * RECORD_BYTES - 1), st.integers(1, 255)),
            st.tuples(st.just("cut"), st.integers(0, 4 * RECORD_BYTES), st.just(0)),
            st.tuples(st.just("copy"), st.integers(0, 3), st.integers(0, 3)),
        ),
        min_size=1,
        max_size=4,
    ),
    reopen=st.booleans(),
)
def test_whatever_happens_to_the_file_permits_are_had(
    damage: list[tuple[str, int, int]], reopen: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "budget")
        budget = opened(path, n=3, rate="1000")
        for egress in range(3):
            taken(budget, egress)
        fd = os.open(path, os.O_RDWR)
        for what, a, b in damage:
            if what == "flip":
                byte = os.pread(fd, 1, a) or b"\0"
                os.pwrite(fd, bytes([byte[0] ^ b]), a)
            elif what == "cut":
                os.ftruncate(fd, a)
            else:
                os.pwrite(fd, os.pread(fd, RECORD_BYTES, a * RECORD_BYTES), b * RECORD_BYTES)
        os.close(fd)
        snapshot(str(path))
        began = time.monotonic()
        if reopen:
            other = opened(path, n=3, rate="1000")
            taken(other)
        for egress in range(3):
            permit = taken(budget, egress)
            health = budget.report(permit, Outcome.OTHER, job="a")
            assert not health.in_trouble
        taken(budget)
        assert shares_s(began) < 5, "what it said was waited for"
        assert len(snapshot(str(path))) == 3


def test_a_new_file_has_a_header_like_any_other(path: Path) -> None:
    opened(path, n=3)
    assert unpack_header(path.read_bytes()[:RECORD_BYTES]) == Header(3, boot_digest())
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_onlooker_imports_nothing_heavy() -> None:
    code = (
        "import sys, engine.budget as b; b.snapshot('x');"
        "print(*{'filelock', 'numpy', 'psutil', 'requests', 'loky', 'rich', 'yt_dlp'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert out.stdout == "\n"


# ---- another rate, amid a run ----------------------------------------------------------------------------
def test_another_rate_holds_in_all_processes_whoever_hears_of_it_first(path: Path) -> None:
    budgets = [opened(path, rate="1/h") for _ in range(3)]
    assert snapshot(str(path))[0].rate_per_s == pytest.approx(1 / 3600)
    faster = BudgetSettings(parse_rate("50/s"), PACE)
    taken(budgets[0])
    for budget in budgets[1:]:
        budget.apply_settings(faster)
    begun_s = time.monotonic()
    for budget in budgets:  # also the one that has not heard of it: the record says it
        for _ in range(5):
            taken(budget)
    assert time.monotonic() - begun_s >= 13 / 50
    assert shares_s(begun_s) < 10.0, "an hour for each, by the old rate"
    assert snapshot(str(path))[0].rate_per_s == pytest.approx(50)
    assert [item.settings.rate.per_s for item in budgets] == [pytest.approx(1 / 3600), 50.0, 50.0]
    for budget in budgets:
        budget.close()


def test_a_record_that_is_mended_has_the_rate_of_now(path: Path) -> None:
    budget = opened(path, 2, rate="1/h")
    budget.apply_settings(BudgetSettings(parse_rate("50/s"), PACE))
    data = bytearray(path.read_bytes())
    data[offset(0) + 100] ^= 255
    path.write_bytes(data)
    taken(budget, 0)
    path.unlink()
    budget._checked_at = -math.inf  # a second is over
    taken(budget, 1)
    assert [egress_view.rate_per_s for egress_view in snapshot(str(path))] == [pytest.approx(50)] * 2
    budget.close()


def test_the_same_rate_again_changes_nothing_that_was_learnt(path: Path) -> None:
    budget = opened(path, rate="20/s", pace=1.0)
    budget.report(taken(budget), Outcome.BLOCKED, job="a")
    before = path.read_bytes()
    budget.apply_settings(BudgetSettings(parse_rate("20"), 1.0))
    assert path.read_bytes() == before
    budget.apply_settings(BudgetSettings(parse_rate("10"), 1.0))
    (egress,) = snapshot(str(path))
    assert (egress.state, egress.rate_per_s, egress.blocked) == ("blocked", pytest.approx(10), 1)
    budget.close()


# ---- what a permit says, and what is reported with it --------------------------------------------------------
def test_a_permit_says_whether_it_is_a_probes_and_when_its_egress_last_worked(path: Path) -> None:
    budget = opened(path)
    first = taken(budget)
    assert (first.probe, first.ok_at) == (False, 0.0)
    ok_at = budget.report(first, Outcome.OK, job="a").ok_at
    second = taken(budget)
    assert (second.probe, second.ok_at) == (False, ok_at)
    budget.report(second, Outcome.BLOCKED, job="b")
    probe = taken(budget)
    assert (probe.probe, probe.ok_at) == (True, ok_at)
    assert taken(budget, 0).probe, "its attempt's next request"
    budget.report(probe, Outcome.OK, job="c")
    assert not taken(budget).probe


def test_a_further_permit_is_not_waited_for_once_its_egress_is_open(path: Path) -> None:
    budget = opened(path, n=2, pace=1.0)
    permit = budget.take(egress=0, stop=STOP, if_usable=True)
    assert permit is not None
    budget.report(permit, Outcome.BLOCKED, job="a")
    began = time.monotonic()
    assert budget.take(egress=0, stop=STOP, if_usable=True) is None
    assert shares_s(began) < 2.5, "the cool-down was waited for"
    edit(path, 0, open_until=time.monotonic())
    probe = taken(budget, 0)
    assert probe.probe
    assert budget.take(egress=0, stop=STOP, if_usable=True) is not None, "the probe is this thread's"
    others: list[Permit | None] = []
    other = threading.Thread(target=lambda: others.append(budget.take(egress=0, stop=STOP, if_usable=True)))
    other.start()
    ends(other)
    assert others == [None]
    assert budget.take(egress=1, stop=STOP, if_usable=True) is not None


def test_bytes_are_counted_with_the_outcome_or_by_themselves(path: Path) -> None:
    budget = opened(path)
    budget.report(taken(budget), Outcome.OK, job="a", body_bytes=1000)
    assert snapshot(str(path))[0].bytes == 1000
    budget.add_bytes(0, 200)
    assert snapshot(str(path))[0].bytes == 1000
    budget.report(taken(budget), Outcome.BLOCKED, job="b", body_bytes=34)
    (view,) = snapshot(str(path))
    assert (view.bytes, view.ok, view.blocked) == (1234, 1, 1)


def test_a_record_that_another_process_wrote_is_seen_at_once(path: Path) -> None:
    """Although each remembers what it wrote itself."""
    one, two = opened(path), opened(path)
    for turn in range(3):
        state = two.peek(0)
        assert state is not None
        assert state.requests == turn
        taken(one)
    path.unlink()
    assert two.peek(0) is None, "another file may have what is true"
    taken(two)
    state = two.peek(0)
    assert state is not None
    assert state.requests == 4


def test_why_a_request_was_lost_is_known_when_the_egress_opens(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    budget = Budget.open(
        str(tmp_path / "budget"),
        [EgressSpec("direct")],
        BudgetSettings(parse_rate("none")),
        new_run=True,
        on_event=lambda name, what, wait_s: told.append((what, budget.cause_of(name))),
    )
    stop = threading.Event()
    for number in range(5):
        permit = budget.take(stop=stop)
        assert permit is not None
        assert told == []
        budget.report(permit, Outcome.NETWORK, job=f"job {number}", cause=f"no {number}")
    assert told == [("network_lost", "no 4")]
    budget.close()
