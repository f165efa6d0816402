"""Real answers of the site, as youtube-transcript-api ships them, through the real command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from commands import Batch, Ended, kinds
from nights import Place, played

from engine.rehearsal import CAPTURES
from engine.rehearsal.recorded_responses import read_asset


@dataclass(frozen=True)
class Captured:
    batch: Batch
    ended: Ended


def captured(place: Place) -> Captured:
    """All captured answers, some videos among them that simply work."""
    site = place.stand_in(scenarios=("captured",), seed=9)
    batch = place.batch(list(CAPTURES), site)
    # Unknown answers are tried again; two attempts show that as well as five.
    return Captured(batch, batch.run("-l", "en", "--attempts", "2", timeout_s=100))


def _details(asset: str) -> dict[str, Any]:
    return dict(json.loads(read_asset(asset))["videoDetails"])


def _tracks(asset: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(read_asset(asset))["captions"][
        "playerCaptionsTracklistRenderer"
    ]["captionTracks"]
    return found


@played(captured)
def test_each_answer_gets_its_kind(night: Captured) -> None:
    assert night.ended.code == 3, night.ended.said
    wanted = {
        name: None if capture.expected == "ok" else capture.expected for name, capture in CAPTURES.items()
    }
    assert kinds(night.batch.rows()) == wanted
    night.batch.clean()
    told = night.batch.does("failures", "--json")
    assert {json.loads(line)["video_id"] for line in told.out.splitlines()} == {
        name for name, kind in wanted.items() if kind
    }


@played(captured)
def test_records_hold_what_the_site_said(night: Captured) -> None:
    rows = night.batch.rows()
    for video_id, capture in CAPTURES.items():
        if capture.expected != "ok":
            continue
        row, details = rows[video_id], _details(capture.asset)
        record = json.loads((night.batch.out / row["files"]["json"]).read_text())
        wanted = {
            "title": details["title"],
            "channel": details["author"],
            "channel_id": details["channelId"],
            "duration_s": int(details["lengthSeconds"]),
        }
        assert {name: row[name] for name in wanted} == wanted
        assert {name: record["metadata"][name] for name in wanted} == wanted
        tracks = [track for track in _tracks(capture.asset) if track["languageCode"] == "en"]
        written = [track for track in tracks if track.get("kind") != "asr"]
        assert tracks
        assert record["transcript"]["language"] == row["language"] == "en"
        assert record["transcript"]["is_generated"] is row["is_generated"] is (not written)
        assert record["transcript"]["language_name"] == (written or tracks)[0]["name"]["runs"][0]["text"]
        assert record["transcript"]["segments"][0]["text"] == "Hey, this is just a test"


@played(captured)
def test_a_final_refusal_keeps_what_was_learnt(night: Captured) -> None:
    row = night.batch.rows()["Njp5uhTorCo"]
    details = _details(CAPTURES["Njp5uhTorCo"].asset)
    assert (row["title"], row["channel"]) == (details["title"], details["author"])


def other_language(place: Place) -> Captured:
    site = place.stand_in(scenarios=("captured",), seed=9)
    batch = place.batch(["GJLlxj_dtq8", "F1xioXWb8CY"], site)
    return Captured(batch, batch.run("-l", "tlh,de,en"))


@played(other_language)
def test_languages_are_taken_in_order_of_preference(night: Captured) -> None:
    assert night.ended.code == 0, night.ended.said
    for video_id, row in night.batch.rows().items():
        codes = {track["languageCode"] for track in _tracks(CAPTURES[video_id].asset)}
        assert row["language"] == next(code for code in ("tlh", "de", "en") if code in codes)
