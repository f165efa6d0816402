"""Holding back: what becomes of each held video in every course an alarm can take.

The witness, the budget, the desk and the journal lines are the real ones; only the site is a table.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from patience import FOR_EVER_S, Limit
from support import batch, batch_of, ids, output_of

from engine.budget import BudgetSettings, snapshot
from engine.budget.limiter import Budget
from engine.budget.rate import Rate
from engine.model import (
    EgressSpec,
    Failure,
    Fetched,
    Job,
    Kind,
    Metadata,
    Permit,
    Refused,
    RequestCost,
    Transcript,
)
from engine.output.publisher import Output
from engine.queue.job_state import ChunkState, JobState
from engine.queue.journal import JournalEntry
from engine.settings import Frozen, Settings
from engine.worker.attempt import Attempts, Recorded
from engine.worker.scheduler import Desk, Item, Work
from engine.worker.unconfirmed import QUIET_S, Holding
from engine.worker.witness import NAME, Witness, lay_out

NAMES = ids(60)
CANARY = NAMES[-1]
BARE = Refused(Failure(Kind.NO_CAPTIONS, "it has none"), RequestCost(2, 1000))
SHOWN = Fetched(Metadata(), Transcript("en", "English", False, ()), RequestCost(2, 3000))
EGRESSES = (EgressSpec("p001 host:1", "http://host:1"), EgressSpec("p002 host:2", "http://host:2"))


class Bench:
    """One lap's holding, with a site that answers from `site` (else without captions)."""

    def __init__(self, root: Path, canary: str | None = CANARY, pace: float = 60.0) -> None:
        self.queue = batch(root, 16)
        lay_out(self.queue)
        budget = BudgetSettings(Rate("none"), pace)
        self.budget = Budget.open(self.queue.budget, EGRESSES, budget, new_run=True)
        self.witness = Witness(self.queue.path(NAME))
        self.site: dict[str, Fetched | Refused] = {}
        self.asked: list[str] = []
        self.failed: list[BaseException] = []
        self.done: dict[str, Recorded] = {}
        settings = Settings(self.queue.root, Frozen(output_of(self.queue)), EGRESSES, budget)
        self.output = Output(output_of(self.queue), ("md",), "w", batch_of(self.queue))
        self.attempts = Attempts(self.output, self.budget, 5, tuple(its.name for its in EGRESSES))
        self.resources: Any = SimpleNamespace(
            witness=self.witness, budget=self.budget, canary=canary, stop=threading.Event(), fetcher=self
        )
        self.desk = Desk()
        self.settings = settings
        self.holding = self.lap()

    def lap(self, run: str = "") -> Holding:
        """The holding of another lap; with `run`, of this run."""
        return Holding(
            self.settings, self.resources, self.desk, self.attempts, self._done, self.failed.append, run
        )

    def claimed(self, name: str) -> Work:
        """A job as whoever claims it next finds it in the journal."""
        state = ChunkState()
        state.apply(JournalEntry("try", json.loads(json.dumps(self.done.pop(name).body)), 1, b""))
        return Work(Item(Any, Job(name), state.jobs[name]), -1, 0.0)  # type: ignore[arg-type]

    def fetch(self, video_id: str, permit: Permit) -> Fetched | Refused:
        self.asked.append(video_id)
        return self.site.get(video_id, BARE)

    def _done(self, work: Work, recorded: Recorded) -> None:
        assert work.item.job.video_id not in self.done
        self.done[work.item.job.video_id] = recorded

    def bare(self, name: str, egress: int = 0, state: JobState | None = None) -> None:
        permit = self.budget.take(egress=egress, stop=threading.Event())
        assert permit is not None
        home: Any = SimpleNamespace()
        work = Work(Item(home, Job(name), state or JobState()), 0, 0.0)
        self.holding.hold(work, permit, BARE, 0.1)

    def look_until_done(self, count: int, *, busy: bool = True) -> None:
        limit = Limit(10.0)
        while len(self.done) < count:
            assert not limit.over, (self.done, self.failed)
            self.holding.look(busy=busy)
            self.desk.attention.wait(0.02)
            self.desk.attention.clear()

    def verbs(self) -> list[str]:
        return [its.verb for its in self.done.values()]

    def events(self) -> list[str]:
        with open(self.queue.events, encoding="utf-8") as file:
            return [json.loads(line)["event"] for line in file]

    def close(self) -> None:
        self.witness.close()
        self.budget.close()
        self.output.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    its = Bench(tmp_path)
    yield its
    its.close()


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[Bench]:
    its = Bench(tmp_path, canary=None)
    yield its
    its.close()


