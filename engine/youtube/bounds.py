"""A player answer within bounds, before anyone looks at it.

An answer of 32 MB can list 300,000 caption tracks and as many languages to translate into, and
youtube-transcript-api makes a table of the latter for each of the former. So what is counted is cut here; how long a
text may be is for who reads it (`wording`, `metadata`).
"""

from __future__ import annotations

from typing import Any

MAX_ITEMS = 500  # of any list: YouTube translates into some 250 languages
MAX_CODE_CHARS = 100
MAX_ADDRESS_CHARS = 8_000
_LISTS = (
    ("captions", "playerCaptionsTracklistRenderer", "captionTracks"),
    ("captions", "playerCaptionsTracklistRenderer", "translationLanguages"),
    ("captions", "playerCaptionsTracklistRenderer", "audioTracks"),
    ("videoDetails", "keywords"),
    ("playabilityStatus", "messages"),
    ("playabilityStatus", "errorScreen", "playerErrorMessageRenderer", "subreason", "runs"),
)


def bounded(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer itself, its long lists cut; caption tracks with an absurd address or code are left out."""
    for *way, last in _LISTS:
        node: Any = answer
        for key in way:
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            continue
        found = node.get(last)
        if isinstance(found, list):
            found = found[:MAX_ITEMS]
            if last == "captionTracks":
                found = [track for track in found if not _is_absurd(track)]
            node[last] = found
    return answer


def _is_absurd(track: Any) -> bool:
    if not isinstance(track, dict):
        return False
    url, code = track.get("baseUrl"), track.get("languageCode")
    return (isinstance(url, str) and len(url) > MAX_ADDRESS_CHARS) or (
        isinstance(code, str) and len(code) > MAX_CODE_CHARS
    )
