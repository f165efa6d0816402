"""An attempt: what it writes into the journal, what it charges, and what it leaves in the output directory."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ids

from engine.budget import EgressHealth, Outcome
from engine.model import (
    Cue,
    Failure,
    Fetched,
    Job,
    Kind,
    Metadata,
    NotFetched,
    Permit,
    RequestCost,
    Transcript,
)
from engine.output.publisher import TMP, Output, intact
from engine.queue import marker
from engine.queue.job_state import ChunkState, JobState
from engine.queue.journal import JournalEntry, decode, encode
from engine.worker.results import Aborted, JournalLine, ResultHandler, Tried

BATCH = "a" * 32
NAME = ids(1)[0]
JOB = Job(NAME, {"row": 3})
PERMIT = Permit(1, 7, 0.0)
NAMES = ("p001 host:1", "p002 host:2")
WALL = 1_800_000_000.0
BEGAN_AT = 77.0
FETCHED = Fetched(
    Metadata(title="A title", channel="Someone", channel_id="UC1", duration_s=60),
    Transcript("en", "English", True, (Cue(0.0, 1.0, "Hello"),)),
    RequestCost(2, 1000),
)


class Bench:
    """A budget in which an egress stands as the test says; what it was told is noted."""

    def __init__(self, **health: Any) -> None:
        self.health = EgressHealth(**health)
        self.told: list[tuple[int, Outcome, str, float | None]] = []
        self.shown_at: list[float] = []

    def report(
        self,
        permit: Permit,
        outcome: Outcome,
        *,
        job: str,
        retry_after_s: float | None = None,
        shown_at: float = 0.0,
        body_bytes: int = 0,
        cause: str = "",
    ) -> EgressHealth:
        self.told.append((permit.egress, outcome, job, retry_after_s))
        self.shown_at.append(shown_at)
        return self.health


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "out").mkdir()
    marker.write(str(tmp_path / "out"), marker.Note(BATCH))
    return str(tmp_path / "out")


_LAPS = itertools.count(1)  # an id is never used twice


def handler(root: str, bench: Bench, allowed: int = 5, **more: Any) -> ResultHandler:
    output = Output(root, ("md",), f"run.0.{next(_LAPS)}", BATCH)
    return ResultHandler(output, bench, allowed, NAMES, wall=lambda: WALL, **more)


def tried(got: Fetched | NotFetched | Aborted, state: JobState | None = None, **more: Any) -> Tried:
    return Tried(JOB, state or JobState(), PERMIT, got, BEGAN_AT, 0.12345, **more)


def no(kind: Kind, **failure: Any) -> NotFetched:
    return NotFetched(Failure(kind, "it said no", **failure), RequestCost(1, 100), Metadata(title="T"))


def fetch(root: str, bench: Bench, state: JobState | None = None) -> JournalLine:
    line = handler(root, bench).conclude(tried(FETCHED, state))
    assert line is not None
    return line


def refuse(root: str, kind: Kind, bench: Bench, state: JobState | None = None, **failure: Any) -> JournalLine:
    item, one = handler(root, bench), tried(no(kind, **failure), state)
    return item.conclude(one) or item.confirmed(one)


def test_a_fetched_video(root: str) -> None:
    bench = Bench()
    recorded = fetch(root, bench, JobState(requests=4, bytes=500, tries=3, charged=2))
    assert (recorded.verb, recorded.again_in_s) == ("final", None)
    row = recorded.body
    assert {key: row[key] for key in list(row) if key not in ("files", "sha256")} == {
        "video_id": NAME,
        "status": "ok",
        "kind": None,
        "message": None,
        "attempts": 3,
        "requests": 6,
        "bytes": 1500,
        "title": "A title",
        "channel": "Someone",
        "channel_id": "UC1",
        "duration_s": 60,
        "published": None,
        "views": None,
        "language": "en",
        "is_generated": True,
        "words": 1,
        "egress": NAMES[1],
        "way": None,
        "elapsed_s": 0.123,
        "finished_at": "2027-01-15T08:00:00Z",
        "input": {"row": 3},
    }
    assert sorted(row["files"]) == ["json", "md"]
    assert intact(root, row)
    assert bench.told == [(1, Outcome.OK, NAME, None)]
    assert bench.shown_at == [BEGAN_AT]


OUTCOMES = {
    Kind.BLOCKED: Outcome.BLOCKED,
    Kind.NETWORK: Outcome.NETWORK,
    Kind.PROXY: Outcome.NETWORK,
    Kind.TIMEOUT: Outcome.TIMEOUT,
    Kind.SERVER_ERROR: Outcome.OTHER,
    Kind.GARBLED: Outcome.OTHER,
    Kind.UNKNOWN: Outcome.OTHER,
}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_tells_the_budget_and_leaves_nothing_in_the_output(root: str, kind: Kind) -> None:
    bench = Bench()
    fetch(root, bench)  # an earlier life of the same job
    bench.told.clear()
    recorded = refuse(root, kind, bench, retry_after_s=30.0)
    # A final refusal is an answer like any other: the egress works.
    assert bench.told == [(1, OUTCOMES.get(kind, Outcome.OK), NAME, 30.0)]
    if recorded.verb == "final":
        assert (recorded.body["status"], recorded.body["kind"]) == (kind.status, kind)
        assert (recorded.body["files"], recorded.body["sha256"]) == ({}, {})
        assert recorded.body["title"] == "T"
        assert not any(files for at, _, files in os.walk(root) if TMP not in at and marker.DIR not in at)
    else:
        assert recorded.again_in_s is not None
        assert recorded.again_in_s > 0 or kind is Kind.BLOCKED
    assert bench.shown_at[-1] == (BEGAN_AT if kind is Kind.NO_LANGUAGE else 0.0), (
        "captions, if of another language"
    )


def test_where_another_queue_wrote_it_it_says_what_replaces_it(root: str) -> None:
    path = os.path.join(root, NAME[:2], f"{NAME}.json")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write(f'{{"video_id":"{NAME}","batch":"{"b" * 32}"}}')
    message = fetch(root, Bench()).body["message"]
    assert "`engine run --replace` fetches and replaces it" in message
    assert "retry" not in message, "it would end the same"


def test_a_file_of_others_ends_the_job_and_stays(root: str) -> None:
    """Whether there is a transcript to be written or none: no verdict removes what this queue did not write."""
    path = os.path.join(root, NAME[:2], f"{NAME}.md")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write("mine")
    recorded = fetch(root, Bench())
    row = recorded.body
    assert (recorded.verb, row["status"], row["kind"], row["files"]) == ("final", "failed", "kept", {})
    assert f"{NAME[:2]}/{NAME}.md" in row["message"]
    assert "--replace" in row["message"]
    assert (row["title"], row["requests"]) == ("A title", FETCHED.cost.requests)
    assert refuse(root, Kind.PRIVATE, Bench()).body["kind"] == "private"
    with open(path) as file:
        assert file.read() == "mine"
    assert os.listdir(os.path.dirname(path)) == [f"{NAME}.md"]


def test_a_try_says_what_the_next_life_must_know(root: str) -> None:
    recorded = refuse(root, Kind.GARBLED, Bench(), JobState(tries=1, charged=1))
    assert recorded == JournalLine(
        "try",
        {
            "job": NAME,
            "n": 2,
            "kind": "garbled",
            "message": "it said no",
            "not_before": WALL + 10,
            "charged": True,
            "requests": 1,
            "bytes": 100,
            "egress": NAMES[1],
        },
        10.0,
    )


@pytest.mark.parametrize("kind", [Kind.NETWORK, Kind.PROXY, Kind.TIMEOUT])
def test_what_the_egress_lost_costs_the_job_nothing(root: str, kind: Kind) -> None:
    state = JobState(tries=9, charged=4)
    recorded = refuse(root, kind, Bench(in_trouble=True), state)
    assert (recorded.verb, recorded.body["charged"], recorded.body["n"], recorded.lost) == (
        "try",
        False,
        4,
        True,
    )
    item = handler(root, Bench(ok_at=60.0))
    own = item.conclude(tried(no(kind), state, lost_at=50.0))
    assert own is not None
    assert (own.verb, own.body["kind"], own.body["attempts"], own.lost) == ("final", kind, 5, False)


def test_a_timeout_over_a_suspend_costs_nothing(root: str) -> None:
    item, one = handler(root, Bench(ok_at=60.0)), tried(no(Kind.TIMEOUT), lost_at=50.0, suspended=True)
    line = item.conclude(one)
    assert line is not None
    assert line.body["charged"] is False


@pytest.mark.parametrize(
    ("failure", "outcome", "charged"),
    [
        (Failure(Kind.NETWORK, "cut"), Outcome.EXIT, False),
        (Failure(Kind.PROXY, "502"), Outcome.EXIT, False),
        (Failure(Kind.TIMEOUT, "late"), Outcome.EXIT, False),
        (Failure(Kind.PROXY, "no connection", unreached=True), Outcome.NETWORK, True),
        (Failure(Kind.GARBLED, "what?"), Outcome.OTHER, True),
    ],
)
def test_a_lost_exit_of_a_rotating_gateway_is_bad_luck(
    root: str, failure: Failure, outcome: Outcome, charged: bool
) -> None:
    bench = Bench(ok_at=60.0)
    rotating = handler(root, bench, rotating=True)
    recorded = rotating.conclude(tried(NotFetched(failure, RequestCost(1, 0)), lost_at=50.0))
    assert recorded is not None
    assert bench.told[0][1] is outcome
    assert recorded.body["charged"] is charged
    state = JobState(tries=15, charged=4)
    worn = rotating.conclude(tried(NotFetched(failure, RequestCost()), state, lost_at=50.0))
    assert worn is not None
    assert worn.verb == "final"  # even luck has an end


def test_a_dead_egress_is_not_the_job_s_fault(root: str) -> None:
    bench = Bench(in_trouble=True)
    recorded = refuse(root, Kind.PROXY, bench, JobState(charged=9, tries=9), dead_egress=True)
    assert bench.told[0][1] is Outcome.DEAD
    assert recorded.verb == "try"
    assert recorded.body["charged"] is False


def test_refusals_count_only_while_others_passed(root: str) -> None:
    bench = Bench(in_trouble=True)
    first = refuse(root, Kind.BLOCKED, bench)
    assert (first.verb, first.again_in_s) == ("try", 0.0)
    assert "others_passed" not in first.body
    again = refuse(root, Kind.BLOCKED, bench, JobState(tries=1, refused=True))
    assert (again.body["charged"], again.body["others_passed"]) == (False, True)
    assert bench.told[1][1] is Outcome.VIDEO_BLOCKED  # no evidence against the egress
    confirmed = refuse(root, Kind.BLOCKED, Bench(confirmed=True), JobState(refused=True, refusals=2))
    assert confirmed.verb == "try"
    assert "others_passed" not in confirmed.body
    last = refuse(root, Kind.BLOCKED, bench, JobState(tries=3, refused=True, refusals=2))
    assert (last.verb, last.body["kind"], last.body["attempts"]) == ("final", "blocked", 1)
    assert "3 times while other videos passed" in last.body["message"]


def test_no_captions_is_not_decided_before_it_is_confirmed(root: str) -> None:
    bench = Bench()
    item, one = handler(root, bench), tried(no(Kind.NO_CAPTIONS), JobState(requests=2, bytes=9))
    assert item.conclude(one) is None
    assert (bench.told, bench.shown_at) == ([(1, Outcome.OK, NAME, None)], [0.0])
    final, back = item.confirmed(one), item.aborted(one)
    assert (final.verb, final.body["kind"], final.body["requests"]) == ("final", "no_captions", 3)
    assert (back.verb, back.again_in_s, back.body["gave_way"]) == ("try", 0.0, True)
    assert (back.body["charged"], back.body["requests"], back.body["bytes"]) == (False, 1, 100)


@pytest.mark.parametrize("requests", [0, 1])
def test_an_attempt_that_was_aborted_leaves_a_line_of_what_it_cost(root: str, requests: int) -> None:
    bench = Bench()
    line = handler(root, bench).conclude(tried(Aborted(RequestCost(requests, 10 * requests))))
    assert line is not None
    assert (line.verb, line.again_in_s) == ("try" if requests else "", 0.0)
    assert bench.told == [(1, Outcome.OTHER, NAME, None)]


def test_a_message_of_any_length_is_cut(root: str) -> None:
    got = NotFetched(Failure(Kind.PRIVATE, "x" * 10_000), RequestCost())
    line = handler(root, Bench()).conclude(tried(got))
    assert line is not None
    row = line.body
    assert row["message"] == "x" * 500


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.booleans(), st.booleans()), max_size=30))
def test_a_job_s_life_as_its_journal_tells_it(
    tmp_path_factory: pytest.TempPathFactory, fates: list[tuple[Kind, bool, bool]]
) -> None:
    """Each line is written, read back and folded: the next attempt knows what the one before it did."""
    bench = Bench()
    lives = tmp_path_factory.getbasetemp() / "lives"
    lives.mkdir(exist_ok=True)
    marker.write(str(lives), marker.Note(BATCH))
    item = handler(str(lives), bench)
    chunk = ChunkState()
    for tries, (kind, in_trouble, confirmed) in enumerate(fates, 1):
        bench.health = EgressHealth(in_trouble, confirmed, 60.0)
        one = tried(NotFetched(Failure(kind, "no"), RequestCost(1, 10)), chunk.job(NAME), lost_at=50.0)
        line = item.conclude(one) or item.aborted(one)
        found = decode(encode(line.verb, line.body)[:-1])
        assert found is not None
        chunk.apply(JournalEntry(found[0], found[1], tries * 100, found[2]))
        state = chunk.jobs[NAME]
        if line.verb == "final":
            assert state.final == found[1]
            assert found[1]["requests"] == tries
            assert 1 <= found[1]["attempts"] <= max(1, tries)
            return
        assert line.again_in_s is not None
        assert (state.requests, state.bytes) == (tries, 10 * tries)
        assert found[1]["n"] == state.charged <= state.tries <= tries
        if "gave_way" not in found[1]:
            assert state.due(WALL + line.again_in_s)
            assert state.due(WALL) == (line.again_in_s == 0)