def test_one_is_believed_when_its_egress_shows_captions_again(bench: Bench) -> None:
    bench.bare(NAMES[0])
    bench.bare(NAMES[1], egress=1)
    bench.holding.look(busy=True)
    assert not bench.done
    bench.witness.shown(0, time.monotonic())
    bench.holding.look(busy=True)
    assert list(bench.done) == [NAMES[0]]
    body = bench.done[NAMES[0]].body
    assert (body["status"], body["kind"], body["attempts"], body["requests"]) == (
        "absent",
        "no_captions",
        1,
        2,
    )
    assert bench.done[NAMES[0]].again_in_s is None
    assert len(bench.holding) == 1
    assert bench.asked == []  # not one request more


def test_it_is_believed_when_nobody_is_left_who_could_speak_for_it(bench: Bench) -> None:
    for name in NAMES[:4]:
        bench.bare(name)
    started = time.monotonic()
    bench.look_until_done(4, busy=False)
    assert time.monotonic() - started >= QUIET_S
    assert set(bench.verbs()) == {"final"}
    assert bench.asked == []


def test_a_canary_without_captions_is_a_block_of_the_egress(bench: Bench) -> None:
    for name in NAMES[:6]:
        bench.bare(name)
    bench.bare(NAMES[6], egress=1)
    bench.look_until_done(6)
    assert bench.asked == [CANARY]
    assert set(bench.verbs()) == {"try"}
    for recorded in bench.done.values():
        assert (recorded.body["charged"], recorded.body["doubted"]) == (False, False)
        assert recorded.again_in_s is not None
        assert recorded.again_in_s <= 5.0
    first, second = snapshot(bench.queue.budget)
    assert (first.state, second.state) == ("blocked", "ok")
    assert NAMES[6] not in bench.done
    assert bench.events()[:1] == ["no_captions_jump"]
    assert "no_captions_block" in bench.events()


def test_really_without_captions_is_believed_after_a_look_at_a_few(bench: Bench) -> None:
    bench.site[CANARY] = SHOWN
    for name in NAMES[:12]:
        bench.bare(name)
    bench.look_until_done(12)
    assert set(bench.verbs()) == {"final"}
    assert bench.asked == [CANARY, *NAMES[:5]]
    assert bench.events() == ["no_captions_jump", "no_captions_believed"]
    assert snapshot(bench.queue.budget)[0].state == "ok"


@pytest.mark.parametrize("shown", [SHOWN, Refused(Failure(Kind.NO_LANGUAGE, "is, cy"), RequestCost(2, 900))])
def test_captions_after_all_have_everything_fetched_again(bench: Bench, shown: Fetched | Refused) -> None:
    """The block was over before the canary was asked."""
    bench.site[CANARY] = SHOWN
    bench.site[NAMES[2]] = shown
    for name in NAMES[:12]:
        bench.bare(name)
    bench.look_until_done(12)
    assert set(bench.verbs()) == {"try"}
    assert {its.again_in_s for its in bench.done.values()} == {0.0}
    assert bench.asked == [CANARY, *NAMES[:3]]


def test_a_first_video_with_captions_is_waited_for_while_there_are_others(blind: Bench) -> None:
    blind.holding._patience_s = FOR_EVER_S
    for name in NAMES[:5]:
        blind.bare(name)
    ends_at = time.monotonic() + 0.5
    while time.monotonic() < ends_at:
        blind.holding.look(busy=True)
        time.sleep(0.02)
    assert not blind.done
    blind.site[CANARY] = SHOWN
    blind.resources.canary = CANARY
    blind.look_until_done(5)
    assert set(blind.verbs()) == {"final"}
    assert blind.asked == [CANARY, *NAMES[:5]]


