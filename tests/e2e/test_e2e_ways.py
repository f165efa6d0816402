"""Ways that die and come back, each way alone, no way at all, and the mask, by real runs on the rehearsal server."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import recount
from commands import Batch, Ended, videos
from nights import Place, played

from engine.model import WAYS
from engine.rehearsal.generated_videos import invent

SEED = 5
OLD = "400:android-21"  # all versions but that of youtube-transcript-api, which `page` asks as


@dataclass(frozen=True)
class Night:
    batch: Batch
    ended: Ended
    arrivals: list[dict[str, Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(self.batch.rows().values())

    @property
    def ways(self) -> Counter[str]:
        return Counter(str(row["way"]) for row in self.rows)

    @property
    def events(self) -> list[str]:
        return [event["event"] for event in recount.events(self.batch.queue)]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads((self.batch.out / row["files"]["json"]).read_text()) for row in self.rows]


def night_of(
    place: Place,
    count: int,
    scenes: tuple[str, ...] = (),
    options: str = "",
    pace: str = "60",
    real_sizes: bool = False,
    name: str = "batch",
    processes: int = 2,
) -> Night:
    site = place.stand_in(seed=SEED, latency_s=0, scenarios=scenes, real_sizes=real_sizes)
    batch = place.batch(videos(count, SEED), site, name)
    ended = batch.run(
        "-p", str(processes), "-t", "4", *options.split(), timeout_s=300.0, ENGINE_BUDGET_PACE=pace
    )
    return Night(batch, ended, site.arrivals())


# ---- a client dies at noon ----------------------------------------------------------------------------------


@played(night_of, count=300, scenes=("400:android#100-200",), options="--rate 100/s", pace="1200")
def test_a_client_that_dies_costs_no_video_anything_and_is_used_again(night: Night) -> None:
    """An hour is 3 s here."""
    assert night.ended.code == 0, night.ended.said
    assert {(row["status"], row["attempts"]) for row in night.rows} == {("ok", 1)}
    assert set(night.ways) == {"android", "visionos"}
    assert night.batch.status()["ways"] == dict(night.ways)
    lost = [each for each in night.arrivals if each["scene"] == "400"]
    trials = night.events.count("way_off") + night.events.count("way_on")
    in_flight = 8
    assert len(lost) <= 20 + in_flight + 10 * trials
    assert night.events[-1] == "stop"
    assert "way_off" in night.events and "way_on" in night.events
    off = next(event for event in recount.events(night.batch.queue) if event["event"] == "way_off")
    assert off["way"] == "android" and "400" in off["reason"]
    by_time = sorted(night.rows, key=lambda row: row["finished_at"])
    last = [row["way"] for row in by_time[-20:]]
    assert last.count("android") >= len(last) - in_flight, (
        "what was in flight may have begun before it was back"
    )
    after = [row["requests"] for row in night.rows]
    assert max(after) <= 4
    assert after.count(2) >= len(after) - len(lost)


@played(night_of, count=200, scenes=("400:android,visionos#60-",), options="--mask off", pace="60")
def test_two_clients_that_die_together(night: Night) -> None:
    """At noon; an hour is a minute, so they do not come back. Soon each video costs two requests again."""
    assert night.ended.code == 0, night.ended.said
    assert {(row["status"], row["attempts"]) for row in night.rows} == {("ok", 1)}
    assert "ways_dead" not in night.events
    in_flight = 8
    lost = [each for each in night.arrivals if each["scene"] == "400"]
    assert len(lost) <= 2 * (20 + in_flight)
    after = night.arrivals[night.arrivals.index(lost[-1]) + 1 :]
    assert len(after) <= 2 * len({each["video_id"] for each in after})


# ---- each way alone -----------------------------------------------------------------------------------------

ALONE = {
    "android": ((), ""),
    "visionos": (("400:android",), ""),
    "ios": (("400:android,visionos",), ""),
    "page": ((f"{OLD},visionos,ios",), ""),
    "yt-dlp": ((), "--ways yt-dlp"),
}


@dataclass(frozen=True)
class Alone:
    """Runs that each way served alone."""

    nights: dict[str, Night]
    verified: dict[str, int]


def each_alone(place: Place) -> Alone:
    """One batch a way, side by side: their processes mostly start and end."""

    def play(way: str) -> tuple[Night, int]:
        scenes, options = ALONE[way]
        night = night_of(place, 30, scenes, options, name=way, processes=1)
        return night, night.batch.does("verify").code

    with ThreadPoolExecutor(max_workers=2) as pool:
        played_ = dict(zip(WAYS, pool.map(play, WAYS), strict=True))
    return Alone(
        {way: each[0] for way, each in played_.items()}, {way: each[1] for way, each in played_.items()}
    )


@pytest.mark.parametrize("way", WAYS)
@played(each_alone)
def test_each_way_alone_serves_every_video(way: str, night: Alone) -> None:
    mine = night.nights[way]
    assert mine.ended.code == 0, mine.ended.said
    assert {(row["status"], row["attempts"]) for row in mine.rows} == {("ok", 1)}
    assert set(mine.ways) == {way}
    usual = {"page": 3}.get(way, 2)
    if way != "yt-dlp":
        assert Counter(row["requests"] for row in mine.rows)[usual] >= 10
        assert mine.events.count("way_off") == {"visionos": 1, "ios": 2, "page": 3}.get(way, 0)
    assert night.verified[way] == 0


# ---- none at all --------------------------------------------------------------------------------------------


def none_at_all(place: Place) -> None:
    site = place.stand_in(seed=SEED, latency_s=0, scenarios=("400:all",))
    batch = place.batch(videos(30, SEED), site)
    ended = batch.run("-p", "1", "-t", "4", "--on-block", "stop", ENGINE_BUDGET_PACE="60")
    assert ended.code == 5, ended.said
    asked = {each["video_id"] for each in site.arrivals()}
    assert len(asked) <= 10 + 4
    events = recount.events(batch.queue)
    dead = [event for event in events if event["event"] == "ways_dead"]
    assert len(dead) == 1 and "android: YouTube answers 400" in dead[0]["reason"]
    status = batch.status()
    assert (status["failed"], status["absent"], status["ok"]) == (0, 0, 0)
    site.play(replace=True)
    ended = batch.run("-p", "1", "-t", "4", ENGINE_BUDGET_PACE="60")
    assert ended.code == 0, ended.said
    assert {(row["status"], row["attempts"], row["way"]) for row in batch.rows().values()} == {
        ("ok", 1, "android")
    }


@played(none_at_all)
def test_when_no_way_works_the_run_says_so_and_halts_and_nothing_is_lost(night: None) -> None:
    """What there is to see is seen while it is played."""


# ---- what turns no way off ----------------------------------------------------------------------------------


@played(night_of, count=100, scenes=("no_captions",), options="")
def test_a_channel_without_captions_turns_no_way_off(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    assert Counter((row["kind"], row["requests"]) for row in night.rows) == {("no_captions", 2): 100}
    assert not [event for event in night.events if event.startswith(("way", "mask"))]


@played(night_of, count=60, scenes=("kids=0.5", "no_captions=0.5"), options="")
def test_videos_for_kids_are_what_they_are(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    assert {row["kind"] for row in night.rows} == {None, "no_captions"}
    assert "way_off" not in night.events


# ---- the mask -----------------------------------------------------------------------------------------------


@played(night_of, count=200, scenes=(), options="--mask auto", real_sizes=True)
def test_the_mask_costs_five_kilobytes_a_video(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    n = len(night.rows)
    assert sum(row["requests"] for row in night.rows) <= 2.02 * n + 4  # a process begins with a check
    assert sum(row["bytes"] for row in night.rows) <= 5_000 * n
    assert "mask_off" not in night.events


@played(night_of, count=160, scenes=("mask_field#80-",), options="--mask auto")
def test_a_field_that_goes_missing_under_the_mask(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    assert "mask_off" in night.events
    for record in night.records():
        assert all(record["metadata"][name] for name in ("title", "channel", "channel_id", "duration_s"))
        assert record["metadata"]["description"] is not None
        assert record["metadata"]["keywords"] == list(invent(SEED, record["video_id"]).keywords)
