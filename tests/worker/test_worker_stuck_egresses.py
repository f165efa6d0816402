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
    assert not egresses.is_stuck(3)  # nobody else has answered either: the site is slow
    egresses.end(0, 0.1, answered=True)
    assert egresses.is_stuck(3)
    assert not egresses.is_stuck(0)
    egresses.end(3, 60.0, answered=False)
    assert not egresses.is_stuck(3)  # it holds less than its share
    egresses.begin(3)
    assert egresses.is_stuck(3)
    egresses.end(3, 1.0, answered=True)
    egresses.begin(3)
    assert not egresses.is_stuck(3)


def test_below_its_share_no_egress_is_stuck() -> None:
    clock = Clock()
    egresses = StuckEgresses(2, 16, clock)
    for _ in range(7):
        egresses.begin(1)
    egresses.begin(0)
    clock.now += 1000
    egresses.end(0, 0.1, answered=True)
    assert not egresses.is_stuck(1)
    egresses.begin(1)
    assert egresses.is_stuck(1)


def test_what_is_long_depends_on_what_is_usual() -> None:
    clock = Clock()
    egresses = StuckEgresses(2, 2, clock)
    for _ in range(100):
        egresses.begin(0)
        clock.now += 10.0
        egresses.end(0, 10.0, answered=True)
    egresses.begin(1)
    clock.now += 20.0
    egresses.begin(0)
    egresses.end(0, 10.0, answered=True)
    assert not egresses.is_stuck(1)
    clock.now += 30.0
    egresses.begin(0)
    egresses.end(0, 10.0, answered=True)
    assert egresses.is_stuck(1)


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
    assert not egresses.is_stuck(0)


def test_failures_are_no_answers() -> None:
    clock = Clock()
    egresses = StuckEgresses(2, 2, clock)
    egresses.begin(1)
    egresses.begin(0)
    clock.now += 50
    egresses.end(0, 0.1, answered=False)
    assert not egresses.is_stuck(1)


def test_many_that_hang_together_get_few_threads_once_it_is_known() -> None:
    """Of 1,000 egresses 50 hang, which 64 threads meet one after the other."""
    clock = Clock()
    egresses = StuckEgresses(1000, 64, clock)
    for egress in range(50):
        egresses.begin(egress)
    clock.now += 20.0
    for egress in range(50):
        egresses.end(egress, 20.0, answered=False)
    began = []
    for egress in range(50):
        if not egresses.is_stuck(egress):
            egresses.begin(egress)
            began.append(egress)
    assert began == [0, 1, 2, 3]
    egresses.end(0, 0.2, answered=True)
    egresses.end(1, 20.0, answered=False)
    egresses.begin(0)  # it answers again, and counts as one of them no more
    for egress in (10, 11):
        assert not egresses.is_stuck(egress)
        egresses.begin(egress)
    assert egresses.is_stuck(12)
    assert not egresses.is_stuck(0)


def test_one_that_fails_at_once_keeps_no_thread_waiting() -> None:
    egresses = StuckEgresses(1000, 16, Clock())
    for egress in range(50):
        egresses.begin(egress)
        egresses.end(egress, 0.1, answered=False)
        egresses.begin(egress)
    assert not any(map(egresses.is_stuck, range(50, 100)))
