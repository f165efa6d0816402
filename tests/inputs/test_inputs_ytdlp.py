"""What yt-dlp leaves: the archive of its downloads, and playlists from `--flat-playlist -J`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.inputs import Line, read

DATA = Path(__file__).parents[1] / "data"
A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"


def of(tmp_path: Path, name: str, text: str) -> list[Line]:
    (tmp_path / name).write_text(text)
    return list(read(str(tmp_path / name)))


def test_an_archive() -> None:
    lines = list(read(str(DATA / "archive.txt")))
    assert [line.video_id is not None for line in lines] == [True, False, True, False]
    assert lines[1].text == "vimeo 76979871"
    assert "not of YouTube" in (lines[1].reason or "")
    assert "'dailymotion'" in (lines[3].reason or "")


@pytest.mark.parametrize(
    ("text", "found", "reason"),
    [
        (f"youtube {A}", A, None),
        (f"youtube {B}", B, None),
        ("youtube dQw4w9WgXc", None, "10 characters"),
        ("youtube:tab PL123", None, "'youtube:tab'"),
        (f"{A} {B}", None, "more than one word"),
        ("some words", None, "more than one word"),
        (f"vimeo {A}", None, "'vimeo'"),
    ],
)
def test_its_lines(tmp_path: Path, text: str, found: str | None, reason: str | None) -> None:
    (line,) = of(tmp_path, "archive", f"{text}\n")
    assert line.video_id == found
    assert (reason or "") in (line.reason or "")


def test_the_tabs_of_a_channel_are_one_list() -> None:
    lines = list(read(str(DATA / "channel.json")))
    assert [line.line for line in lines] == [1, 2, 3, 4]
    assert [line.input.get("title") for line in lines] == ["Sea stars", None, "Anemones", "Crab!"]
    assert [line.input.get("playlist") for line in lines] == [
        "Tide Pools - Videos",
        None,
        "Tide Pools - Videos",
        "Tide Pools - Shorts",
    ]
    assert lines[1].video_id is None


def test_other_sites_and_tabs_that_were_not_opened(tmp_path: Path) -> None:
    entries = [
        {"_type": "url", "ie_key": "Vimeo", "id": A, "url": f"https://vimeo.com/{A}"},
        {"_type": "url", "ie_key": "YoutubeTab", "id": "UCx", "url": "https://www.youtube.com/@x/videos"},
        {"_type": "url", "ie_key": "Youtube", "id": B, "playlist": "its own"},
    ]
    playlist = {"_type": "playlist", "title": "Mixed", "entries": entries}
    other, tab, video = of(tmp_path, "x.json", json.dumps(playlist))
    assert "'Vimeo'" in (other.reason or "")
    assert tab.video_id is None
    assert video.input["playlist"] == "its own"
    lines = of(tmp_path, "x.jsonl", "".join(f"{json.dumps(entry)}\n" for entry in entries))
    assert [line.video_id for line in lines] == [None, None, B]


def test_entries_of_anybody_are_as_they_were(tmp_path: Path) -> None:
    (line,) = of(tmp_path, "x.json", json.dumps({"title": "mine", "entries": [{"id": A, "n": 1}]}))
    assert line.input == {"n": 1}
