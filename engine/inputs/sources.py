"""Channels, playlists and searches in what a person pasted: sources of videos, to be listed one day.

A source has one short name, whatever shape it was given in, so that naming it twice is seen: `@handle`,
`@handle/shorts`, `UC…`, `c/name`, `user/name`, `PL…`, `search:words`. Like ids, only names leave this module;
addresses are built from them.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from engine.inputs.handles import composed, handle, is_name
from engine.inputs.line import Line
from engine.inputs.pasted import plain_query, trimmed, unwrapped
from engine.inputs.video_ids import HOSTS, video_id

CHANNEL, PLAYLIST, SEARCH = "channel", "playlist", "search"
TABS = ("videos", "shorts", "streams")
MAX_WORDS_CHARS = 200

_SEARCH = re.compile(r"search:\s*(.+)", re.DOTALL)
_CHANNEL_ID = re.compile(r"UC[A-Za-z0-9_-]{22}")
_MAX_NAME_CHARS = 100
# Lists that have an address of their own. Not among them: WL, LL (a user's own) and RD… (mixes).
_PLAYLIST_ID = re.compile(r"(?:PL|UU|FL|OLAK5uy_)[A-Za-z0-9_-]{8,60}")
_COMMENT = re.compile(r"(?<!\s)\s+#.*", re.DOTALL)
_ALL_TABS = frozenset({"", "featured", "about"})


class Source(NamedTuple):
    """`kind` is channel, playlist or search."""

    kind: str
    name: str


@functools.lru_cache(maxsize=8)  # a line is looked at by the counting and by the seeding
def find_source(text: str) -> Source | None:
    """The source that `text` names, or None. An address that names a video is that video, also within a playlist."""
    text = trimmed(trimmed(text).strip("\"'<>`"))
    if found := _SEARCH.fullmatch(text):
        return _search(found[1])
    text = unwrapped(_COMMENT.sub("", text), joiners=True)
    if not text or len(text.split()) > 1 or video_id(text):
        return None
    if text.startswith("@"):
        name, _, tab = text.partition("/")
        return _channel(unquote(name), tab)
    if _CHANNEL_ID.fullmatch(text):
        return Source(CHANNEL, text)
    if _PLAYLIST_ID.fullmatch(text):
        return Source(PLAYLIST, text)
    return _in_address(plain_query(text))


def source_of(line: Line) -> Source | None:
    """The source that a line without a video names; None as well where a history tells of one that was looked at."""
    return find_source(line.text) if line.video_id is None and line.listable else None


def _in_address(text: str) -> Source | None:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if (
        parts.scheme not in ("http", "https")
        or host not in HOSTS
        or port not in (None, 80, 443)
        or parts.username
    ):
        return None
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    path = [unquote(part) for part in parts.path.split("/") if part]
    head = path[0] if path else ""
    if head in ("watch", "playlist") or path[:2] == ["embed", "videoseries"]:
        name = query.get("list", "")
        return Source(PLAYLIST, name) if _PLAYLIST_ID.fullmatch(name) else None
    if head in ("results", "search"):
        return _search(query.get("search_query") or query.get("q", ""))
    if head.startswith("@"):
        return _channel(head, *path[1:])
    if head == "channel" and len(path) > 1 and _CHANNEL_ID.fullmatch(path[1]):
        return _channel(path[1], *path[2:])
    if head in ("c", "user") and len(path) > 1 and is_name(name := composed(path[1]), _MAX_NAME_CHARS, "'"):
        return _channel(f"{head}/{name}", *path[2:])
    return None


def _channel(name: str, tab: str = "", *rest: str) -> Source | None:
    if name.startswith("@"):
        if (found := handle(name)) is None:  # handles are the same in any case, ids are not
            return None
        name = found
    if rest or tab not in (*TABS, *_ALL_TABS):
        return None
    return Source(CHANNEL, f"{name}/{tab}" if tab in TABS else name)


def _search(words: str) -> Source | None:
    words = " ".join(words.split())
    if not words.isprintable() or not words or len(words) > MAX_WORDS_CHARS:
        return None
    return Source(SEARCH, f"search:{words}")
