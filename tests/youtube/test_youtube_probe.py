"""What the answers of a way mean, how many requests a probe may send, and when they leave."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm import start

from engine.budget import BudgetSettings, Outcome, Rate
from engine.budget.limiter import Budget
from engine.errors import Interrupted
from engine.model import EgressSpec, Failure, Kind, Permit, RequestCost
from engine.rehearsal import Rehearsal, RehearsalSettings
from engine.youtube import probe as probing
from engine.youtube.fetcher import FetchSettings
from engine.youtube.probe import ProbedVideos, VideoAnswer, WayResult, judge, probe
from engine.youtube.probe_pacing import BudgetPacer, RatePacer

DIRECT = [EgressSpec("direct")]


@pytest.fixture(scope="module")
def rehearsal() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0)) as found:
        yield found


def answer(text: str) -> VideoAnswer:
    """`control`, `kids:unavailable`: the video, and the kind of failure."""
    video, _, kind = text.partition(":")
    failure = Failure(Kind(kind), "as YouTube says") if kind else None
    return VideoAnswer(video, "x" * 11, failure, RequestCost(1, 10), 0.1, "en", False)


@pytest.mark.parametrize(
    ("answers", "result", "lacks"),
    [
        ("", WayResult.NOT_ASKED, []),
        ("control", WayResult.WORKS, []),
        ("control no_captions:no_captions kids removed:unavailable", WayResult.WORKS, []),
        ("control no_captions kids removed", WayResult.WORKS, []),
        ("control kids:no_captions removed:private", WayResult.WORKS, []),
        ("control kids:unavailable", WayResult.WORKS, ["shows no videos made for kids"]),
        ("control kids:garbled", WayResult.WORKS, ["a video made for kids: as YouTube says"]),
        ("control no_captions:blocked", WayResult.WORKS, ["a video without captions: as YouTube says"]),
        ("control removed:garbled", WayResult.WORKS, ["a removed video: as YouTube says"]),
        ("control:unavailable control", WayResult.WORKS, []),
        ("control:no_captions", WayResult.NO_CAPTIONS, []),
        ("control:blocked", WayResult.BLOCKED, []),
        ("control:network", WayResult.UNREACHABLE, []),
        ("control:proxy", WayResult.UNREACHABLE, []),
        ("control:timeout", WayResult.UNREACHABLE, []),
        ("control:server_error", WayResult.REFUSED, []),
        ("control:po_token", WayResult.REFUSED, []),
        ("control:garbled", WayResult.REFUSED, []),
        ("control:unavailable control:unavailable", WayResult.REFUSED, []),
    ],
)
def test_what_answers_say_of_a_way(answers: str, result: WayResult, lacks: list[str]) -> None:
    assert judge([answer(text) for text in answers.split()]) == (result, tuple(lacks))


def test_an_egress_sends_no_more_than_its_requests(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "MAX_REQUESTS", 7)
    before = sum(rehearsal.stats()["requests"].values())
    specs = [EgressSpec("p001", rehearsal.proxy_url)]
    [report] = probe(
        specs,
        RatePacer(0),
        ways=("android", "visionos", "ios", "page"),
        settings=FetchSettings(deadline_s=20),
        ca_bundle=rehearsal.ca_bundle,
    )
    assert sum(rehearsal.stats()["requests"].values()) - before == 7
    assert "7 requests of a probe are used up" in report.ways[-1].reason


def test_another_control_video_is_asked_for_when_one_is_gone(rehearsal: Rehearsal) -> None:
    rehearsal.play("private", replace=True)
    try:
        [report] = probe(
            [EgressSpec("p001", rehearsal.proxy_url)],
            RatePacer(0),
            ways=("android",),
            videos=ProbedVideos(control=("aaaaaaaaaa0", "dQw4w9WgXcQ")),
            ca_bundle=rehearsal.ca_bundle,
        )
    finally:
        rehearsal.play(replace=True)
    [way] = report.ways
    assert way.result is WayResult.WORKS
    assert [each.failure.kind if each.failure else None for each in way.answers[:2]] == [Kind.PRIVATE, None]


def test_a_rate_holds_for_each_egress_alone() -> None:
    pacer = RatePacer(0.05)
    permits: list[Permit] = []
    threads = [
        threading.Thread(target=lambda e=egress: permits.extend(pacer.take(e) for _ in range(4)))
        for egress in (0, 1)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for egress in (0, 1):
        due = sorted(permit.granted_s for permit in permits if permit.egress == egress)
        assert all(b - a >= 0.05 - 1e-9 for a, b in itertools.pairwise(due))
    assert time.monotonic() - began >= 0.15


def test_a_block_that_the_probe_meets_closes_the_egress_for_the_run_too(tmp_path: Path) -> None:
    settings = BudgetSettings(Rate("none"))
    mine = Budget.open(str(tmp_path / "budget"), DIRECT, settings)
    runs = Budget.open(str(tmp_path / "budget"), DIRECT, settings)
    pacer = BudgetPacer(mine)
    permit = pacer.take(0)
    assert pacer.closed(0) == ""
    pacer.report(permit, Failure(Kind.TIMEOUT, "one way hangs"), "a" * 11)
    assert runs.calm(0)
    pacer.report(pacer.take(0), Failure(Kind.BLOCKED, "429"), "a" * 11)
    assert not runs.calm(0)
    with pytest.raises(Interrupted):
        pacer.take(0)
    assert "min more" in pacer.closed(0)
    mine.close()
    runs.close()


def test_an_egress_that_cools_down_is_not_asked(rehearsal: Rehearsal, tmp_path: Path) -> None:
    specs = [EgressSpec("p001", rehearsal.proxy_url)]
    budget = Budget.open(str(tmp_path / "budget"), specs, BudgetSettings(Rate("none")))
    permit = budget.take(egress=0, stop=threading.Event())
    assert permit is not None
    budget.report(permit, Outcome.BLOCKED, job="a" * 11)
    before = sum(rehearsal.stats()["requests"].values())
    [report] = probe(specs, BudgetPacer(budget), ca_bundle=rehearsal.ca_bundle)
    assert sum(rehearsal.stats()["requests"].values()) == before
    assert {way.result for way in report.ways} == {WayResult.NOT_ASKED}
    assert "the queue's budget keeps it closed" in report.ways[0].reason
    budget.close()
