"""Stuck egresses: who keeps threads waiting is passed over, and nobody else."""

from __future__ import annotations

from engine.worker.stuck_egresses import STUCK_AFTER_S, StuckEgresses


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_egress_that_hangs_is_stuck_until_it_answers_or_lets_go() -> None:
    clock = Clock()
    egresses = StuckEgresses(4, 8, clock)
    for _ in range(2):
        egresses.begin(3)
        egresses.begin(0)
    clock.now += STUCK_AFTER_S + 0.1
    assert not egresses.is_stuck(3, 100.0)  # nobody else has answered either: the site is slow
    egresses.end(0, 0.1, answered=True)
    assert egresses.is_stuck(3, 100.0)
    assert not egresses.is_stuck(0, 0.0)
    egresses.end(3, 60.0, answered=False)
    assert not egresses.is_stuck(3, 100.0)  # it holds less than its share
    egresses.begin(3)
    assert egresses.is_stuck(3, 100.0)
    egresses.end(3, 1.0, answered=True)
    egresses.begin(3)
    assert not egresses.is_stuck(3, clock.now)


def test_below_its_share_no_egress_is_stuck() -> None:
    clock = Clock()
    egresses = StuckEgresses(2, 16, clock)
    for _ in range(7):
        egresses.begin(1)
    egresses.begin(0)
    clock.now += 1000
    egresses.end(0, 0.1, answered=True)
    assert not egresses.is_stuck(1, 100.0)
    egresses.begin(1)
    assert egresses.is_stuck(1, 100.0)


def test_what_is_long_depends_on_what_is_usual() -> None:
    clock = Clock()
    egresses = StuckEgresses(2, 2, clock)
    for _ in range(100):
        egresses.begin(0)
        clock.now += 10.0
        egresses.end(0, 10.0, answered=True)
    egresses.begin(1)
    asked_at = clock.now
    clock.now += 20.0
    egresses.begin(0)
    egresses.end(0, 10.0, answered=True)
    assert not egresses.is_stuck(1, asked_at)
    clock.now += 30.0
    egresses.begin(0)
    egresses.end(0, 10.0, answered=True)
    assert egresses.is_stuck(1, asked_at)


def test_what_is_long_for_an_egress_depends_on_its_own_last_answer() -> None:
    """A slow proxy among quick ones is no stuck one."""
    clock = Clock()
    egresses = StuckEgresses(3, 3, clock)
    egresses.begin(1)
    egresses.end(1, 10.0, answered=True)
    for egress in (1, 2):
        egresses.begin(egress)
    for _ in range(100):
        egresses.begin(0)
        egresses.end(0, 0.1, answered=True)
    clock.now += 12.0
    egresses.begin(0)
    egresses.end(0, 0.1, answered=True)
    assert not egresses.is_stuck(1, 100.0)
    assert egresses.is_stuck(2, 100.0)


def test_an_egress_s_own_answers_make_nobody_else_stuck_but_those_of_any_other_do() -> None:
    clock = Clock()
    egresses = StuckEgresses(3, 3, clock)
    egresses.begin(0)
    egresses.begin(1)
    clock.now += 50
    egresses.end(1, 0.1, answered=True)
    clock.now += 50
    egresses.begin(0)
    egresses.end(0, 0.1, answered=True)  # its own is the latest now
    assert not egresses.is_stuck(0, 150.0)


def test_failures_are_no_answers() -> None:
    clock = Clock()
    egresses = StuckEgresses(2, 2, clock)
    egresses.begin(1)
    egresses.begin(0)
    clock.now += 50
    egresses.end(0, 0.1, answered=False)
    assert not egresses.is_stuck(1, 100.0)


def test_many_that_hang_together_get_few_threads_as_soon_as_it_is_known() -> None:
    """Of 1,000 egresses 50 hang, which 64 threads meet one after the other."""
    clock = Clock()
    egresses = StuckEgresses(1000, 64, clock)
    for egress in range(60):
        egresses.begin(egress)
    clock.now += 2.0
    for egress in range(50, 60):
        egresses.end(egress, 0.2, answered=True)
    assert all(egresses.is_stuck(egress, 100.0) for egress in range(50))
    clock.now += 18.0
    for egress in range(50):
        egresses.end(egress, 20.0, answered=False)
    began = []
    for egress in range(50):
        if not egresses.is_stuck(egress, 100.0):
            egresses.begin(egress)
            began.append(egress)
    assert began == [0, 1, 2, 3]
    egresses.end(0, 0.2, answered=True)
    egresses.end(1, 20.0, answered=False)
    egresses.begin(0)  # it answers again, and counts as one of them no more
    for egress in (10, 11):
        assert not egresses.is_stuck(egress, 100.0)
        egresses.begin(egress)
    assert egresses.is_stuck(12, 100.0)
    assert not egresses.is_stuck(13, 0.0)  # another process had its answer


def test_one_that_is_silent_to_another_process_is_met_by_few_threads_of_this_one() -> None:
    clock = Clock()
    egresses = StuckEgresses(1000, 64, clock, processes=2)
    egresses.begin(99)
    clock.now += 2.0
    egresses.end(99, 0.1, answered=True)
    began = [egress for egress in range(50) if not egresses.is_stuck(egress, 100.0)]
    assert len(began) == 50
    for egress in began[:4]:
        egresses.begin(egress)
    assert all(egresses.is_stuck(egress, 100.0) for egress in range(50))
    egresses.end(0, 20.0, answered=False)
    assert not egresses.is_stuck(30, 100.0)


def test_where_egresses_are_plenty_nobody_waits_beside_another() -> None:
    """As long as its answer may still come: what has been owed for long may have been lost with its process."""
    clock = Clock()
    for processes, stuck in ((2, True), (16, False)):
        egresses = StuckEgresses(1000, 64, clock, processes=processes)
        assert egresses.is_stuck(5, clock.now - 0.1) is stuck
        assert not egresses.is_stuck(5, clock.now - 1000)


def test_one_that_fails_at_once_keeps_no_thread_waiting() -> None:
    egresses = StuckEgresses(1000, 16, Clock())
    for egress in range(50):
        egresses.begin(egress)
        egresses.end(egress, 0.1, answered=False)
        egresses.begin(egress)
    assert not any(egresses.is_stuck(egress, 0.0) for egress in range(50, 100))
