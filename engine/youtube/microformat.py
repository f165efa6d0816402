"""Fuller metadata by one more request: dates, category, likes and countries.

The player's answer to the ANDROID client, which gives captions, holds no microformat (0 of 17 captured in
2026). The one to the WEB client does, a few kilobytes when nothing else is asked for; NewPipe asks so on the
live site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.model import Failure, Kind
from engine.network.answer import FailureError
from engine.network.session import Attempt
from engine.youtube.classify import by_status
from engine.youtube.library_client import PLAYER
from engine.youtube.messages import refusal

_FIELDS = "microformat,playabilityStatus"  # the latter says why there is none of the former
_VERSION = "2.20260708.00.00"  # as in yt-dlp 2026.10.26; YouTube takes versions that are years old
_HEADERS = {
    "Origin": "https://www.youtube.com",
    "X-YouTube-Client-Name": "1",
    "X-YouTube-Client-Version": _VERSION,
}


def ask(attempt: Attempt, video_id: str) -> Mapping[str, Any]:
    """The `playerMicroformatRenderer` of a video: one request.

    Raises FailureError, what `requests` raises, and ValueError for an answer that is no JSON.
    """
    response = attempt.request(
        "POST",
        f"{PLAYER}?prettyPrint=false&$fields={_FIELDS}",
        json={
            "context": {"client": {"clientName": "WEB", "clientVersion": _VERSION, "hl": "en"}},
            "videoId": video_id,
            "contentCheckOk": True,
            "racyCheckOk": True,
        },
        headers=_HEADERS,
    )
    if response.status_code != 200:
        raise FailureError(by_status(attempt.answer))
    return read(response.json(), video_id)


def read(answer: Any, video_id: str) -> Mapping[str, Any]:
    """The renderer in a WEB player answer. Raises FailureError where there is none, or it is another video's.

    It counts whatever the playability: WEB refuses to play much that it describes.
    """
    if not isinstance(answer, Mapping):
        raise FailureError(Failure(Kind.GARBLED, "the answer is not an object"))
    node = answer.get("microformat")
    found = node.get("playerMicroformatRenderer") if isinstance(node, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        refused = refusal(answer["playabilityStatus"]) if "playabilityStatus" in answer else None
        raise FailureError(refused or Failure(Kind.GARBLED, "the answer holds no microformat"))
    if found.get("externalVideoId") not in (None, video_id):
        raise FailureError(Failure(Kind.GARBLED, "the answer is about another video"))
    return found
