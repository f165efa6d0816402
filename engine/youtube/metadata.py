"""Metadata from a player answer, and more of it by one more request: dates, category, likes and countries.

Types are checked, and what is missing is None. The answer to the ANDROID client, which gives captions, has no
microformat (0 of 17 captured in 2026). The one to the WEB client has; it takes a few kilobytes when nothing else is
asked for. NewPipe asks the live site like this. The date in a microformat is read from whichever answer has one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.errors import EngineError, Interrupted
from engine.model import ABSENT_KINDS, Chapter, Failure, Kind, Metadata
from engine.network.answer import FailureError
from engine.network.attempt import Attempt
from engine.youtube import player
from engine.youtube.chapters import listed_chapters, marked_chapters
from engine.youtube.classify import by_status, classify
from engine.youtube.messages import clean

_MAX_COUNT = 1 << 62
# Far beyond YouTube's own limits: 100 characters, 5,000, and 500 for all keywords together.
_MAX_NAME_CHARS, _MAX_DESCRIPTION_CHARS, _MAX_KEYWORDS, _MAX_KEYWORD_CHARS = 10_000, 100_000, 1_000, 1_000
_MAX_PICTURES, _MAX_URL_CHARS = 50, 2_000
_PAGE_DATE = re.compile(rb'<meta itemprop="datePublished" content="([^"]{1,40})"')
_NEXT = "https://www.youtube.com/youtubei/v1/next"
_FIELDS = "microformat,playabilityStatus"  # the latter says why there is no microformat
_VERSION = "2.20260708.00.00"  # as in yt-dlp 2026.10.26; YouTube accepts versions that are years old
_HEADERS = {
    "Origin": "https://www.youtube.com",
    "X-YouTube-Client-Name": "1",
    "X-YouTube-Client-Version": _VERSION,
}


def read_metadata(details: Any, answer: Mapping[str, Any] | None = None) -> Metadata:
    """Metadata from `videoDetails` as sent to the ANDROID client, where counts are decimal text.

    `answer` is the player answer that they are of: its microformat, if it has one, tells the date.
    """
    if not isinstance(details, Mapping):
        return Metadata()
    keywords = details.get("keywords")
    duration_s = _count(details.get("lengthSeconds"))
    description = _text(details.get("shortDescription"), _MAX_DESCRIPTION_CHARS)
    microformat = player.at(answer, "microformat", "playerMicroformatRenderer")
    return Metadata(
        title=_text(details.get("title"), _MAX_NAME_CHARS),
        channel=_text(details.get("author"), _MAX_NAME_CHARS),
        channel_id=_text(details.get("channelId"), _MAX_NAME_CHARS),
        duration_s=duration_s,
        view_count=_count(details.get("viewCount")),
        keywords=_texts(keywords) if isinstance(keywords, list) else (),
        description=description,
        is_live=_is_live(details),
        published=_date(microformat.get("publishDate")),
        thumbnail=_largest(player.at(details, "thumbnail").get("thumbnails")),
        chapters=listed_chapters(description, duration_s),
    )


def page_date(page: bytes) -> str | None:
    """The date of publication in a watch page (`<meta itemprop="datePublished" content="…">`)."""
    found = _PAGE_DATE.search(page)
    return _date(found[1].decode("ascii", "replace")) if found else None


def with_microformat(metadata: Metadata, microformat: Mapping[str, Any]) -> Metadata:
    """Metadata with what a `playerMicroformatRenderer` adds."""
    countries = microformat.get("availableCountries")
    live = player.at(microformat, "liveBroadcastDetails").get("isLiveNow")
    published = _date(microformat.get("publishDate"))
    return replace(
        metadata,
        is_live=live if isinstance(live, bool) else metadata.is_live,
        publish_date=published,
        published=published or metadata.published,
        upload_date=_date(microformat.get("uploadDate")),
        category=_text(microformat.get("category"), _MAX_NAME_CHARS),
        like_count=_count(microformat.get("likeCount")),
        available_countries=_texts(countries) if isinstance(countries, list) else None,
    )


def fetch_microformat(attempt: Attempt, video_id: str) -> Mapping[str, Any]:
    """The `playerMicroformatRenderer` of a video: one request.

    Raises FailureError, what `requests` raises, and ValueError for an answer that is no JSON.
    """
    response = attempt.request(
        "POST",
        f"{player.URL}?prettyPrint=false&$fields={_FIELDS}",
        json=_web(video_id),
        headers=_HEADERS,
    )
    if response.status_code != 200:
        raise FailureError(by_status(attempt.answer))
    return read_microformat(response.json(), video_id)


def fetch_chapters(attempt: Attempt, video_id: str) -> tuple[Chapter, ...]:
    """The chapters that YouTube marks on a video: one request.

    Raises FailureError for a block and for what another attempt may get. An answer of no use means none.
    """
    response = attempt.request(
        "POST", f"{_NEXT}?prettyPrint=false&$fields=playerOverlays", json=_web(video_id), headers=_HEADERS
    )
    if response.status_code == 429 or response.status_code >= 500 or attempt.answer.captcha:
        raise FailureError(by_status(attempt.answer))
    try:
        return marked_chapters(response.json()) if response.status_code == 200 else ()
    except (ValueError, RecursionError):
        return ()


def fetch_full(attempt: Attempt, video_id: str, metadata: Metadata) -> Metadata:
    """Full metadata: one request, and another for chapters that the description does not list.

    Any failure fails the attempt: a record without it would look complete. A final refusal by the WEB client does not
    end the job, because the video's captions were read: it is `garbled`.
    """
    try:
        found = with_microformat(metadata, fetch_microformat(attempt, video_id))
        return found if found.chapters else replace(found, chapters=fetch_chapters(attempt, video_id))
    except (Interrupted, EngineError):
        raise
    except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
        failure = classify(exc, attempt.answer)
    final = failure.kind in ABSENT_KINDS or failure.kind is Kind.NOT_YET
    kind = Kind.GARBLED if final else failure.kind
    raise FailureError(replace(failure, kind=kind, message=clean(f"full metadata: {failure.message}")))


def _web(video_id: str) -> dict[str, Any]:
    """The body of a request as the WEB client."""
    return {
        "context": {"client": {"clientName": "WEB", "clientVersion": _VERSION, "hl": "en"}},
        "videoId": video_id,
        "contentCheckOk": True,
        "racyCheckOk": True,
    }


def read_microformat(answer: Any, video_id: str) -> Mapping[str, Any]:
    """The renderer in a WEB player answer. Raises FailureError if there is none, or it is another video's.

    The playability does not matter: WEB describes many videos that it refuses to play.
    """
    if not isinstance(answer, Mapping):
        raise FailureError(Failure(Kind.GARBLED, "the answer is not an object"))
    found = player.at(answer, "microformat", "playerMicroformatRenderer")
    if not found:
        refused = player.refusal(answer["playabilityStatus"]) if "playabilityStatus" in answer else None
        raise FailureError(refused or Failure(Kind.GARBLED, "the answer holds no microformat"))
    if found.get("externalVideoId") not in (None, video_id):
        raise FailureError(Failure(Kind.GARBLED, "the answer is about another video"))
    return found


def _is_live(details: Mapping[str, Any]) -> bool | None:
    """Whether the video is live now, None if unknown. `isLiveContent` stays true for the recording, for ever."""
    now = details.get("isLive")
    if isinstance(now, bool):
        return now
    return False if isinstance(details.get("isLiveContent"), bool) else None


def _largest(pictures: Any) -> str | None:
    """The address of the widest picture."""
    found = [
        (_count(picture.get("width")) or 0, url)
        for picture in player.items(pictures)[:_MAX_PICTURES]
        if isinstance(url := picture.get("url"), str)
        and url.startswith("https://")
        and url.isascii()
        and url.isprintable()
        and len(url) <= _MAX_URL_CHARS
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _date(value: Any) -> str | None:
    """A date, or a time with its offset, as written: a date alone would lose the time zone."""
    if isinstance(value, str) and value.isascii() and len(value) <= 40:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return None
        return value
    return None


def _texts(values: list[Any]) -> tuple[str, ...]:
    found = (_text(value, _MAX_KEYWORD_CHARS) for value in values[:_MAX_KEYWORDS])
    return tuple(text for text in found if text)


def _text(value: Any, max_chars: int) -> str | None:
    """Text, cut, that encodes as UTF-8: JSON can contain half a surrogate pair, a file cannot."""
    return value[:max_chars].encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < _MAX_COUNT else None
