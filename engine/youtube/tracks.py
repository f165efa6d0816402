"""The caption list of a player answer, as tracks that youtube-transcript-api can fetch and translate.

The library's own list has one track a language and kind: where people made two in the same language, only the last is
in it. This list has all, and serves the answers of other clients, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from youtube_transcript_api import Transcript as Track

from engine.model import Failure, Kind
from engine.network.session import Session
from engine.youtube.player import OddAnswerError, captions, items


@dataclass(frozen=True, slots=True)
class Translation:
    """A language that YouTube translates captions into, with the field names of the library's own class."""

    language: str
    language_code: str


def list_tracks(session: Session, video_id: str, player: Mapping[str, Any] | None) -> list[Track]:
    """The tracks that a player answer lists, in its order. Malformed ones are left out."""
    renderer = captions(player)
    offered: Any = [
        Translation(_text(item.get("languageName")) or item["languageCode"], item["languageCode"])
        for item in items(renderer.get("translationLanguages"))
        if isinstance(item.get("languageCode"), str)
    ]
    tracks = []
    for item in items(renderer.get("captionTracks")):
        url, code = item.get("baseUrl"), item.get("languageCode")
        if not (isinstance(url, str) and isinstance(code, str)):
            continue
        if url.startswith("/"):
            url = "https://www.youtube.com" + url
        tracks.append(
            Track(
                session,
                video_id,
                url.replace("&fmt=srv3", ""),  # the library reads the older format
                _text(item.get("name")) or code,
                code,
                item.get("kind") == "asr",
                offered if item.get("isTranslatable") is True else [],
            )
        )
    return tracks


def lists_tracks(player: Mapping[str, Any] | None) -> bool:
    """Whether a player answer lists any caption track, be it malformed."""
    listed = captions(player).get("captionTracks")
    return bool(listed) and isinstance(listed, list)


def check_readable(player: Mapping[str, Any] | None) -> None:
    """Raise OddAnswerError if an answer in which no track was found lists some, be they malformed."""
    if lists_tracks(player):
        raise OddAnswerError(Failure(Kind.GARBLED, "the list of captions could not be read"))


def _text(node: Any) -> str:
    if not isinstance(node, Mapping):
        return ""
    parts = [run.get("text") for run in items(node.get("runs"))]
    return "".join(p for p in parts if isinstance(p, str)) or str(node.get("simpleText") or "")
