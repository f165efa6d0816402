"""Made-up channels, playlists and searches, in the shapes of the site's web answers.

`@made-up-5000`, also `UCmade-up000000000005000`, is a channel of 5,000 videos, newest first: every tenth is a
short, every fiftieth a stream. Its uploads are the playlist `UUmade-up000000000005000`. `PLmade-up-5000` is another
playlist of 5,000. A search finds as many videos as its last word says, else 200. All videos are those of
`invented_ids`, so channels of such names share them; `@zoo-made-up-5000` and `PLzoo-made-up-5000` have videos
of their own, whatever stands for `zoo`. The first of a list is hours old, the next a day, and so on; shorts have no
date. Shapes are those that the tab extractor of yt-dlp 2026.10.26 reads; pages are as long as the site's.
"""

from __future__ import annotations

import functools
import json
import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import islice
from typing import Any, NamedTuple

from engine.rehearsal.generated_videos import invented_ids

PAGE_VIDEOS = {"videos": 30, "shorts": 48, "streams": 30, "playlist": 100, "search": 20}
SEARCH_RESULTS = 200
MAX_VIDEOS = 1_000_000
_URL = re.compile(
    r"https://www\.youtube\.com/(?:channel/)?(?P<name>[^/?]+)(?:/(?P<tab>\w+)|\?list=(?P<list>[\w-]+))?"
)
_NAMED = r"(?:(?P<own>[\w.-]{1,20})-)?made-up-(?P<count>\d{1,7})"
_CHANNEL = re.compile(rf"@{_NAMED}|UCmade-up(?P<id>\d{{15}})")
_PLAYLIST = re.compile(rf"PL{_NAMED}|UUmade-up(?P<id>\d{{15}})")
_COUNTS = 10_000_000  # in the 15 digits of an id: below whose own its videos are, and from there on how many
_OWNS = 100_000_000
_APART = 1_000_000  # from any --seed that people type
_PARAMS = {
    "videos": "EgZ2aWRlb3PyBgQKAjoA",
    "shorts": "EgZzaG9ydHPyBgUKA5oBAA==",
    "streams": "EgdzdHJlYW1z8gYECgJ6AA==",
}
_CONTEXT = {"responseContext": {"visitorData": "rehearsal"}}


class _Listing(NamedTuple):
    """One list of videos. `tab` also decides the shape of its pages. `own`: the number of its name, or 0."""

    videos: int
    tab: str
    own: int = 0


