"""Unconfirmed answers: what becomes of each, and when a control video is asked for.

The budget, the scheduler and the control videos are the real ones; only the site is a table.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from patience import Limit
from support import ids
from test_worker_control_video import BARE, GONE, NAMED, SHOWN, Bench

from engine.budget import Outcome, snapshot
from engine.budget.state import State
from engine.model import Job, Permit
from engine.queue.job_state import JobState
from engine.worker.results import Tried
from engine.worker.scheduler import Scheduler
from engine.worker.unconfirmed import LATE_S, QUIET_S, SOON_S, Unconfirmed
from engine.worker.work import Item, Work

NAMES = ids(9)


class Kept(Bench):
    """One process's unconfirmed answers."""

    def __init__(self, root: Path, **more: Any) -> None:
        super().__init__(root, **more)
        self.scheduler = Scheduler()
        self.stop = threading.Event()
        self.unconfirmed = self.process(60.0)
        self.busy(True)

    def process(self, pace: float) -> Unconfirmed:
        return Unconfirmed(self.budget, self.control, self.scheduler, self.stop, pace)

    def busy(self, busy: bool) -> None:
        """Whether a job is in flight, one that never comes back."""
        value: Any = SimpleNamespace()
        self.scheduler.in_flight = {99: value} if busy else {}

    def bare(self, name: str, egress: int = 0) -> None:
        home: Any = SimpleNamespace()
        permit = self.permit(egress)
        self.budget.report(permit, Outcome.OK, job=name)
        work = Work(Item(home, Job(name), JobState()), 0, permit, 0.0, 0.0)
        self.unconfirmed.add(work, Tried(Job(name), JobState(), permit, BARE, time.monotonic(), 0.1))

    def show(self, egress: int = 0) -> None:
        """A job is shown captions."""
        self.budget.report(self.permit(egress), Outcome.OK, job="any", shown_at=time.monotonic())

    def decided(self) -> dict[str, bool]:
        return {item.answer.tried.job.video_id: item.confirmed for item in self.unconfirmed.decided()}

    def wait(self, count: int) -> dict[str, bool]:
        found: dict[str, bool] = {}
        limit = Limit(10.0)
        while len(found) < count:
            assert not limit.over, found
            found |= self.decided()
            time.sleep(0.01)
        return found

    def later(self, seconds: float) -> None:
        """Let all answers have come so much earlier."""
        answers = self.unconfirmed._answers
        self.unconfirmed._answers = [
            type(answer)(answer.work, answer.tried, answer.at - seconds) for answer in answers
        ]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    item = Kept(tmp_path)
    item.site = dict.fromkeys(NAMED, SHOWN)
    yield item
    item.budget.close()


def test_any_jobs_captions_confirm_what_came_before_by_this_egress(kept: Kept) -> None:
    kept.show()
    kept.bare(NAMES[0])
    kept.bare(NAMES[1], egress=1)
    assert kept.decided() == {}
    kept.show()
    kept.bare(NAMES[2])
    assert kept.decided() == {NAMES[0]: True}
    assert len(kept.unconfirmed) == 2
    assert kept.asked == []  # not one request more


def test_an_attempt_that_began_before_the_answer_came_confirms_nothing(kept: Kept) -> None:
    before = time.monotonic()
    kept.bare(NAMES[0])
    kept.budget.report(kept.permit(), Outcome.OK, job="any", shown_at=before)
    assert kept.decided() == {}


def test_where_nothing_is_left_to_do_a_control_video_confirms_them_all(kept: Kept) -> None:
    kept.unconfirmed = kept.process(1.0)
    for name in NAMES:
        kept.bare(name)
    kept.busy(False)
    started = time.monotonic()
    assert kept.wait(9) == dict.fromkeys(NAMES, True)
    assert time.monotonic() - started >= QUIET_S
    assert kept.asked[0] == NAMED[0]
    assert len(kept.asked) == 3  # and two of the videos again: nothing had shown captions before them
    assert set(kept.asked[1:]) <= set(NAMES)


def test_captions_after_a_block_that_nobody_noticed_confirm_nothing(kept: Kept) -> None:
    for name in NAMES:
        kept.bare(name)
    kept.site |= dict.fromkeys(NAMES, SHOWN)  # the block is over before a control video was asked for
    kept.show()
    assert kept.wait(9) == dict.fromkeys(NAMES, False)
    assert len(kept.asked) == 1
    kept.bare(NAMES[0])
    kept.show()
    assert kept.decided() == {NAMES[0]: True}  # it is asked between two that were shown captions


