"""Folding: what a journal's lines make of its jobs, whatever the lines are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.queue.job_state import CLOCK_JUMP_S, ChunkState, Death, fold, is_due
from engine.queue.journal import VERBS, JournalEntry, encode, parse
from engine.worker.retry_policy import LONG_WAIT_S

NAMES = st.sampled_from(["a" * 11, "b" * 11, "c" * 11])
ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        name: NAMES if name in ("job", "video_id") else ANYTHING
        for name in (
            "job",
            "video_id",
            "not_before",
            "requests",
            "bytes",
            "others_passed",
            "charged",
            "kind",
            "worker",
            "end",
        )
    },
) | st.dictionaries(st.sampled_from(["job", "video_id", "end", "others_passed"]), ANYTHING)
HISTORY = st.lists(st.tuples(st.sampled_from(sorted(VERBS)), BODY), max_size=12)
JOB = "a" * 11


def entries(*lines: tuple[str, dict[str, Any]]) -> list[JournalEntry]:
    return parse(b"".join(encode(*line) for line in lines)).entries


def final(status: str = "ok", job: str = JOB) -> tuple[str, dict[str, Any]]:
    return "final", {"video_id": job, "status": status}


def attempt(**fields: Any) -> tuple[str, dict[str, Any]]:
    return "try", {"job": JOB, **fields}


@given(HISTORY, st.data())
def test_no_prefix_torn_tail_or_flipped_byte_raises(history: list[Any], data: st.DataObject) -> None:
    whole = bytearray(b"".join(encode(*line) for line in history))
    for at in data.draw(st.lists(st.integers(0, max(0, len(whole) - 1)), max_size=3)) if whole else []:
        whole[at] ^= data.draw(st.integers(1, 255))
    length = data.draw(st.integers(0, len(whole)))
    state = fold(parse(bytes(whole[:length])).entries)
    assert state.synced_end <= state.end <= length
    assert state.finals() <= len(state.jobs)


@given(HISTORY, st.integers(0, 12))
def test_folding_in_pieces_is_folding_at_once(history: list[Any], at: int) -> None:
    lines = parse(b"".join(encode(*line) for line in history)).entries
    assert repr(fold(lines[at:], fold(lines[:at]))) == repr(fold(lines))


@given(HISTORY)
def test_a_job_is_final_by_its_last_final_after_its_last_reopen(history: list[Any]) -> None:
    state = fold(parse(b"".join(encode(*line) for line in history)).entries)
    for job, job_state in state.jobs.items():
        verbs = [
            verb
            for verb, body in history
            if verb in ("final", "reopen") and body.get("video_id" if verb == "final" else "job") == job
        ]
        assert (job_state.final is not None) == (verbs[-1:] == ["final"])


def test_the_first_final_counts_until_a_reopen() -> None:
    state = fold(entries(final("ok"), final("failed")))
    assert state.jobs[JOB].final == {"video_id": JOB, "status": "ok"}
    state = fold(entries(final("ok"), ("reopen", {"job": JOB}), final("failed")))
    assert state.jobs[JOB].final == {"video_id": JOB, "status": "failed"}


def test_a_reopened_job_has_a_clean_slate_but_keeps_its_cost() -> None:
    lines = [
        attempt(charged=True, kind="blocked", others_passed=True, requests=2, bytes=7, not_before=1e12),
        ("died", {"job": JOB, "worker": "w", "alone": True, "sure": True}),
    ]
    before = fold(entries(*lines)).jobs[JOB]
    assert (before.tries, before.charged, before.refused, before.refusals) == (1, 1, True, 1)
    assert before.deaths == {"w": Death(alone=True, sure=True)}
    after = fold(entries(*lines, final(), ("reopen", {"job": JOB}))).jobs[JOB]
    assert (after.tries, after.charged, after.refused, after.refusals) == (0, 0, False, 0)
    assert (after.deaths, after.not_before) == ({}, 0.0)
    assert (after.requests, after.bytes) == (2, 7)


def test_what_is_not_promised_yet() -> None:
    first = entries(final())[0].end
    other = "b" * 11
    state = fold(entries(final(), ("synced", {"end": first}), final(job=other)))
    assert state.unsynced_finals() == [other]
    assert state.synced_end == first


@pytest.mark.parametrize("end", [10**9, 10**400, 1e300, float("inf"), float("nan"), -5, None, "x", True])
def test_a_promise_never_reaches_beyond_itself(end: object) -> None:
    state = fold(entries(("synced", {"end": end}), final()))
    assert 0 <= state.synced_end < state.end


@pytest.mark.parametrize(
    ("not_before", "due"),
    [
        (0, True),
        (99, True),
        (100, True),
        (101, False),
        (100 + CLOCK_JUMP_S, False),
        (101 + CLOCK_JUMP_S, True),
    ],
)
def test_when_a_wait_is_over(not_before: float, due: bool) -> None:
    assert is_due(not_before, 100.0) is due
    state = fold(entries(attempt(not_before=not_before)))
    assert state.deferred(100.0) == (0 if due else 1)


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), "1", None, True, [1], {}])
def test_numbers_that_are_none_count_as_nothing(value: object) -> None:
    job = fold(entries(attempt(not_before=value, requests=value, bytes=value, others_passed=value))).jobs[JOB]
    assert (job.requests, job.bytes, job.due(0.0)) == (0, 0, True)


def test_jobs_without_a_line_are_missing() -> None:
    assert ChunkState().jobs == {}
    assert fold([]).finals() == 0


@pytest.mark.parametrize(
    ("kind", "egress", "failed_by"),
    [
        ("network", "p001 h:1", "p001 h:1"),
        ("proxy", "p001 h:1", "p001 h:1"),
        ("timeout", "p001 h:1", "p001 h:1"),
        ("garbled", "p001 h:1", None),
        ("timeout", 5, None),
        (["timeout"], "p001 h:1", None),
    ],
)
def test_by_which_egress_a_job_failed_last(kind: object, egress: object, failed_by: str | None) -> None:
    body = {"job": "a" * 11, "kind": kind, "egress": egress}
    before = JournalEntry("try", {**body, "kind": "network", "egress": "another"}, 0, b"")
    state = fold([before, JournalEntry("try", body, 0, b"")])
    assert state.jobs["a" * 11].failed_by == failed_by


@pytest.mark.parametrize("by_s", [-3600.0, -30 * 86400.0, 3600.0])
def test_no_wait_outlives_a_clock_that_was_set(by_s: float) -> None:
    """By an hour or more, while a job had any part of the longest wait before it."""
    for left_s in (0.5, LONG_WAIT_S):
        assert is_due(1000.0 + left_s, 1000.0 + by_s)


def test_the_lines_of_earlier_engines_charge_and_refuse_as_they_say() -> None:
    """Until 2026-11-26 a charge was given back when its incident (`stamp`) proved to be the egress's, a job that was
    probed with was refused again and again, and an answer without captions was kept in the line (`held`)."""
    job = fold(
        entries(
            attempt(charged=True, kind="network", stamp=[3, 4]),
            *[attempt(charged=False, kind="blocked", stamp=[3, 5])] * 9,
            attempt(charged=False, kind="no_captions", doubted=True, held={"run": "r"}, not_before=50.0),
        )
    ).jobs[JOB]
    assert (job.tries, job.charged, job.refused, job.refusals) == (11, 1, True, 0)
    assert not job.due(49.0)
    assert job.due(50.0)