def resolve(url: str) -> dict[str, Any] | None:
    """What a URL resolves to; None when it does not exist."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    if match["list"]:
        return {**_CONTEXT, "endpoint": {"browseEndpoint": {"browseId": f"VL{match['list']}"}}}
    channel_id = match["name"]  # whether an id exists, the site only says in its next answer
    if not channel_id.startswith("UC"):
        found = _read_name(_CHANNEL, channel_id)
        if found is None:
            return None
        channel_id = f"UCmade-up{found.own * _COUNTS + found.videos:015d}"
    endpoint = {"browseId": channel_id, "params": _PARAMS.get(match["tab"] or "", "")}
    return {**_CONTEXT, "endpoint": {"browseEndpoint": endpoint}}


def browse(body: dict[str, Any], seed: int, uploads: int) -> dict[str, Any]:
    """A page of a channel or playlist, for the body of a request. `uploads` videos are added to each."""
    if "continuation" in body:
        listing, at = _read_token(str(body["continuation"]))
        key, page = ("onResponseReceivedActions", _items(listing, at, seed, uploads))
        return {**_CONTEXT, key: [{"appendContinuationItemsAction": {"continuationItems": page}}]}
    browse_id = str(body.get("browseId"))
    if browse_id.startswith("VL"):
        listed = _read_name(_PLAYLIST, browse_id[2:])
        if listed is None:
            return _alert("The playlist does not exist.")
        return _playlist(listed, browse_id[2:], seed, uploads)
    channel = _read_name(_CHANNEL, browse_id)
    if channel is None:
        return _alert("This channel does not exist.")
    tab = next((tab for tab, params in _PARAMS.items() if params == body.get("params")), "featured")
    return _channel(channel._replace(tab=tab), browse_id, seed, uploads)


def search(body: dict[str, Any], seed: int) -> dict[str, Any]:
    """A page of results."""
    if "continuation" in body:
        listing, at = _read_token(str(body["continuation"]))
        items = _items(listing, at, seed, 0)
        return {
            **_CONTEXT,
            "onResponseReceivedCommands": [{"appendContinuationItemsAction": {"continuationItems": items}}],
        }
    last = str(body.get("query", "")).split()[-1:]
    count = int(last[0]) if last and last[0].isascii() and last[0].isdigit() else SEARCH_RESULTS
    items = _items(_Listing(min(count, MAX_VIDEOS), "search"), 0, seed, 0)
    contents = {"primaryContents": {"sectionListRenderer": {"contents": items}}}
    return {**_CONTEXT, "contents": {"twoColumnSearchResultsRenderer": contents}}


@functools.lru_cache(maxsize=32)
def ids(listing: _Listing, seed: int, uploads: int) -> tuple[str, ...]:
    """The videos of a list, newest first."""
    count = listing.videos + uploads
    every = tuple(islice(invented_ids(count, seed + listing.own), count))[::-1]
    oldest = len(every) - 1
    if listing.tab in ("playlist", "search"):
        return every
    return tuple(name for at, name in enumerate(every) if _tab(oldest - at) == listing.tab)


def _tab(number: int) -> str:
    """The tab of a video by its number, 0 the oldest, so that it stays there when videos are added."""
    return "shorts" if number % 10 == 5 else "streams" if number % 50 == 7 else "videos"


def _read_name(pattern: re.Pattern[str], name: str) -> _Listing | None:
    """The list of this name or id; None when there is none."""
    match = pattern.fullmatch(name)
    if match is None:
        return None
    own, count = divmod(int(match["id"] or match["count"]), _COUNTS)
    if match["own"]:
        own = zlib.crc32(match["own"].lower().encode()) % (_OWNS - _APART) + _APART
    return _Listing(count, "playlist", own) if count <= MAX_VIDEOS else None


def _token(listing: _Listing, at: int) -> str:
    return urlsafe_b64encode(json.dumps([listing.videos, listing.tab, at, listing.own]).encode()).decode()


def _read_token(token: str) -> tuple[_Listing, int]:
    try:
        videos, tab, at, *own = json.loads(urlsafe_b64decode(token))  # earlier ones have no `own`
        return _Listing(int(videos), str(tab), int(own[0]) if own else 0), int(at)
    except (ValueError, TypeError):
        raise ValueError("not a continuation token of this server") from None


def _items(listing: _Listing, at: int, seed: int, uploads: int) -> list[dict[str, Any]]:
    """A page from the video `at` on, with the token of the next page."""
    every = ids(listing, seed, uploads)
    size = PAGE_VIDEOS[listing.tab]
    items = [_item(listing.tab, video_id, days) for days, video_id in enumerate(every[at : at + size], at)]
    if listing.tab == "search":
        items = [{"itemSectionRenderer": {"contents": items}}]
    if at + size < len(every):
        command = {
            "continuationCommand": {
                "token": _token(listing, at + size),
                "request": "CONTINUATION_REQUEST_TYPE_BROWSE",
            }
        }
        items.append({"continuationItemRenderer": {"continuationEndpoint": command}})
    return items


def age(days: int) -> str:
    """How old a video is, as the site says it: `3 weeks ago`."""
    for length, unit in ((365, "year"), (30, "month"), (7, "week"), (1, "day")):
        if days >= length:
            count = days // length
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "5 hours ago"


def _item(tab: str, video_id: str, days: int) -> dict[str, Any]:
    title = {"runs": [{"text": f"Made up {video_id}"}]}
    if tab == "playlist":
        info = {"runs": [{"text": "5K views"}, {"text": " • "}, {"text": age(days)}]}
        more = {"lengthSeconds": "1200", "videoInfo": info}
        return {"playlistVideoRenderer": {"videoId": video_id, "title": title, **more}}
    if tab == "search":
        return {"videoRenderer": {"videoId": video_id, "title": title}}
    if tab == "shorts":
        command = {"innertubeCommand": {"reelWatchEndpoint": {"videoId": video_id}}}
        content = {"shortsLockupViewModel": {"entityId": f"shorts-shelf-item-{video_id}", "onTap": command}}
    else:
        parts = [{"text": {"content": text}, "accessibilityLabel": text} for text in ("5K views", age(days))]
        about = {"contentMetadataViewModel": {"metadataRows": [{"metadataParts": parts}]}}
        lockup = {"contentId": video_id, "contentType": "LOCKUP_CONTENT_TYPE_VIDEO"}
        content = {
            "lockupViewModel": {**lockup, "metadata": {"lockupMetadataViewModel": {"metadata": about}}}
        }
    return {"richItemRenderer": {"content": content}}


def _channel(listing: _Listing, channel_id: str, seed: int, uploads: int) -> dict[str, Any]:
    """A channel's page with one tab open: the requested one if it exists, else the front page."""
    tabs = [tab for tab in _PARAMS if ids(listing._replace(tab=tab), seed, uploads)]
    chosen = listing.tab if listing.tab in tabs else "featured"
    shown = []
    for tab in ("featured", *tabs):
        url = f"/@made-up-{listing.videos}/{tab}"
        one: dict[str, Any] = {
            "endpoint": {"commandMetadata": {"webCommandMetadata": {"url": url}}},
            "title": {"featured": "Home", "streams": "Live"}.get(tab, tab.capitalize()),
        }
        if tab == chosen:
            items = _items(listing, 0, seed, uploads) if tab != "featured" else []
            one.update(selected=True, content={"richGridRenderer": {"contents": items}})
        shown.append({"tabRenderer": one})
    about = {"title": f"Made up {listing.videos}", "externalId": channel_id}
    return {
        **_CONTEXT,
        "contents": {"twoColumnBrowseResultsRenderer": {"tabs": shown}},
        "metadata": {"channelMetadataRenderer": about},
    }


def _playlist(listing: _Listing, name: str, seed: int, uploads: int) -> dict[str, Any]:
    videos = {
        "playlistVideoListRenderer": {"contents": _items(listing, 0, seed, uploads), "playlistId": name}
    }
    sections = {"sectionListRenderer": {"contents": [{"itemSectionRenderer": {"contents": [videos]}}]}}
    return {
        **_CONTEXT,
        "contents": {
            "twoColumnBrowseResultsRenderer": {
                "tabs": [{"tabRenderer": {"selected": True, "content": sections}}]
            }
        },
        "metadata": {"playlistMetadataRenderer": {"title": name}},
    }


def _alert(text: str) -> dict[str, Any]:
    """An error as the site reports it, in an answer with status 200."""
    return {**_CONTEXT, "alerts": [{"alertRenderer": {"type": "ERROR", "text": {"runs": [{"text": text}]}}}]}
