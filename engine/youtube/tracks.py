"""The caption list of a player answer, as tracks.

youtube-transcript-api's own list has one track a language and kind: where people made two in the same language, only
the last is in it. This list has all, and serves the answers of every client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.model import Failure, Kind
from engine.youtube.player import OddAnswerError, captions, items

# YouTube marks the address of a text that it gives only with a PO token; yt-dlp's tests have both marks.
_NEEDS_TOKEN = re.compile(r"[?&]exp=xp[ev](?:&|$)")


@dataclass(frozen=True, slots=True)
class Translation:
    """A language that YouTube translates captions into."""

    language: str
    language_code: str


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One caption track: its language by name and code, who made it, and the address of its text."""

    language: str
    language_code: str
    is_generated: bool
    url: str
    translation_languages: tuple[Translation, ...] = ()

    @property
    def needs_token(self) -> bool:
        """Whether this client is given the text only with a PO token."""
        return _NEEDS_TOKEN.search(self.url) is not None

    def translate(self, code: str) -> Track:
        """The translation into a language that `translation_languages` has."""
        language = next(each.language for each in self.translation_languages if each.language_code == code)
        return replace(
            self,
            language=language,
            language_code=code,
            is_generated=True,
            url=f"{self.url}&tlang={code}",
            translation_languages=(),
        )


def list_tracks(player: Mapping[str, Any] | None) -> list[Track]:
    """The tracks that a player answer lists, in its order. Malformed ones are left out."""
    renderer = captions(player)
    offered = tuple(
        Translation(_text(item.get("languageName")) or item["languageCode"], item["languageCode"])
        for item in items(renderer.get("translationLanguages"))
        if isinstance(item.get("languageCode"), str)
    )
    tracks = []
    for item in items(renderer.get("captionTracks")):
        url, code = item.get("baseUrl"), item.get("languageCode")
        if not (isinstance(url, str) and isinstance(code, str)):
            continue
        if url.startswith("/"):
            url = "https://www.youtube.com" + url
        tracks.append(
            Track(
                _text(item.get("name")) or code,
                code,
                item.get("kind") == "asr",
                url.replace("&fmt=srv3", ""),  # srv1 comes instead, which is the quickest to read
                offered if item.get("isTranslatable") is True else (),
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
