"""Requests to the site, and how they are parsed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LISTS = {
    "/youtubei/v1/navigation/resolve_url": "resolve",
    "/youtubei/v1/browse": "browse",
    "/youtubei/v1/search": "search",
}
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the site.

    `kind` is watch, player (asked by ANDROID), metadata (the player asked by WEB for a microformat), other_client
    (the player asked by any other client), timedtext, ping (the site's small page that answers 204; no video), or
    resolve, browse, search (pages of listings; no video, but a `body`), next (what the watch page shows around a
    video; yt-dlp asks for it). `translation` is the language to translate into. `client` and `version` are how the
    client names itself, also the one to whom a track was listed.
    """

    kind: str
    video_id: str
    client: str = ""
    version: str = ""
    language: str = "en"
    fmt: str = "srv1"
    masked: bool = False
    po_token: bool = False
    consented: bool = False
    translation: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


def read_request(method: str, target: str, headers: dict[str, str], body: bytes) -> Request | None:
    """A request to the site; None for a page that the server does not have.

    Raises ValueError for a malformed request of a known kind.
    """
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    consented = "CONSENT=YES" in headers.get("cookie", "") or "SOCS=" in headers.get("cookie", "")
    if parts.path == "/watch" and method in ("GET", "HEAD"):
        return Request("watch", _video_id(query.get("v", "")), "page", consented=consented)
    if parts.path == "/youtubei/v1/player" and method == "POST":
        try:
            content = json.loads(body)
            context = content["context"]["client"]
            client, version = str(context["clientName"]), str(context.get("clientVersion", ""))
            video_id = str(content["videoId"])
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ValueError("a player request is JSON with context.client.clientName and videoId") from exc
        fields = query.get("$fields", "").split(",")
        kind = "metadata" if client == "WEB" and "microformat" in fields else "other_client"
        kind = "player" if client == "ANDROID" else kind
        return Request(kind, _video_id(video_id), client, version, masked="$fields" in query)
    if parts.path == "/youtubei/v1/next" and method == "POST":
        content = json.loads(body)
        return Request("next", _video_id(str(content.get("videoId")) if isinstance(content, dict) else ""))
    if parts.path in _LISTS and method == "POST":
        content = json.loads(body)
        if not isinstance(content, dict):
            raise ValueError("a request for a list is a JSON object")
        return Request(_LISTS[parts.path], "", body=content)
    if parts.path == "/generate_204" and method in ("GET", "HEAD"):
        return Request("ping", "")
    if parts.path == "/api/timedtext" and method in ("GET", "HEAD"):
        return Request(
            "timedtext",
            _video_id(query.get("v", "")),
            query.get("c", ""),
            query.get("cver", ""),
            language=query.get("lang", "en")[:20],
            fmt=query.get("fmt", "srv1"),
            po_token="pot" in query,
            translation=query["tlang"][:20] if "tlang" in query else None,
        )
    return None


def _video_id(text: str) -> str:
    if not _VIDEO_ID.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a video id")
    return text
