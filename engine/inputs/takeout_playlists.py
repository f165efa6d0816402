"""Playlists of Google Takeout: which tables and objects are such, in whatever language they were asked for.

Their shape is told, not their words: a row of headings, then an id and the time it was added in each row.
Takeouts until about 2023 put a table of one row about the playlist itself before that. What exports look like
is taken from those that people have published with their readers; headings are in the account's language.
Until about 2019 a playlist was a JSON list of what YouTube's Data API answers, which people also save themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.inputs.column_detection import Columns, plain_name
from engine.inputs.line import Line, rejected
from engine.inputs.video_ids import video_id

_COLUMNS = Columns(0, ("video_id", "added_at"), has_header=True)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")
_LIST_ID = re.compile(r"(?:PL|OLAK5uy_|RD|UU|FL|LL|WL)[A-Za-z0-9_-]*")
# `Watch later-videos.csv`, `Watch later-videos(1).csv`, and the same in the languages known to translate it.
_NAMED = re.compile(
    r"[-_](?:video|videos|vidéos|vídeos|video's|동영상|影片|動画|видео)(?: ?\(\d+\))?$", re.IGNORECASE
)
_API_KINDS = ("youtube#playlistItem", "youtube#searchResult")
_NO_VIDEO = "no video in the item: it was removed, or it is a channel or a playlist"
# Where the Data API says what something is called: our column, their key.
_SNIPPET = {
    "title": "title",
    "channel": "videoOwnerChannelTitle",
    "added_at": "publishedAt",
    "playlist_id": "playlistId",
}
_TIME_HEADING = "playlistvideocreationtimestamp"
_TITLE_HEADINGS = frozenset(
    {"title", "playlisttitle", "titel", "titre", "título", "titolo", "제목", "タイトル"}
)


@dataclass(frozen=True, slots=True)
class Playlist:
    """How to read such a table: rows that come before its videos, its columns, what holds for every row."""

    head_rows: int
    columns: Columns
    common: dict[str, str]


def recognise(rows: list[list[str]], file: str, *, from_takeout: bool = False) -> Playlist | None:
    """The playlist that a table begins with these rows is, or None.

    A table of this shape may be anybody's: unless it is known to be `from_takeout`, its name or one of its
    headings has to say so too.
    """
    about = _about(rows)
    videos = rows[2:] if about is not None else rows
    if not videos or not _is_of_videos(videos):
        return None
    stem = os.path.splitext(os.path.basename(file).removesuffix(".gz"))[0]
    named = _NAMED.search(stem)
    told = about is not None or named is not None or plain_name(videos[0][1]) == _TIME_HEADING
    if not (told or from_takeout):
        return None
    name = about or (stem[: named.start()] if named else stem)
    return Playlist(1 if about is None else 3, _COLUMNS, {"playlist": name})


def _about(rows: list[list[str]]) -> str | None:
    """The title in the table of one row about the playlist, if there is such a table."""
    if len(rows) < 3 or not len(rows[0]) > len(rows[2]) or not _LIST_ID.fullmatch(rows[1][0].strip()):
        return None
    named = zip(rows[0], rows[1], strict=False)
    return next((value.strip() for name, value in named if plain_name(name) in _TITLE_HEADINGS), "")


def _is_of_videos(rows: list[list[str]]) -> bool:
    head, data = rows[0], rows[1:]
    if len(head) != 2 or video_id(head[0]) is not None:
        return False
    if not data:
        return plain_name(head[0]) == "videoid"
    ids = sum(video_id(row[0]) is not None for row in data)
    times = sum(len(row) == 2 and _TIME.fullmatch(row[1].strip()) is not None for row in data)
    return 2 * ids > len(data) and 2 * times > len(data)


def item(value: Mapping[str, Any], file: str, number: int) -> Line | None:
    """The line of an item of a playlist or of a search's result, as the Data API writes it; else None.

    Its own `id` is the item's. Kept are `title`, `channel`, `added_at` and `playlist_id`, of a search's result
    `title` and `channel`.
    """
    kind = value.get("kind")
    if kind not in _API_KINDS:
        return None
    snippet = _inner(value, "snippet")
    for holder in (_inner(value, "contentDetails"), _inner(snippet, "resourceId"), _inner(value, "id")):
        text = holder.get("videoId")
        found = video_id(text) if isinstance(text, str) else None
        if isinstance(text, str) and found is not None:
            break
    else:
        title = snippet.get("title")
        return rejected(file, number, title if isinstance(title, str) else "", _NO_VIDEO)
    keys = _SNIPPET if kind == _API_KINDS[0] else {"title": "title", "channel": "channelTitle"}
    given = {name: text for name, key in keys.items() if isinstance(text := snippet.get(key), str) and text}
    return Line(file, number, text, found, given, None)


def _inner(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
