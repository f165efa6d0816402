"""A player answer: its size bounded, its parts, and what its playability says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.model import Failure, Kind
from engine.network.answer import FailureError
from engine.youtube.messages import MAX_READ, failure_from

URL = "https://www.youtube.com/youtubei/v1/player"
MAX_ITEMS = 500  # of any list: YouTube translates into some 250 languages
MAX_CODE_CHARS = 100
MAX_URL_CHARS = 8_000
_LISTS = (
    ("captions", "playerCaptionsTracklistRenderer", "captionTracks"),
    ("captions", "playerCaptionsTracklistRenderer", "translationLanguages"),
    ("captions", "playerCaptionsTracklistRenderer", "audioTracks"),
    ("videoDetails", "keywords"),
    ("playabilityStatus", "messages"),
    ("playabilityStatus", "errorScreen", "playerErrorMessageRenderer", "subreason", "runs"),
)
_LIVE_STATES = (  # the first that is true decides
    ("isUpcoming", "the event has not begun"),
    ("isPostLiveDvr", "the event has just ended, and YouTube is still working on its recording"),
    ("isLive", "the event runs now"),
)


class OddAnswerError(FailureError):
    """A player answer that is well-formed and yet not what was asked for."""


def at(node: Any, *keys: str) -> Mapping[str, Any]:
    """The object found by these keys, empty if there is none."""
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def items(node: Any) -> list[Mapping[str, Any]]:
    """The objects in a list, empty for anything else."""
    return [item for item in node if isinstance(item, Mapping)] if isinstance(node, list) else []


def text(node: Any) -> str:
    """A text as YouTube writes it: `simpleText` or `runs`; empty for anything else."""
    if not isinstance(node, Mapping):
        return ""
    parts = [run.get("text") for run in items(node.get("runs"))]
    simple = node.get("simpleText")
    return "".join(p for p in parts if isinstance(p, str)) or (simple if isinstance(simple, str) else "")


def captions(player: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return at(player, "captions", "playerCaptionsTracklistRenderer")


def bounded(player: dict[str, Any]) -> dict[str, Any]:
    """Cut the long lists of an answer in place, drop caption tracks with an absurd URL or code, and return it.

    An answer of 32 MB can list 300,000 caption tracks and as many languages to translate into, and
    youtube-transcript-api builds a table of the latter for each of the former. Long texts are cut by their readers.
    """
    for *keys, last in _LISTS:
        node = at(player, *keys)
        found = node.get(last)
        if isinstance(node, dict) and isinstance(found, list):
            found = found[:MAX_ITEMS]
            if last == "captionTracks":
                found = [track for track in found if not _is_absurd(track)]
            node[last] = found
    return player


def _is_absurd(track: Any) -> bool:
    if not isinstance(track, dict):
        return False
    url, code = track.get("baseUrl"), track.get("languageCode")
    return (isinstance(url, str) and len(url) > MAX_URL_CHARS) or (
        isinstance(code, str) and len(code) > MAX_CODE_CHARS
    )


def not_yet(video_details: Mapping[str, Any]) -> Failure | None:
    """Why a video without captions may still get some, by its `videoDetails`; None for an ordinary video."""
    for key, message in _LIVE_STATES:
        if video_details.get(key) is True:
            return Failure(Kind.NOT_YET, f"{message}: there are no captions yet")
    return None


def refusal(playability: Any) -> Failure | None:
    """The failure in a player answer's `playabilityStatus`; None when the video can be played."""
    if not isinstance(playability, Mapping):
        return Failure(Kind.GARBLED, "the player answer does not say whether the video can be played")
    status = playability.get("status")
    if status == "OK":
        return None
    text = ". ".join(dict.fromkeys(part[:MAX_READ] for part in _reasons(playability)))
    status = (
        str(status)[:MAX_READ] if isinstance(status, (str, int, float, type(None))) else "of another kind"
    )
    return failure_from(text or f"status {status}", status=status)


def _reasons(playability: Mapping[str, Any]) -> Iterator[str]:
    """The reason, and the details below it (a country, a membership level) if there are any."""
    reason = playability.get("reason")
    if isinstance(reason, str) and reason:
        yield reason
    messages = playability.get("messages")
    if isinstance(messages, list):
        yield from (message for message in messages[:10] if isinstance(message, str))
    subreason = at(playability, "errorScreen", "playerErrorMessageRenderer", "subreason")
    parts = [run.get("text") for run in items(subreason.get("runs"))]
    joined = "".join(p for p in parts[:100] if isinstance(p, str)) or subreason.get("simpleText")
    if isinstance(joined, str) and joined:
        yield joined
