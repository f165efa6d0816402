"""Soft blocks: an egress answers "no captions" to everything for ten minutes, and no video is lost to it.

`ENGINE_BUDGET_PACE` makes the minutes short. What is really without captions is told from that by control videos.
"""

from __future__ import annotations

import collections
import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import recount
from commands import Batch, Ended, videos
from nights import Place, played
from patience import Lateness

from engine.model import CONTROL_VIDEOS
from engine.rehearsal import parse_scenario

SEED, PACE = 5, 120
MINUTE_S = 60.0 / PACE
REAL = "no_captions=0.04"
FEW = ("-p", "2", "-t", "4")


@dataclass(frozen=True)
class Night:
    batch: Batch
    ended: Ended
    arrivals: list[dict[str, Any]]
    machine: Lateness

    @property
    def events(self) -> collections.Counter[str]:
        return collections.Counter(event["event"] for event in recount.events(self.batch.queue))

    def without_captions(self) -> set[str]:
        return {name for name, row in self.batch.rows().items() if row["kind"] == "no_captions"}


def soft_block(place: Place, egresses: int, amid: bool) -> Night:
    """One egress shows nobody captions for ten minutes, from the start or amid the run."""
    blocked = f"soft_block@{2 * MINUTE_S if amid else 0}-{12 * MINUTE_S if amid else 10 * MINUTE_S}/u0"
    site = place.stand_in(seed=SEED, scenarios=(REAL, blocked))
    batch = place.batch(videos(150, SEED), site)
    more = [part for number in range(1, egresses) for part in ("--proxy", site.proxy_url_as(f"u{number}"))]
    first = site.proxy_url_as("u0")
    with Lateness() as machine:
        ended = batch.run(*FEW, "--rate", "40", *more, proxy=first, ENGINE_BUDGET_PACE=f"{PACE}")
    return Night(batch, ended, site.arrivals(), machine)


def check_soft_block(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    night.batch.clean()
    real = parse_scenario(REAL)
    assert night.without_captions() == {name for name in night.batch.ids if real.touches(SEED, name)}
    assert {row["attempts"] for row in night.batch.rows().values()} == {1}
    assert night.events["no_captions_block"] >= 1
    assert "rehearsal@" not in night.ended.said  # the proxy's password
    asked_s = [
        arrival["t"]
        for arrival in night.arrivals
        if arrival["scene"] == "soft_block"
        and arrival["video_id"] == CONTROL_VIDEOS[0]
        and arrival["kind"] == "player"
    ]
    for before_s, after_s in itertools.pairwise(asked_s):
        assert after_s - before_s >= MINUTE_S * 0.9 or not night.machine.prompt, asked_s


@played(soft_block, egresses=1, amid=False)
def test_from_the_start_by_the_only_egress(night: Night) -> None:
    check_soft_block(night)


@played(soft_block, egresses=1, amid=True)
def test_amid_a_run_by_the_only_egress(night: Night) -> None:
    check_soft_block(night)


@played(soft_block, egresses=4, amid=False)
def test_from_the_start_by_one_of_four(night: Night) -> None:
    check_soft_block(night)


@played(soft_block, egresses=4, amid=True)
def test_amid_a_run_by_one_of_four(night: Night) -> None:
    check_soft_block(night)


def none_of_ten(place: Place, rate: str) -> Night:
    site = place.stand_in(seed=SEED, scenarios=("no_captions",))
    batch = place.batch(videos(10, SEED), site)
    with Lateness() as machine:
        ended = batch.run("--rate", rate, timeout_s=200.0)
    return Night(batch, ended, site.arrivals(), machine)


def check_none_of_ten(night: Night, within_s: float) -> None:
    assert night.ended.code == 0, night.ended.said
    night.batch.clean()
    assert night.without_captions() == set(night.batch.ids)
    assert {row["requests"] for row in night.batch.rows().values()} == {2}
    at = [event["at"] for event in recount.events(night.batch.queue) if event["event"] in ("start", "stop")]
    began, over = map(datetime.fromisoformat, at)
    assert (over - began).total_seconds() <= within_s * night.machine.slack, at


@played(none_of_ten, rate="none")
def test_a_list_of_ten_without_captions_ends_within_ten_seconds(night: Night) -> None:
    check_none_of_ten(night, 10.0)


@pytest.mark.long
@played(none_of_ten, rate="0.5")
def test_at_the_default_rate_it_ends_within_a_minute(night: Night) -> None:
    check_none_of_ten(night, 60.0)


def odd_controls(place: Place) -> Night:
    """The first control video is region-blocked, the second is gone, of the third only the second client is shown
    captions; the videos themselves have none."""
    odd = ("region=0.02", "unavailable=0.02", "hidden=0.02")
    many = videos(2000, SEED)
    scenes = [parse_scenario(text) for text in odd]
    plain = [name for name in many if not any(scene.touches(SEED, name) for scene in scenes)]
    touched = [
        next(n for n in many if [s.touches(SEED, n) for s in scenes] == [s is scene for s in scenes])
        for scene in scenes
    ]
    site = place.stand_in(seed=SEED, scenarios=(*odd, "no_captions"))
    batch = place.batch(plain[:10], site)
    controls = [part for name in touched for part in ("--control-video", name)]
    with Lateness() as machine:
        ended = batch.run(*FEW, *controls)
    return Night(batch, ended, site.arrivals(), machine)


@played(odd_controls)
def test_control_videos_that_say_nothing_are_passed_over(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    night.batch.clean()
    assert night.without_captions() == set(night.batch.ids)
    assert not night.events["block"]
    asked = {arrival["video_id"] for arrival in night.arrivals} - set(night.batch.ids)
    assert len(asked) == 3


def refused(place: Place) -> Night:
    """Every answer is a refusal for an hour."""
    pace = 400
    site = place.stand_in(seed=SEED, scenarios=(f"429@0-{3600 / pace}",))
    batch = place.batch(videos(40, SEED), site)
    with Lateness() as machine:
        ended = batch.run(*FEW, ENGINE_BUDGET_PACE=f"{pace}")
    return Night(batch, ended, site.arrivals(), machine)


@played(refused)
def test_in_an_hour_of_refusals_no_job_has_more_than_one_attempt_line(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    night.batch.clean()
    lines = [body["job"] for verb, body in recount.journal_lines(night.batch.queue) if verb == "try"]
    assert lines
    assert max(collections.Counter(lines).values()) == 1
    assert {row["status"] for row in night.batch.rows().values()} == {"ok"}
    assert night.events["probe"] >= 10
