"""The caption list of a player answer, as tracks that youtube-transcript-api can fetch and translate.

The library makes its own list of the answers it asked for, with one track a language and kind: where people made
two in the same language, the last one stays. This is the list for answers of other clients, and for all tracks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from youtube_transcript_api import Transcript as Track

from engine.network.session import Session


@dataclass(frozen=True, slots=True)
class Translation:
    """A language that YouTube translates captions into, named as the library names its own."""

    language: str
    language_code: str


def listed(session: Session, video_id: str, player: Mapping[str, Any] | None) -> list[Track]:
    """The tracks that a player answer lists, in its order; what is malformed is left out."""
    renderer = _renderer(player)
    offered: Any = [
        Translation(_text(its.get("languageName")) or its["languageCode"], its["languageCode"])
        for its in _mappings(renderer.get("translationLanguages"))
        if isinstance(its.get("languageCode"), str)
    ]
    tracks = []
    for item in _mappings(renderer.get("captionTracks")):
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


def offers(player: Mapping[str, Any] | None) -> bool:
    """Whether a player answer lists any track, be it malformed."""
    tracks = _renderer(player).get("captionTracks")
    return bool(tracks) and isinstance(tracks, list)


def _renderer(player: Mapping[str, Any] | None) -> Mapping[str, Any]:
    captions = player.get("captions") if player else None
    renderer = captions.get("playerCaptionsTracklistRenderer") if isinstance(captions, Mapping) else None
    return renderer if isinstance(renderer, Mapping) else {}


def _mappings(node: Any) -> list[Mapping[str, Any]]:
    return [its for its in node if isinstance(its, Mapping)] if isinstance(node, list) else []


def _text(node: Any) -> str:
    if not isinstance(node, Mapping):
        return ""
    parts = [run.get("text") for run in _mappings(node.get("runs"))]
    return "".join(p for p in parts if isinstance(p, str)) or str(node.get("simpleText") or "")
