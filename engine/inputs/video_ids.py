"""The video in what a person pasted: a bare id or any shape of YouTube address.

Only the id leaves this module; addresses are built from it, so nothing of a pasted address is ever
requested. Hosts are compared whole against a list, never searched for as a part of the text.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from engine.inputs.filenames import in_file_name, is_media_name
from engine.inputs.pasted import plain_query, unwrapped

ID_CHARS = 11

HOSTS = frozenset(
    {
        "youtube.com",
        "www.youtube.com",
        "m.youtube.com",
        "music.youtube.com",
        "gaming.youtube.com",
        "youtube-nocookie.com",
        "www.youtube-nocookie.com",
        "youtube.googleapis.com",
        "youtu.be",
        "www.youtu.be",
    }
)
_SHORT_HOSTS = frozenset({"youtu.be", "www.youtu.be"})
_ID_AFTER = frozenset({"shorts", "live", "embed", "v", "e"})
_CHANNELS = frozenset({"channel", "c", "user", "feed"})
_PORTS = frozenset({"", "80", "443"})
# Words of eleven id characters that stand where an id could: players of a playlist and of a channel.
_NOT_IDS = frozenset({"videoseries", "live_stream"})

_PLAYLIST = "a playlist that only its owner or one visit sees: give the addresses of its videos"
_CHANNEL = (
    "a channel, not a video: its videos are named by @handle, or that with /videos, /shorts or /streams"
)
_NO_VIDEO = "a YouTube address without a video in it"
_NEITHER = "neither a video id nor a YouTube address"
_FILE_NAME = "the name of a file with no certain id in it: give the id itself"
_FORMULA = "a formula without a stored result: open the file in Excel or LibreOffice and save it there"

_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_ID_LIKE = re.compile(r"[A-Za-z0-9_-]+")
# The commonest shapes in one go; what it does not match goes the long way, which accepts the same and more.
_COMMON = re.compile(
    r"(?:https?://)?(?:(?:www\.|m\.)?youtube\.com/(?:watch\?v=|shorts/|live/)|youtu\.be/)"
    r"([A-Za-z0-9_-]{11})(?:[?&#][!-~]*)?"
)
_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?//")
_AUTHORITY_END = re.compile(r"[/?#\\]")
_TOKEN_END = re.compile(r"[?&/]")


def video_id(text: str) -> str | None:
    """The 11-character id in `text` (a bare id or a YouTube address), or None. Never raises."""
    return find(text)[0]


def why_not(text: str) -> str:
    """Why `text` names no video, for a person; empty if it does name one. Holds no control characters."""
    return find(text)[1]


def find(text: str) -> tuple[str | None, str]:
    """Both at once: (id, "") or (None, why not)."""
    if _ID.fullmatch(text):
        return text, ""
    if found := _COMMON.fullmatch(text):
        return found[1], ""
    return _parse(text)


def _parse(text: str, *, nested: bool = False) -> tuple[str | None, str]:
    text = unwrapped(text)
    if not text:
        return None, "empty"
    if _ID.fullmatch(text):
        return text, ""
    if found_in_name := in_file_name(text):
        return found_in_name, ""
    if len(text.split(None, 1)) > 1 and text[0] != "=":
        if is_media_name(text):
            return None, _FILE_NAME
        return None, f"{_NEITHER}: more than one word"
    found = _SCHEME.match(text)
    scheme = (found[1] or "").lower() if found else ""
    if scheme not in ("", "http", "https"):
        return None, f"not a web address: it begins with {_shown(scheme)}:"
    rest = text[found.end() :] if found else text
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    if "@" in authority and (found or len(authority) < len(rest)):
        # What stands before the @ may be a password: it is not repeated.
        return None, "not a YouTube address: a user name stands before the host"
    host, _, port = authority.partition(":")
    host = host.lower()
    if host not in HOSTS:
        if found or ("." in host and len(authority) < len(rest)):
            return None, f"not a YouTube address: host {_shown(host)}"
        return None, _why_no_id(text) if _ID_LIKE.fullmatch(text) else _why_neither(text)
    if port not in _PORTS:
        return None, f"not a YouTube address: port {_shown(port)}"
    return _in_address(host, plain_query(rest[len(authority) :]), nested=nested)


def _why_neither(text: str) -> str:
    if text[0] == "=" and len(text) > 1:
        return _FORMULA
    return _FILE_NAME if is_media_name(text) else _NEITHER


def _in_address(host: str, tail: str, *, nested: bool) -> tuple[str | None, str]:
    path, _, query = tail.partition("#")[0].partition("?")
    parts = [unquote(part) for part in path.split("/") if part]
    head = parts[0].lower() if parts else ""
    if host in _SHORT_HOSTS and head not in ("", "watch"):
        return _checked(parts[0])
    if head in ("", "watch"):
        token = _value(query, "v") or (parts[1] if len(parts) > 1 else "")
        if token:
            return _checked(token)
        return None, _PLAYLIST if _value(query, "list") else _NO_VIDEO
    if head in _ID_AFTER and len(parts) > 1:
        if parts[1] in _NOT_IDS and head not in ("shorts", "live"):
            return None, _PLAYLIST if parts[1] == "videoseries" else _CHANNEL
        return _checked(parts[1])
    if head == "attribution_link" and not nested:
        target = _value(query, "u")
        if target.startswith("/") and not target.startswith("//"):
            return _in_address(host, target, nested=True) if len(target.split()) == 1 else (None, _NO_VIDEO)
        return _parse(target, nested=True) if target else (None, _NO_VIDEO)
    if head == "playlist":
        return None, _PLAYLIST
    if head in _CHANNELS or head.startswith("@"):
        return None, _CHANNEL
    return None, _NO_VIDEO


def _checked(token: str) -> tuple[str | None, str]:
    """The id in a piece of an address; people add `?t=`, `&list=` or a slash where none belongs."""
    token = _TOKEN_END.split(token, maxsplit=1)[0].rstrip(".,;:!)")  # the end of a sentence
    if _ID.fullmatch(token):
        return token, ""
    return None, _why_no_id(token)


def _why_no_id(token: str) -> str:
    if _ID_LIKE.fullmatch(token):
        return f"the id has {len(token)} characters, not {ID_CHARS}"
    return "the id has characters that no id has" if token else _NO_VIDEO


def _value(query: str, name: str) -> str:
    """The first value of a name in a query, decoded; empty if there is none."""
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            return unquote(value)
    return ""


def _shown(text: str, max_chars: int = 60) -> str:
    return ascii(text[:max_chars])[1:-1] + ("…" if len(text) > max_chars else "")