def test_videos_asked_for_again_that_say_nothing_are_fetched_again_as_jobs(kept: Kept) -> None:
    kept.site |= dict.fromkeys(NAMES, GONE)  # removed meanwhile: no asking again would ever decide it
    kept.bare(NAMES[0])
    kept.show()
    assert kept.wait(1) == {NAMES[0]: False}
    assert kept.asked == [NAMES[0]]


def test_one_that_says_nothing_leaves_it_to_the_other(kept: Kept) -> None:
    kept.site |= {NAMES[0]: GONE}
    kept.bare(NAMES[0])
    kept.bare(NAMES[1])
    kept.show()
    assert kept.wait(2) == dict.fromkeys(NAMES[:2], True)
    assert sorted(kept.asked) == sorted(NAMES[:2])


@pytest.mark.parametrize(("exhausted", "patience_s"), [(False, SOON_S), (True, LATE_S)])
def test_how_long_other_jobs_are_waited_for(kept: Kept, exhausted: bool, patience_s: float) -> None:
    kept.scheduler.exhausted = exhausted
    kept.bare(NAMES[0])
    kept.later(patience_s / 60.0 - 0.05)
    answers = kept.unconfirmed._answers
    assert kept.unconfirmed._is_due(answers[0].at, answers[0].at + patience_s / 60.0 - 0.01) is False
    time.sleep(0.06)
    assert kept.wait(1) == {NAMES[0]: True}


def test_a_control_video_without_captions_blocks_the_egress_and_all_go_back(kept: Kept) -> None:
    kept.site.clear()
    for name in NAMES[:4]:
        kept.bare(name)
    kept.bare(NAMES[4], egress=1)
    kept.later(SOON_S / 60.0)
    kept.show(1)
    found = kept.wait(5)
    assert found == {**dict.fromkeys(NAMES[:4], False), NAMES[4]: True}
    assert [view.state for view in snapshot(kept.queue.budget)] == ["blocked", "ok"]


def test_an_egress_that_is_blocked_for_any_reason_gives_them_back(kept: Kept) -> None:
    kept.bare(NAMES[0])
    permit = kept.permit()
    kept.bare(NAMES[1])
    kept.budget.report(permit, Outcome.BLOCKED, job="other")
    assert kept.decided() == {NAMES[0]: False, NAMES[1]: False}
    probe = kept.permit()
    kept.budget.report(probe, Outcome.OK, job="control")
    stale: Permit = permit
    home: Any = SimpleNamespace()
    work = Work(Item(home, Job(NAMES[2]), JobState()), 0, stale, 0.0, 0.0)
    kept.unconfirmed.add(work, Tried(Job(NAMES[2]), JobState(), stale, BARE, 0.0, 0.1))
    assert kept.decided() == {NAMES[2]: False}, "it was sent before the block"
    assert kept.asked == []


def test_of_all_processes_one_asks_and_all_hear_the_answer(kept: Kept) -> None:
    kept.bare(NAMES[0])
    others = kept.process(60.0)
    others._answers = list(kept.unconfirmed._answers)
    kept.later(SOON_S)
    others._answers = list(kept.unconfirmed._answers)
    assert kept.budget.may_confirm(0)  # a third one's
    assert (kept.decided(), others.decided(), kept.asked) == ({}, [], [])
    kept.show()
    assert kept.decided() == {NAMES[0]: True}
    assert [decided.confirmed for decided in others.decided()] == [True]


def test_one_that_says_nothing_is_followed_by_another_in_a_minute(kept: Kept) -> None:
    kept.site = dict.fromkeys(NAMED, GONE)
    kept.bare(NAMES[0])
    kept.later(SOON_S)
    limit = Limit(10.0)
    while not (kept.unconfirmed._fetching and not kept.unconfirmed._fetching.is_alive()):
        assert not limit.over
        assert kept.decided() == {}
    assert kept.state == State.CLOSED
    kept.site = dict.fromkeys(NAMED, SHOWN)
    assert kept.wait(1) == {NAMES[0]: True}


def test_behind_a_gateway_it_only_discards_what_came_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path, rotating=True)
    kept.bare(NAMES[0])
    kept.later(SOON_S)
    assert kept.wait(1) == {NAMES[0]: False}
    assert kept.state == State.CLOSED
    kept.bare(NAMES[1])
    assert kept.decided() == {}
    kept.budget.close()


def test_what_is_left_at_the_end_can_be_taken(kept: Kept) -> None:
    kept.bare(NAMES[0])
    (rest,) = kept.unconfirmed.take_rest()
    assert rest.tried.job.video_id == NAMES[0]
    assert len(kept.unconfirmed) == 0


def test_what_the_confirming_thread_dies_of_reaches_the_main_thread(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "fetch", lambda *_, **__: 1 / 0)
    kept.bare(NAMES[0])
    kept.later(SOON_S)
    with pytest.raises(ZeroDivisionError):
        kept.wait(1)