def test_without_a_canary_they_wait_and_are_believed_when_looked_at_again(blind: Bench) -> None:
    for name in NAMES[:5]:
        blind.bare(name)
    blind.look_until_done(5)
    assert {its.again_in_s for its in blind.done.values()} == {15.0}  # 15 min at this pace
    assert all(its.body["doubted"] and not its.body["charged"] for its in blind.done.values())
    states = {}
    for name, recorded in blind.done.items():
        states[name] = JobState(doubts=int(recorded.body["doubted"]), requests=2, bytes=1000)
    blind.done.clear()
    for name, state in states.items():
        blind.bare(name, state=state)
    blind.look_until_done(5)
    assert set(blind.verbs()) == {"final"}
    assert {its.body["requests"] for its in blind.done.values()} == {4}
    assert blind.asked == []
    assert blind.events() == [
        "no_captions_jump", "no_captions_unclear", "no_captions_jump", "no_captions_believed",
    ]  # fmt: skip


def test_a_canary_that_cannot_be_had_decides_nothing(bench: Bench) -> None:
    bench.site[CANARY] = Refused(Failure(Kind.SERVER_ERROR, "500"), RequestCost(1, 10))
    for name in NAMES[:5]:
        bench.bare(name)
    limit = Limit(5.0)
    while not (bench.asked and bench.witness.read(0).lease <= time.monotonic() + 5.0):
        assert not limit.over
        bench.holding.look(busy=True)
        time.sleep(0.01)
    bench.holding.look(busy=True)
    assert not bench.done
    bench.site[CANARY] = SHOWN
    bench.witness.put_off(0, 0.0)
    bench.look_until_done(5)
    assert set(bench.verbs()) == {"final"}


def test_an_egress_that_opens_meanwhile_sends_them_elsewhere(bench: Bench) -> None:
    from engine.budget import Outcome

    for name in NAMES[:5]:
        bench.bare(name)
    permit = bench.budget.take(egress=0, stop=threading.Event())
    assert permit is not None
    bench.budget.report(permit, Outcome.DEAD, job="other")
    bench.look_until_done(5)
    assert set(bench.verbs()) == {"try"}
    assert bench.asked == []


def test_the_end_of_a_lap_gives_back_what_is_not_settled(bench: Bench) -> None:
    bench.bare(NAMES[0])
    bench.witness.shown(0, time.monotonic())
    bench.bare(NAMES[1])
    bench.holding.let_go()
    assert bench.verbs() == ["final", "try"]
    assert bench.done[NAMES[1]].again_in_s == 0.0
    assert not bench.done[NAMES[1]].body["doubted"]
    assert len(bench.holding) == 0


RUN = "20261122T210311Z-1-abcdef"


def over_a_lap_s_end(bench: Bench, run: str = RUN, next_run: str = RUN) -> bool:
    """One is held when a lap of `run` ends; whether a lap of `next_run` holds it on."""
    bench.holding = bench.lap(run)
    bench.bare(NAMES[0])
    bench.holding.let_go()
    assert bench.done[NAMES[0]].again_in_s == 0.0
    bench.holding = bench.lap(next_run)
    return bench.holding.take_up(bench.claimed(NAMES[0]))


def test_what_a_lap_held_is_held_on_by_the_next_and_costs_no_request_more(bench: Bench) -> None:
    assert over_a_lap_s_end(bench)
    bench.holding.look(busy=True)
    assert not bench.done
    bench.witness.shown(0, time.monotonic())
    bench.holding.look(busy=True)
    body = bench.done[NAMES[0]].body
    assert (body["kind"], body["attempts"], body["requests"], body["bytes"]) == ("no_captions", 1, 2, 1000)
    assert bench.asked == []


