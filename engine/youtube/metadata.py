"""Parts of player answers as metadata: types checked, what is missing is None, nothing raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.model import Metadata
from engine.youtube.live import is_live

_MAX_COUNT = 1 << 62
# Far beyond what YouTube takes: 100 characters, 5,000, and 500 for all keywords together.
_MAX_NAME_CHARS, _MAX_DESCRIPTION_CHARS, _MAX_KEYWORDS, _MAX_KEYWORD_CHARS = 10_000, 100_000, 1_000, 1_000


def read_metadata(details: Any) -> Metadata:
    """Metadata from `videoDetails` as sent to the ANDROID client (counts come as decimal text)."""
    if not isinstance(details, Mapping):
        return Metadata()
    keywords = details.get("keywords")
    return Metadata(
        title=_text(details.get("title"), _MAX_NAME_CHARS),
        channel=_text(details.get("author"), _MAX_NAME_CHARS),
        channel_id=_text(details.get("channelId"), _MAX_NAME_CHARS),
        duration_s=_count(details.get("lengthSeconds")),
        view_count=_count(details.get("viewCount")),
        keywords=_texts(keywords) if isinstance(keywords, list) else (),
        description=_text(details.get("shortDescription"), _MAX_DESCRIPTION_CHARS),
        is_live=is_live(details),
    )


def with_microformat(metadata: Metadata, microformat: Mapping[str, Any]) -> Metadata:
    """Metadata with what a `playerMicroformatRenderer` adds."""
    countries = microformat.get("availableCountries")
    broadcast = microformat.get("liveBroadcastDetails")
    live = broadcast.get("isLiveNow") if isinstance(broadcast, Mapping) else None
    return replace(
        metadata,
        is_live=live if isinstance(live, bool) else metadata.is_live,
        publish_date=_date(microformat.get("publishDate")),
        upload_date=_date(microformat.get("uploadDate")),
        category=_text(microformat.get("category"), _MAX_NAME_CHARS),
        like_count=_count(microformat.get("likeCount")),
        available_countries=_texts(countries) if isinstance(countries, list) else None,
    )


def _date(value: Any) -> str | None:
    """A date, or a time with its offset, as it is written: without an offset nobody knows the day elsewhere."""
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
    """Text, cut, that encodes as UTF-8: JSON can carry half a surrogate pair, a file cannot."""
    return value[:max_chars].encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < _MAX_COUNT else None
