"""The ways to a video's captions and the clients behind them: a dated table.

| way       | requests | what it is                                                                        |
|-----------|----------|-----------------------------------------------------------------------------------|
| `android` | 2        | the player as YouTube's Android app                                               |
| `visionos`| 2        | the player as the Vision Pro's browser; shows no videos made for kids             |
| `ios`     | 2        | the player as YouTube's iPhone app                                                |
| `page`    | 3        | the watch page, then youtube-transcript-api as installed, with a client of its own |
| `yt-dlp`  | 3 or more| yt-dlp as installed, with the user's plugins; only when asked for or nothing else works |

YouTube refuses old versions of a client all at once, with HTTP 400 for everybody. So the newer of this table and the
installed yt-dlp's own table is used: `pip install -U yt-dlp` renews the fetch.

One way for one video: `Fetcher(client, FetchSettings(ways=("ios",))).fetch(video_id, permit)` of
`engine.youtube.fetcher`, whose result names the way that served (`way`).
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.model import WAYS, InnertubeClient

PAGE, YTDLP = "page", "yt-dlp"
__all__ = [
    "CLIENTS",
    "PAGE",
    "WAYS",
    "YTDLP",
    "InnertubeClient",
    "client_of",
    "installed_clients",
    "installed_table",
    "newest",
    "player_context",
    "release_date",
]

_DIGITS = re.compile(r"\d+")
_TEXT_MAX = 300


# Read on 2026-11-25. Others send nearly the same: pytubefix 11.2.1 the same ANDROID, invidious 21.29.366, NewPipe
# and YouTube.js 21.03.36. Versions of ANDROID below 20 have been answered 400 since 2026-08-18.
CLIENTS: tuple[InnertubeClient, ...] = (
    InnertubeClient(
        "android",
        "ANDROID",
        "3",
        "21.26.364",
        "com.google.android.youtube/21.26.364 (Linux; U; Android 11) gzip",
        (("androidSdkVersion", 30), ("osName", "Android"), ("osVersion", "11")),
        plays_kids=True,
        dated=date(2026, 10, 26),
        source="yt-dlp 2026.10.26",
    ),
    InnertubeClient(
        "visionos",
        "VISIONOS",
        "101",
        "1.02",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_7_3) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 "
        "Safari/605.1.15",
        (
            ("deviceMake", "Apple"),
            ("deviceModel", "RealityDevice17,1"),
            ("osName", "visionOS"),
            ("osVersion", "26.5.23O471"),
        ),
        plays_kids=False,
        dated=date(2026, 10, 26),
        source="yt-dlp 2026.10.26",
    ),
    InnertubeClient(
        "ios",
        "IOS",
        "5",
        "21.26.4",
        "com.google.ios.youtube/21.26.4 (iPhone16,2; U; CPU iOS 18_3_2 like Mac OS X;)",
        (
            ("deviceMake", "Apple"),
            ("deviceModel", "iPhone16,2"),
            ("osName", "iPhone"),
            ("osVersion", "18.3.2.22D82"),
        ),
        plays_kids=True,
        dated=date(2026, 10, 26),
        source="yt-dlp 2026.10.26",
    ),
)


def player_context(client: InnertubeClient) -> dict[str, Any]:
    """`context` of a player request by a client."""
    named = {"clientName": client.name, "clientVersion": client.version, "userAgent": client.user_agent}
    return {"client": {**named, **dict(client.context), "hl": "en"}}


def client_of(way: str, clients: Iterable[InnertubeClient] = CLIENTS) -> InnertubeClient | None:
    """The client that a way asks as; None for `page` and `yt-dlp`, which bring their own."""
    return next((client for client in clients if client.way == way), None)


def newest(known: Mapping[str, Any], *, dated: date, source: str) -> tuple[InnertubeClient, ...]:
    """The table, with each row replaced by what `known` has for it if that is a newer version.

    `known` is of the shape of yt-dlp's INNERTUBE_CLIENTS. What cannot be read in it is passed over.
    """
    return tuple(_newer(client, known.get(client.way), dated, source) for client in CLIENTS)


def installed_clients() -> tuple[InnertubeClient, ...]:
    """The table as the installed yt-dlp renews it. The supervisor reads it once, for all workers."""
    known, version = installed_table()
    return newest(known, dated=release_date(version), source=f"yt-dlp {version}")


def installed_table() -> tuple[Mapping[str, Any], str]:
    """yt-dlp's own table of clients, as far as it is written out, and yt-dlp's version; ({}, "") without any.

    Its source is read instead of imported: importing yt-dlp takes a second and 40 MB.
    """
    try:
        root = Path(str(metadata.distribution("yt-dlp").locate_file("yt_dlp")))
        tree = ast.parse((root / "extractor" / "youtube" / "_base.py").read_bytes())
        version = metadata.version("yt-dlp")
    except (OSError, ValueError, SyntaxError, RecursionError, metadata.PackageNotFoundError):
        return {}, ""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INNERTUBE_CLIENTS":
            return _written_out(node.value), version
    return {}, version


def _written_out(node: ast.expr) -> Any:
    """The value of an expression, without those parts of a dictionary that are computed."""
    if not isinstance(node, ast.Dict):
        return ast.literal_eval(node)
    found = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is not None:  # None stands before what is unpacked into it
            with contextlib.suppress(ValueError, TypeError):
                found[ast.literal_eval(key)] = _written_out(value)
    return found


def _newer(client: InnertubeClient, row: object, dated: date, source: str) -> InnertubeClient:
    """The client as a row of yt-dlp's table describes it, if that is the same client in a newer version."""
    found = row.get("INNERTUBE_CONTEXT") if isinstance(row, Mapping) else None
    found = found.get("client") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or found.get("clientName") != client.name:
        return client
    version, agent = found.get("clientVersion"), found.get("userAgent")
    if not (_is_text(version) and _is_text(agent)) or _order(str(version)) <= _order(client.version):
        return client
    named = ("clientName", "clientVersion", "userAgent", "hl")
    context = tuple(
        (str(key), value)
        for key, value in found.items()
        if key not in named and (_is_text(value) or (isinstance(value, int) and not isinstance(value, bool)))
    )
    return replace(
        client, version=str(version), user_agent=str(agent), context=context, dated=dated, source=source
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _TEXT_MAX and value.isascii() and value.isprintable()


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _DIGITS.findall(version))


def release_date(version: str) -> date:
    """The date in a version of yt-dlp (`2026.10.26`); the oldest row's where it holds none."""
    parts = _DIGITS.findall(version)[:3]
    try:
        return date(*map(int, parts))
    except (ValueError, TypeError):
        return min(client.dated for client in CLIENTS)
