"""Lanes: who keeps threads waiting is passed over, and nobody else."""

from __future__ import annotations

from engine.worker.lanes import STUCK_AFTER_S, Lanes


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_egress_that_hangs_is_stuck_until_it_answers_or_lets_go() -> None:
    clock = Clock()
    lanes = Lanes(4, 8, clock)
    for _ in range(2):
        lanes.begin(3)
        lanes.begin(0)
    clock.now += STUCK_AFTER_S + 0.1
    assert not lanes.stuck(3)  # nobody else has answered either: the site is slow
    lanes.end(0, 0.1, answered=True)
    assert lanes.stuck(3)
    assert not lanes.stuck(0)
    lanes.end(3, 60.0, answered=False)
    assert not lanes.stuck(3)  # it holds less than its share
    lanes.begin(3)
    assert lanes.stuck(3)
    lanes.end(3, 1.0, answered=True)
    lanes.begin(3)
    assert not lanes.stuck(3)


def test_below_its_share_no_egress_is_stuck() -> None:
    clock = Clock()
    lanes = Lanes(2, 16, clock)
    for _ in range(7):
        lanes.begin(1)
    lanes.begin(0)
    clock.now += 1000
    lanes.end(0, 0.1, answered=True)
    assert not lanes.stuck(1)
    lanes.begin(1)
    assert lanes.stuck(1)


def test_what_is_long_depends_on_what_is_usual() -> None:
    clock = Clock()
    lanes = Lanes(2, 2, clock)
    for _ in range(100):
        lanes.begin(0)
        clock.now += 10.0
        lanes.end(0, 10.0, answered=True)
    lanes.begin(1)
    clock.now += 20.0
    lanes.begin(0)
    lanes.end(0, 10.0, answered=True)
    assert not lanes.stuck(1)
    clock.now += 30.0
    lanes.begin(0)
    lanes.end(0, 10.0, answered=True)
    assert lanes.stuck(1)


def test_an_egress_s_own_answers_make_nobody_else_stuck_but_those_of_any_other_do() -> None:
    clock = Clock()
    lanes = Lanes(3, 3, clock)
    lanes.begin(0)
    lanes.begin(1)
    clock.now += 50
    lanes.end(1, 0.1, answered=True)
    clock.now += 50
    lanes.begin(0)
    lanes.end(0, 0.1, answered=True)  # its own is the latest now
    assert not lanes.stuck(0)


def test_failures_are_no_answers() -> None:
    clock = Clock()
    lanes = Lanes(2, 2, clock)
    lanes.begin(1)
    lanes.begin(0)
    clock.now += 50
    lanes.end(0, 0.1, answered=False)
    assert not lanes.stuck(1)
