"""An attempt: what it writes into the journal, what it charges, and what it leaves in the output directory."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ids

from engine.budget import Outcome, Stamp
from engine.model import Cue, Failure, Fetched, Job, Kind, Metadata, Permit, Refused, RequestCost, Transcript
from engine.output.publisher import TMP, Output, intact
from engine.queue import marker
from engine.queue.job_state import JobState, fold
from engine.queue.journal import JournalEntry, decode, encode
from engine.worker.attempt import REFUSED_BEFORE, Attempts, Recorded
from engine.worker.retry_policy import REFUSED_WAIT_S

BATCH = "a" * 32
NAME = ids(1)[0]
JOB = Job(NAME, {"row": 3})
PERMIT = Permit(1, 7, 0.0)
NAMES = ("p001 host:1", "p002 host:2")
WALL = 1_800_000_000.0
FETCHED = Fetched(
    Metadata(title="A title", channel="Someone", channel_id="UC1", duration_s=60),
    Transcript("en", "English", True, (Cue(0.0, 1.0, "Hello"),)),
    RequestCost(2, 1000),
)


class Bench:
    """A judge whose judgements are given: by spell for stamps, one outcome after the other noted."""

    def __init__(self, **guilt: bool | None) -> None:
        self.guilt = {int(name[1:]): its for name, its in guilt.items()}
        self.spell = 0
        self.told: list[tuple[int, Outcome, str, float | None]] = []

    def report(
        self, permit: Permit, outcome: Outcome, *, job: str, retry_after_s: float | None = None
    ) -> Stamp:
        self.told.append((permit.egress, outcome, job, retry_after_s))
        return Stamp(99, self.spell)

    def fault(self, stamp: Stamp) -> bool | None:
        return self.guilt.get(stamp.spell)


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "out").mkdir()
    marker.write(str(tmp_path / "out"), marker.Note(BATCH))
    return str(tmp_path / "out")


_LAPS = itertools.count(1)  # an id is never used twice


def attempts(root: str, bench: Bench, allowed: int = 5) -> Attempts:
    return Attempts(
        Output(root, ("md",), f"run.0.{next(_LAPS)}", BATCH), bench, allowed, NAMES, wall=lambda: WALL
    )


def refuse(root: str, kind: Kind, bench: Bench, state: JobState | None = None, **failure: Any) -> Recorded:
    got = Refused(Failure(kind, "it said no", **failure), RequestCost(1, 100), Metadata(title="T"))
    return attempts(root, bench).conclude(JOB, state or JobState(), PERMIT, got, 0.5)


def test_a_fetched_video(root: str) -> None:
    bench = Bench()
    state = JobState(requests=4, bytes=500, tries=2, charges=[None, (99, 1)])
    recorded = attempts(root, bench).conclude(JOB, state, PERMIT, FETCHED, 0.12345)
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
        "language": "en",
        "is_generated": True,
        "egress": NAMES[1],
        "elapsed_s": 0.123,
        "finished_at": "2027-01-15T08:00:00Z",
        "input": {"row": 3},
    }
    assert sorted(row["files"]) == ["json", "md"]
    assert intact(root, row)
    assert bench.told == [(1, Outcome.OK, NAME, None)]


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
    bench = Bench(s0=False)
    attempts(root, bench).conclude(JOB, JobState(), PERMIT, FETCHED, 0.1)  # an earlier life of the same job
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
        assert recorded.again_in_s > 0


def test_where_another_queue_wrote_it_there_is_nothing_to_do(root: str) -> None:
    path = os.path.join(root, NAME[:2], f"{NAME}.json")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write(f'{{"video_id":"{NAME}","batch":"{"b" * 32}"}}')
    message = attempts(root, Bench()).conclude(JOB, JobState(), PERMIT, FETCHED, 0.1).body["message"]
    assert "there is nothing to do" in message
    assert "--replace" not in message


def test_a_file_of_others_ends_the_job_and_stays(root: str) -> None:
    """Whether there is a transcript to be written or none: no verdict removes what this queue did not write."""
    path = os.path.join(root, NAME[:2], f"{NAME}.md")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write("mine")
    recorded = attempts(root, Bench()).conclude(JOB, JobState(), PERMIT, FETCHED, 0.1)
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
    state = JobState(tries=1, charges=[None])
    recorded = refuse(root, Kind.TIMEOUT, Bench(), state)
    assert recorded == Recorded(
        "try",
        {
            "job": NAME,
            "n": 2,
            "kind": "timeout",
            "message": "it said no",
            "not_before": WALL + 10,
            "charged": True,
            "stamp": [99, 0],  # there are two egresses: it may prove to be this one's fault
            "requests": 1,
            "bytes": 100,
            "egress": NAMES[1],
        },
        10.0,
    )


@pytest.mark.parametrize(("guilty", "charged"), [(True, False), (None, True), (False, True)])
def test_a_timeout_is_given_back_when_its_egress_proves_to_hang(
    root: str, guilty: bool | None, charged: bool
) -> None:
    assert refuse(root, Kind.TIMEOUT, Bench(s0=guilty)).body["charged"] is charged


@pytest.mark.parametrize(("guilty", "charged"), [(True, False), (None, True), (False, True)])
def test_a_timeout_of_an_egress_that_is_alone_is_given_back_when_the_network_proves_lost(
    root: str, guilty: bool | None, charged: bool
) -> None:
    alone = replace(attempts(root, Bench(s0=guilty)), names=NAMES[:1])
    got = Refused(Failure(Kind.TIMEOUT, "it said no"), RequestCost(1, 100))
    recorded = alone.conclude(JOB, JobState(), Permit(0, 7, 0.0), got, 0.5)
    assert (recorded.body["charged"], recorded.body["stamp"]) == (charged, [99, 0])
    last = alone.conclude(JOB, JobState(tries=4, charges=[None] * 4), Permit(0, 7, 0.0), got, 0.5)
    assert last.verb == ("final" if charged else "try"), "as long as nobody knows it is the job's own"
    earlier = replace(alone, judge=Bench(s0=False, s5=True))
    its = earlier.conclude(JOB, JobState(charges=[(99, 5)]), Permit(0, 7, 0.0), got, 0.5)
    assert its.body["n"] == 1, "the earlier one was the network's"


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
    bench = Bench(s0=False)
    rotating = replace(attempts(root, bench), rotating=True)
    recorded = rotating.conclude(JOB, JobState(), PERMIT, Refused(failure, RequestCost(1, 0)), 0.5)
    assert bench.told[0][1] is outcome
    assert recorded.body["charged"] is charged
    worn = rotating.conclude(
        JOB, JobState(tries=15, charges=[None] * 4), PERMIT, Refused(failure, RequestCost()), 0.5
    )
    assert worn.verb == "final"  # even luck has an end


def test_a_dead_egress_is_not_the_job_s_fault(root: str) -> None:
    bench = Bench(s0=False)
    recorded = refuse(root, Kind.PROXY, bench, JobState(charges=[None] * 9, tries=9), dead_egress=True)
    assert bench.told[0][1] is Outcome.DEAD
    assert recorded.verb == "try"
    assert recorded.body["charged"] is False


@pytest.mark.parametrize(
    ("fault", "verb", "charged"), [(True, "try", False), (False, "final", None), (None, "try", True)]
)
def test_whose_fault_the_last_allowed_attempt_was(
    root: str, fault: bool | None, verb: str, charged: bool | None
) -> None:
    recorded = refuse(root, Kind.NETWORK, Bench(s0=fault), JobState(tries=4, charges=[None] * 4))
    assert (recorded.verb, recorded.body.get("charged")) == (verb, charged)
    if verb == "final":
        assert recorded.body["attempts"] == 5


def test_charges_of_an_outage_are_given_back_later(root: str) -> None:
    """Four charged attempts, two of them stamped with a spell that proved to be the egress's."""
    state = JobState(tries=4, charges=[None, (99, 1), (99, 1), (99, 2)])
    bench = Bench(s0=False, s1=True, s2=False)
    recorded = refuse(root, Kind.NETWORK, bench, state)
    assert (recorded.verb, recorded.body["n"], recorded.again_in_s) == ("try", 3, 60.0)
    row = attempts(root, bench).conclude(JOB, state, PERMIT, FETCHED, 0.1).body
    assert row["attempts"] == 3


