"""Ways that die and come back, each way alone, no way at all, and the mask, by real runs on the rehearsal server."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import recount
from commands import Batch, Ended, videos
from nights import Place, played

from engine.model import WAYS

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
) -> Night:
    site = place.stand_in(seed=SEED, latency_s=0, scenarios=scenes, real_sizes=real_sizes)
    batch = place.batch(videos(count, SEED), site)
    ended = batch.run("-p", "2", "-t", "4", *options.split(), timeout_s=300.0, ENGINE_BUDGET_PACE=pace)
    return Night(batch, ended, site.arrivals())


# ---- a client dies at noon ----------------------------------------------------------------------------------


@played(night_of, count=500, scenes=("400:android#150-300",), options="--rate 80/s", pace="1200")
def test_a_client_that_dies_costs_no_video_anything_and_is_used_again(night: Night) -> None:
    """An hour is 3 s here."""
    assert night.ended.code == 0, night.ended.said
    assert {(row["status"], row["attempts"]) for row in night.rows} == {("ok", 1)}
    assert set(night.ways) == {"android", "visionos"}
    lost = [each for each in night.arrivals if each["scene"] == "400"]
    trials = night.events.count("way_off") + night.events.count("way_on")
    in_flight = 8
    assert len(lost) <= 20 + in_flight + 10 * trials
    assert night.events[-1] == "stop"
    assert "way_off" in night.events and "way_on" in night.events
    off = next(event for event in recount.events(night.batch.queue) if event["event"] == "way_off")
    assert off["way"] == "android" and "400" in off["reason"]
    by_time = sorted(night.rows, key=lambda row: row["finished_at"])
    assert by_time[-1]["way"] == "android"
    after = [row["requests"] for row in night.rows]
    assert after.count(2) >= len(after) - len(lost)


# ---- each way alone -----------------------------------------------------------------------------------------

ALONE = {
    "android": ((), ""),
    "visionos": (("400:android",), ""),
    "ios": (("400:android,visionos",), ""),
    "page": ((f"{OLD},visionos,ios",), ""),
    "yt-dlp": ((), "--ways yt-dlp"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_alone_serves_every_video(way: str, place: Place) -> None:
    scenes, options = ALONE[way]
    night = night_of(place, 30 if way == "yt-dlp" else 60, scenes, options)
    assert night.ended.code == 0, night.ended.said
    assert {(row["status"], row["attempts"]) for row in night.rows} == {("ok", 1)}
    assert set(night.ways) == {way}
    usual = {"page": 3}.get(way, 2)
    if way != "yt-dlp":
        assert Counter(row["requests"] for row in night.rows)[usual] >= 20
        assert night.events.count("way_off") == {"visionos": 1, "ios": 2, "page": 3}.get(way, 0)
    assert night.batch.does("verify").code == 0


# ---- none at all --------------------------------------------------------------------------------------------


def test_when_no_way_works_the_run_says_so_and_halts_and_nothing_is_lost(place: Place) -> None:
    site = place.stand_in(seed=SEED, latency_s=0, scenarios=("400:all",))
    batch = place.batch(videos(60, SEED), site)
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


# ---- what turns no way off ----------------------------------------------------------------------------------


@played(night_of, count=300, scenes=("no_captions",), options="")
def test_a_channel_without_captions_turns_no_way_off(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    assert Counter((row["kind"], row["requests"]) for row in night.rows) == {("no_captions", 2): 300}
    assert not [event for event in night.events if event.startswith(("way", "mask"))]


@played(night_of, count=120, scenes=("kids=0.5", "no_captions=0.5"), options="")
def test_videos_for_kids_are_what_they_are(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    assert {row["kind"] for row in night.rows} == {None, "no_captions"}
    assert "way_off" not in night.events


# ---- the mask -----------------------------------------------------------------------------------------------


@played(night_of, count=400, scenes=(), options="--mask auto", real_sizes=True)
def test_the_mask_costs_five_kilobytes_a_video(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    n = len(night.rows)
    assert sum(row["requests"] for row in night.rows) <= 2.03 * n
    assert sum(row["bytes"] for row in night.rows) <= 5_000 * n
    assert "mask_off" not in night.events


@played(night_of, count=300, scenes=("mask_field#150-",), options="--mask auto")
def test_a_field_that_goes_missing_under_the_mask(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    assert "mask_off" in night.events
    for record in night.records():
        assert all(record["metadata"][name] for name in ("title", "channel", "channel_id", "duration_s"))
        assert record["metadata"]["description"] is not None