def test_what_spoke_for_it_between_two_laps_counts(bench: Bench) -> None:
    bench.holding = bench.lap(RUN)
    bench.bare(NAMES[0])
    bench.holding.let_go()
    bench.witness.shown(0, time.monotonic())
    bench.holding = bench.lap(RUN)
    assert bench.holding.take_up(bench.claimed(NAMES[0]))
    bench.holding.look(busy=True)
    assert bench.verbs() == ["final"]


@pytest.mark.parametrize(("run", "next_run"), [(RUN, "another"), ("", "")])
def test_another_run_fetches_it_again(bench: Bench, run: str, next_run: str) -> None:
    """What was known of its egress ended with its run."""
    assert not over_a_lap_s_end(bench, run, next_run)


def test_nothing_is_held_on_over_an_alarm(bench: Bench) -> None:
    bench.holding = bench.lap(RUN)
    for name in NAMES[:5]:
        bench.bare(name)
    bench.holding.let_go()
    assert len(bench.done) == 5
    assert not any("held" in its.body for its in bench.done.values())


def test_a_block_found_between_two_laps_has_it_fetched_again(bench: Bench) -> None:
    bench.holding = bench.lap(RUN)
    bench.bare(NAMES[0])
    bench.holding.let_go()
    bench.witness.again(0, 0.0)
    assert not bench.lap(RUN).take_up(bench.claimed(NAMES[0]))


def wait_and_claim(blind: Bench, count: int) -> None:
    """So many without captions, nobody to speak for them: they wait, and are claimed again."""
    blind.holding = blind.lap(RUN)
    for name in NAMES[:count]:
        blind.bare(name)
    blind.look_until_done(count)
    assert {its.again_in_s for its in blind.done.values()} == {15.0}  # 15 min at this pace
    blind.holding = blind.lap(RUN)
    for name in NAMES[:count]:
        assert blind.holding.take_up(blind.claimed(name))


def test_of_those_that_waited_for_want_of_a_witness_five_are_asked_again(blind: Bench) -> None:
    wait_and_claim(blind, 12)
    blind.look_until_done(12)
    assert set(blind.verbs()) == {"final"}
    assert {its.body["requests"] for its in blind.done.values()} == {2}
    assert blind.asked == NAMES[:5]
    assert blind.events() == ["no_captions_jump", "no_captions_unclear", "no_captions_believed"]


def test_one_of_those_that_waited_has_captions_after_all(blind: Bench) -> None:
    blind.site[NAMES[1]] = SHOWN
    wait_and_claim(blind, 8)
    blind.look_until_done(8)
    assert set(blind.verbs()) == {"try"}
    assert {its.again_in_s for its in blind.done.values()} == {0.0}
    assert not any("held" in its.body for its in blind.done.values())
    assert blind.asked == NAMES[:2]


def test_one_that_waited_is_asked_again_even_alone(blind: Bench) -> None:
    """The others of the alarm are with other processes: what is too few for an alarm must not pass unseen."""
    wait_and_claim(blind, 5)
    with blind.holding._lock:
        del blind.holding._held[1:]
    blind.look_until_done(1, busy=False)
    assert blind.verbs() == ["final"]
    assert blind.asked == NAMES[:1]


def test_another_process_s_finding_holds_here(bench: Bench) -> None:
    for name in NAMES[:5]:
        bench.bare(name)
    assert bench.witness.lease(0)  # the other one's
    bench.holding.look(busy=False)
    time.sleep(QUIET_S * 0.1)
    assert not bench.done
    bench.witness.again(0, 0.5)
    bench.holding.look(busy=False)
    assert {its.again_in_s for its in bench.done.values()} == {0.5}
    assert bench.asked == []


def test_what_a_thread_dies_of_reaches_the_keeper(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "fetch", lambda *_: 1 / 0)
    for name in NAMES[:5]:
        bench.bare(name)
    limit = Limit(5.0)
    while not bench.failed:
        assert not limit.over
        bench.holding.look(busy=True)
    assert isinstance(bench.failed[0], ZeroDivisionError)
