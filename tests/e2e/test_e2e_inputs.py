"""Lists as people have them, each kind from a file, through one real run: each video once, with its columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import recount
from commands import engine

DATA = Path(__file__).parents[1] / "data"
TITLE, CHANNEL, PLAYLIST = "title", "channel", "playlist"
# file: the columns that tell where a video came from, for each of its videos in order
FILES: dict[str, list[dict[str, Any]]] = {
    "list.csv.gz": [{"topic": "biology", "row": "1"}, {"topic": "history", "row": "2"}],
    "list.xlsx": [{"Topic": "biology", "Row": 1, "Seen": True}, {"Topic": "history", "Row": 2.5}],
    "watch-history.json": [
        {TITLE: "How glaciers move – part 1", CHANNEL: "Field Notes"},
        {TITLE: "Nocturne", "product": "YouTube Music"},
        {"details": "From Google Ads"},
    ],
    "watch-history.html": [
        {TITLE: 'Salt & light: "a test"', "watched_at": "Jun 6, 2026, 8:53:12 AM CEST"},
        {TITLE: "Wie Brücken schwingen"},
        {"product": "YouTube Music"},
    ],
    "Watch later-videos.csv": [{PLAYLIST: "Watch later", "added_at": "2026-01-11T09:30:00+00:00"}, {}],
    "old playlist.csv": [{PLAYLIST: "Rivers"}, {PLAYLIST: "Rivers"}],
    "likes.json": [
        {TITLE: "How bread rises", "playlist_id": "LLqqqqqqqqqqqqqqqqqqqqqq"},
        {TITLE: "Tidal clocks", CHANNEL: "Quiet Machines"},
    ],
    "takeout-001.zip": [
        {CHANNEL: "Wetterkunde"},
        {PLAYLIST: "Brücken"},
        {PLAYLIST: "Brücken"},
        {PLAYLIST: "출근길 노래"},
    ],
    "archive.txt": [{}, {}],
    "channel.json": [
        {TITLE: "Sea stars", PLAYLIST: "Tide Pools - Videos"},
        {TITLE: "Anemones"},
        {TITLE: "Crab!", PLAYLIST: "Tide Pools - Shorts"},
    ],
}
REJECTED = {"list.csv.gz": 1, "list.xlsx": 1, "watch-history.json": 2, "watch-history.html": 1,
            "likes.json": 1,
            "takeout-001.zip": 1, "archive.txt": 2, "channel.json": 1}  # fmt: skip


def test_every_kind_of_file_in_one_run(tmp_path: Path) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    sources = [DATA / name for name in FILES]
    ended = engine(
        "rehearse", *sources, "-q", queue, "-o", out, "-p", "1", "--latency", "0", "--progress", "none"
    )
    assert ended.code == 0, ended.said
    expected = [columns for name in FILES for columns in FILES[name]]
    count, rejected = len(expected), sum(REJECTED.values())
    assert f"read {count + rejected}: added {count}, duplicate 0, rejected {rejected} " in ended.err
    assert "3 watch histories or playlists read, 7 other files left out" in ended.err

    rows = recount.by_id(recount.manifest(queue))
    seeded = recount.seeded(queue)
    assert set(rows) == set(seeded)
    for video_id, columns in zip(seeded, expected, strict=True):
        row = rows[video_id]
        assert row["status"] == "ok"
        assert columns.items() <= row["input"].items(), (video_id, row["input"])
        record = json.loads((out / row["files"]["json"]).read_text(encoding="utf-8"))
        assert record["input"] == row["input"]
    assert engine("verify", "-q", queue).code == 0

    # What was done once is not asked for again elsewhere.
    asked = ("seed", *sources, "-q", tmp_path / "other", "--skip-known", queue / "manifest.jsonl", "--json")
    again = engine(*asked)
    assert json.loads(again.out) == {
        "schema_version": 1, "read": count + rejected, "added": 0, "duplicate": 0, "rejected": rejected, "listed": 0,
        "known": count,
    }  # fmt: skip
