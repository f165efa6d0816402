"""The control video: which one is asked for, and what its answer does to the egress."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import batch, ids, output_of

from engine.budget import BudgetSettings, snapshot
from engine.budget.limiter import Budget
from engine.budget.rate import Rate
from engine.budget.state import State
from engine.errors import Interrupted
from engine.model import (
    EgressSpec,
    Failure,
    Fetched,
    Kind,
    Metadata,
    NotFetched,
    Permit,
    RequestCost,
    Transcript,
)
from engine.network.large_answers import large_slot
from engine.settings import Frozen, Settings
from engine.worker.control_video import ASKED, KEPT, ControlAnswer, ControlVideo, recently_ok

NAMED = tuple(ids(3, 500))
BARE = NotFetched(Failure(Kind.NO_CAPTIONS, "it has none"), RequestCost(2, 1000))
SHOWN = Fetched(Metadata(), Transcript("en", "English", False, ()), RequestCost(2, 3000))
GONE = NotFetched(Failure(Kind.UNAVAILABLE, "removed"), RequestCost(1, 100))


class Bench:
    """Control videos over a real budget; the site is a table, and what is not in it has no captions."""

    def __init__(self, root: Path, *, rotating: bool = False, named: tuple[str, ...] = NAMED) -> None:
        self.queue = batch(root, 16)
        specs = tuple(EgressSpec(f"p00{n} host:{n}", f"http://host:{n}", rotating) for n in (1, 2))
        pace = BudgetSettings(Rate("none"), 60.0)
        self.budget = Budget.open(self.queue.budget, specs, pace, new_run=True)
        self.site: dict[str, Fetched | NotFetched] = {}
        self.asked: list[str] = []
        self.abort = threading.Event()
        settings = Settings(self.queue.root, Frozen(output_of(self.queue)), specs, pace, control_videos=named)
        fetcher: Any = self
        self.control = ControlVideo(settings, self.budget, fetcher, self.abort)

    def fetch(self, video_id: str, permit: Permit, **_: object) -> Fetched | NotFetched:
        self.asked.append(video_id)
        return self.site.get(video_id, BARE)

    def permit(self, egress: int = 0) -> Permit:
        permit = self.budget.take(egress=egress, stop=threading.Event())
        assert permit is not None
        return permit

    def ask(self, egress: int = 0) -> ControlAnswer:
        self.asked.clear()
        return self.control.ask(self.permit(egress))

    @property
    def state(self) -> State:
        found = self.budget.peek(0)
        assert found is not None
        return State(found.state)

    def events(self) -> list[dict[str, Any]]:
        if not Path(self.queue.events).exists():
            return []
        return [json.loads(line) for line in Path(self.queue.events).read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    item = Bench(tmp_path)
    yield item
    item.budget.close()


@pytest.mark.parametrize(
    "shown",
    [
        SHOWN,
        NotFetched(Failure(Kind.NO_LANGUAGE, "is, cy"), RequestCost(2, 900)),
        NotFetched(Failure(Kind.GARBLED, "what?"), RequestCost(2, 900), captions_listed=True),
    ],
)
def test_captions_of_any_language_show_that_the_egress_works(
    bench: Bench, shown: Fetched | NotFetched
) -> None:
    bench.site[NAMED[0]] = shown
    assert bench.ask() is ControlAnswer.CAPTIONS
    assert bench.asked == [NAMED[0]]
    state = bench.budget.peek(0)
    assert state is not None
    assert state.shown_at > 0
    assert (state.ok, state.state) == (1, State.CLOSED)


def test_captions_that_two_ways_hide_confirm_nothing(bench: Bench) -> None:
    """The egress works, and whatever these two ways said of other videos is to be asked for again."""
    hidden = replace(SHOWN, way="ios", hidden_by=("android", "visionos"))
    bench.site = dict.fromkeys(NAMED, hidden)
    assert bench.ask() is ControlAnswer.HIDDEN
    assert bench.asked == list(NAMED), "three put the ways off"
    state = bench.budget.peek(0)
    assert state is not None
    assert (state.shown_at, state.state) == (0, State.CLOSED)
    bench.site[NAMED[1]] = SHOWN
    assert bench.ask() is ControlAnswer.HIDDEN
    bench.site[NAMED[1]] = NotFetched(Failure(Kind.BLOCKED, "429"), RequestCost(1, 1))
    assert bench.ask() is ControlAnswer.NOTHING
    assert bench.state == State.OPEN


def test_one_that_was_fetched_and_has_none_by_now_is_a_block(bench: Bench) -> None:
    mine = ids(1)[0]
    bench.control.fetched[0].append(mine)
    assert bench.ask() is ControlAnswer.NONE
    assert bench.asked == [mine]
    assert [view.state for view in snapshot(bench.queue.budget)] == ["blocked", "ok"]
    (event,) = bench.events()
    assert (event["event"], event["egress"]) == ("no_captions_block", "p001 host:1")
    assert "--control-video" not in event["reason"]


def test_three_named_ones_without_are_a_block_and_the_message_says_what_may_be_wrong(bench: Bench) -> None:
    assert bench.ask() is ControlAnswer.NONE
    assert bench.asked == list(NAMED)
    assert bench.state == State.OPEN
    (event,) = bench.events()
    assert "--control-video" in event["reason"]
    bench.ask()  # as a probe
    assert len(bench.events()) == 1, "it is said once"


@pytest.mark.parametrize("kind", [Kind.UNAVAILABLE, Kind.REGION_BLOCKED, Kind.PRIVATE, Kind.GARBLED])
def test_one_that_is_gone_or_region_blocked_says_nothing_and_the_next_is_asked(
    bench: Bench, kind: Kind
) -> None:
    bench.site = {NAMED[0]: NotFetched(Failure(kind, "no"), RequestCost(1, 1)), NAMED[2]: SHOWN}
    assert bench.ask() is ControlAnswer.CAPTIONS
    assert bench.asked == list(NAMED)
    assert bench.state == State.CLOSED


def test_where_all_are_gone_nothing_is_known(bench: Bench) -> None:
    bench.site = dict.fromkeys(NAMED, GONE)
    assert bench.ask() is ControlAnswer.NOTHING
    assert bench.state == State.CLOSED
    assert bench.events()[0]["event"] == "no_captions_unclear"
    bench.site[NAMED[0]] = BARE
    assert bench.ask() is ControlAnswer.NOTHING, (
        "one of three that has none is none that is known to have any"
    )


def test_the_first_refusal_ends_it(bench: Bench) -> None:
    late = Failure(Kind.BLOCKED, "429", retry_after_s=900.0)
    bench.site[NAMED[0]] = NotFetched(late, RequestCost(1, 10), captions_listed=True)
    assert bench.ask() is ControlAnswer.NOTHING
    assert bench.asked == [NAMED[0]]
    state = bench.budget.peek(0)
    assert state is not None
    assert state.state == State.OPEN
    assert state.open_until - state.opened_at > 800


def test_those_that_an_egress_fetched_come_first_then_those_of_others(bench: Bench) -> None:
    mine, other = ids(KEPT + 50), ids(1, 300)[0]
    for name in mine:
        bench.control.fetched[0].append(name)
    bench.control.fetched[1].append(other)
    bench.site = dict.fromkeys((*mine, other), GONE)
    chosen = set()
    for _ in range(30):
        bench.ask()
        assert len(bench.asked) == ASKED
        chosen |= set(bench.asked)
    assert len(chosen) > 20, "it is not always the same that is asked for"
    assert chosen <= set(mine[-KEPT:])
    bench.ask(1)
    assert bench.asked[0] == other
    assert set(bench.asked[1:]) <= set(mine[-KEPT:])


def test_a_new_process_begins_with_what_the_manifest_knows(bench: Bench) -> None:
    row = {"status": "ok", "egress": "p002 host:2", "video_id": "of-the-other"}
    lines = [row, {**row, "status": "absent", "video_id": "x"}, {**row, "egress": "p009", "video_id": "old"}]
    text = "\n".join([*map(json.dumps, lines), "no row", '{"status": "ok"'])
    Path(bench.queue.manifest).write_text(text)
    assert list(recently_ok(bench.queue)) == [("p002 host:2", "of-the-other"), ("p009", "old")]
    bench.site["of-the-other"] = SHOWN
    assert bench.ask(1) is ControlAnswer.CAPTIONS
    assert bench.asked == ["of-the-other"]


def test_a_gateway_is_blocked_after_twenty_exits_in_a_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rotating=True, named=NAMED[:1])
    bench.control.fetched[0].append(ids(1)[0])
    for _ in range(20):
        assert bench.state == State.CLOSED
        assert bench.ask() is ControlAnswer.NONE
    assert bench.state == State.OPEN
    bench.budget.close()


def test_a_large_answer_takes_its_turn_and_gives_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(*_: object, **__: object) -> Fetched:
        assert large_slot.take()
        return SHOWN

    monkeypatch.setattr(bench, "fetch", large)
    assert bench.ask() is ControlAnswer.CAPTIONS
    assert not large_slot.mine


def test_one_that_has_to_give_way_says_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_way(*_: object, **__: object) -> Fetched:
        raise Interrupted(RequestCost(1, 50))

    monkeypatch.setattr(bench, "fetch", gives_way)
    assert bench.ask() is ControlAnswer.NOTHING
    bench.budget.flush()
    assert snapshot(bench.queue.budget)[0].bytes == 50