def test_refusals_count_only_while_others_passed(root: str) -> None:
    state = JobState(tries=3, refusals=[(99, 1), (99, 2), (99, 3)])
    for bench in (Bench(s0=None, s1=False, s2=False, s3=None), Bench(s0=None, s1=True, s2=False, s3=True)):
        recorded = refuse(root, Kind.BLOCKED, bench, state)
        assert (recorded.verb, recorded.body["charged"]) == ("try", False)
        assert recorded.again_in_s == REFUSED_WAIT_S
        assert bench.told[0][2] == REFUSED_BEFORE  # many such jobs are no more evidence than one
        assert not attempts(root, bench).hopeless(state)
    bench = Bench(s0=None, s1=False, s2=False, s3=False)
    assert attempts(root, bench).hopeless(state)
    recorded = refuse(root, Kind.BLOCKED, bench, state)
    assert (recorded.verb, recorded.body["kind"]) == ("final", "blocked")
    told = attempts(root, bench).refused_for_good(JOB, state)
    assert (told.verb, told.body["kind"], told.body["attempts"]) == ("final", "blocked", 1)
    assert "3 times while other videos passed" in told.body["message"]


def test_a_message_of_any_length_is_cut(root: str) -> None:
    got = Refused(Failure(Kind.PRIVATE, "x" * 10_000), RequestCost())
    row = attempts(root, Bench()).conclude(JOB, JobState(), PERMIT, got, 0.0).body
    assert row["message"] == "x" * 500


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.sampled_from([True, False, None])), max_size=30))
def test_a_job_s_life_as_its_journal_tells_it(
    tmp_path_factory: pytest.TempPathFactory, fates: list[tuple[Kind, bool | None]]
) -> None:
    """Each line is written, read back and folded: the next attempt knows what the one before it did."""
    bench = Bench()
    lives = tmp_path_factory.getbasetemp() / "lives"
    lives.mkdir(exist_ok=True)
    marker.write(str(lives), marker.Note(BATCH))
    its = attempts(str(lives), bench)
    state = JobState()
    for tries, (kind, fault) in enumerate(fates, 1):
        number = tries - 1
        bench.spell = number
        bench.guilt[number] = fault
        recorded = its.conclude(JOB, state, PERMIT, Refused(Failure(kind, "no"), RequestCost(1, 10)), 0.0)
        found = decode(encode(recorded.verb, recorded.body)[:-1])
        assert found is not None
        chunk = fold([JournalEntry(found[0], found[1], tries * 100, found[2])])
        if recorded.verb == "final":
            assert chunk.jobs[NAME].final == found[1]
            assert found[1]["requests"] == tries
            assert 1 <= found[1]["attempts"] <= max(1, tries)
            return
        assert recorded.again_in_s is not None
        whole = fold([JournalEntry("try", found[1], 1, found[2])])
        state.tries += 1
        state.charges += whole.jobs[NAME].charges
        state.refusals += whole.jobs[NAME].refusals
        state.requests += whole.jobs[NAME].requests
        assert whole.jobs[NAME].due(WALL + recorded.again_in_s)
        assert not whole.jobs[NAME].due(WALL)
