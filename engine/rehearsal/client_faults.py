"""What single clients of the player get: refusals of the client itself, other tracks, answers that are no use.

The wordings and shapes are those told of the live site: 400 for versions that are too old, tracks marked `exp=xpe` or
`exp=xpv` (yt-dlp's `_video.py` tests both), an empty 200 for texts that need a token, answers about another video
(yt-dlp's issue 9554), and refusals by one client of what others play (pytubefix's issue 397).
"""

from __future__ import annotations

from collections.abc import Set

from engine.rehearsal.canned_responses import ERROR_400, Response, json_response
from engine.rehearsal.request import Request
from engine.rehearsal.scenarios import draw

ANOTHER_VIDEO = "aQvGIIdgFDM"
# What `mask_field` drops one of; every real answer has them, keywords apart.
DETAILS = ("author", "channelId", "lengthSeconds", "shortDescription", "keywords")
_TOO_OLD = {
    "error": {
        "code": 400,
        "message": "Precondition check failed.",
        "errors": [
            {"message": "Precondition check failed.", "domain": "global", "reason": "failedPrecondition"}
        ],
        "status": "FAILED_PRECONDITION",
    }
}
_BAD_FIELDS = {
    "error": {"code": 400, "message": "Request contains an invalid argument.", "status": "INVALID_ARGUMENT"}
}


def refused(names: Set[str], request: Request) -> Response | None:
    """The answer to a client that is refused as such; None when it is not."""
    if request.kind not in ("player", "other_client", "metadata", "watch"):
        return None
    if "400" in names:
        if request.kind == "watch":
            return Response(400, ERROR_400, scenario="400")
        return json_response(_TOO_OLD, 400, "400")
    if "mask_400" in names and request.masked:
        return json_response(_BAD_FIELDS, 400, "mask_400")
    return None


def is_gated(names: Set[str], request: Request) -> str | None:
    """The scenario by which a text is empty for this client; None when it gets the text."""
    if "gated" in names:
        return "gated"
    marked = next((name for name in ("xpe", "xpv") if name in names), None)
    return None if request.po_token else marked


def seen_track(track: dict[str, object], names: Set[str], request: Request) -> dict[str, object]:
    """An entry of `captionTracks` as this client gets it. Its URL says to whom it was listed."""
    mark = "".join(f"&exp={name}" for name in ("xpe", "xpv") if name in names)
    url = f"{track['baseUrl']}{mark}&c={request.client}"
    found = {**track, "baseUrl": f"{url}&cver={request.version}" if request.version else url}
    if "odd_names" in names:
        runs = found.pop("name")
        if draw(0, "odd_names", "how", request.video_id) < 0.5:
            assert isinstance(runs, dict)
            found["name"] = {"simpleText": runs["runs"][0]["text"]}
    if "reshaped" in names:
        found = {f"{key}V2": value for key, value in found.items()}
    return found


def seen_details(details: dict[str, object], names: Set[str], request: Request) -> dict[str, object]:
    """`videoDetails` as this client gets them."""
    if "mask_field" in names and request.masked:
        dropped = DETAILS[int(draw(0, "mask_field", "which", request.video_id) * len(DETAILS))]
        return {key: value for key, value in details.items() if key != dropped}
    return details


def first_shown(names: Set[str], request: Request) -> str | None:
    """The name of the scenario that a played answer counts for, if any."""
    shown = names & {"xpe", "xpv", "reshaped", "odd_names", "other_video"}
    if "mask_field" in names and request.masked:
        shown |= {"mask_field"}
    return min(shown, default=None)
