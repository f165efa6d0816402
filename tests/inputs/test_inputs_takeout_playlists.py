"""Playlists of Google Takeout, new and old, told from other tables in any language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.inputs import read
from engine.inputs.takeout_playlists import recognise

DATA = Path(__file__).parents[1] / "data"
A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"
T = "2026-01-11T09:30:00+00:00"
ENGLISH = ["Video ID", "Playlist Video Creation Timestamp"]
ABOUT = ["Playlist Id", "Channel Id", "Time Created", "Time Updated", "Title", "Description", "Visibility"]


def test_as_it_is_now() -> None:
    lines = list(read(str(DATA / "Watch later-videos.csv")))
    assert [line.line for line in lines] == [2, 3]
    assert lines[0].input == {"playlist": "Watch later", "added_at": T}


def test_as_it_was_with_a_table_about_the_playlist_before() -> None:
    lines = list(read(str(DATA / "old playlist.csv")))
    assert [line.input for line in lines] == [
        {"playlist": "Rivers", "added_at": "2021-08-01 11:12:13 UTC"},
        {"playlist": "Rivers", "added_at": "2021-08-02 11:12:13 UTC"},
    ]


@pytest.mark.parametrize(
    ("rows", "file", "name"),
    [
        ([ENGLISH, [A, T]], "x.csv", "x"),
        ([ENGLISH, [A, T]], "a/Watch later-videos(1).csv.gz", "Watch later"),
        ([ENGLISH], "Empty-videos.csv", "Empty"),
        ([["Video-ID", "Zeitstempel"], [A, T]], "Später ansehen-Videos.csv", "Später ansehen"),
        ([["動画 ID", "再生リスト"], [A, T], [B, T]], "x-動画.csv", "x"),
        ([ABOUT, ["WL", "UC", T, "", "Later", "", "Private"], ["Video Id", "Time Added"]], "w.csv", "Later"),
        ([ABOUT, ["PLx", "UC", T, "", "", "", ""], ["Video Id", "Time Added"], [A, T]], "w-videos.csv", "w"),
        ([ENGLISH, ["gone", T], [A, T], [B, T]], "x.csv", "x"),
    ],
)  # fmt: skip
def test_a_playlist(rows: list[list[str]], file: str, name: str) -> None:
    found = recognise(rows, file)
    assert found is not None
    assert found.common == {"playlist": name}


@pytest.mark.parametrize(
    ("rows", "file"),
    [
        ([], "x-videos.csv"),
        ([["id", "when"], [A, T]], "mine.csv"),  # anybody's
        ([["id", "topic"], [A, "x"]], "x-videos.csv"),
        ([[A, T], [B, T]], "x-videos.csv"),  # no headings
        ([["Video ID", "Song Title", "Artist"], [A, "x", "y"]], "music-videos.csv"),
        ([["Channel Id", "Time"], ["UCxxxxxxxxxxxxxxxxxxxxxx", T]], "x-videos.csv"),
    ],
)
def test_no_playlist(rows: list[list[str]], file: str) -> None:
    assert recognise(rows, file) is None


def test_within_a_takeout_the_shape_is_enough() -> None:
    rows = [["ID видео", "Время"], [A, T]]
    assert recognise(rows, "x.csv") is None
    found = recognise(rows, "x.csv", from_takeout=True)
    assert found is not None
    assert found.common == {"playlist": "x"}


def test_who_names_a_column_reads_a_table(tmp_path: Path) -> None:
    path = tmp_path / "x-videos.csv"
    path.write_text(f"{','.join(ENGLISH)}\n{A},{T}\n")
    (line,) = read(str(path), column="Video ID")
    assert line.input == {ENGLISH[1]: T}


def test_as_it_was_in_json() -> None:
    bread, clocks, gone = read(str(DATA / "likes.json"))
    assert bread.input == {
        "title": "How bread rises",
        "added_at": "2018-02-01T19:30:00.000Z",
        "playlist_id": "LLqqqqqqqqqqqqqqqqqqqqqq",
    }
    assert clocks.input["channel"] == "Quiet Machines"
    assert (gone.video_id, gone.text) == (None, "Deleted video")
    assert "was removed" in (gone.reason or "")


def test_what_the_data_api_answers(tmp_path: Path) -> None:
    other = {"kind": "youtube#searchResult", "id": {"kind": "youtube#channel", "channelId": "UC" + "x" * 22}}
    result = {"kind": "youtube#searchResult", "id": {"kind": "youtube#video", "videoId": A},
              "snippet": {"title": "Kelp", "channelTitle": "Sea", "publishedAt": T, "thumbnails": {}}}  # fmt: skip
    listed = {"kind": "youtube#playlistItem", "contentDetails": {"videoId": 7},
              "snippet": {"resourceId": {"videoId": B}, "title": None}}  # fmt: skip
    page = {"kind": "youtube#searchListResponse", "items": [other, result, listed, {**listed, "snippet": []}]}
    path = tmp_path / "page.json"
    path.write_text(json.dumps(page))
    lines = list(read(str(path)))
    assert [line.video_id for line in lines] == [None, A, B, None]
    assert lines[1].input == {"title": "Kelp", "channel": "Sea"}
    assert lines[2].input == {}
