"""Parts of player answers as metadata: types checked, what is missing is None, nothing raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.model import Metadata

_MAX_COUNT = 1 << 62


def read_metadata(details: Any) -> Metadata:
    """Metadata from `videoDetails` as sent to the ANDROID client (counts come as decimal text)."""
    if not isinstance(details, Mapping):
        return Metadata()
    keywords = details.get("keywords")
    live = details.get("isLiveContent")
    return Metadata(
        title=_text(details.get("title")),
        channel=_text(details.get("author")),
        channel_id=_text(details.get("channelId")),
        duration_s=_count(details.get("lengthSeconds")),
        view_count=_count(details.get("viewCount")),
        keywords=tuple(k for k in map(_text, keywords) if k) if isinstance(keywords, list) else (),
        description=_text(details.get("shortDescription")),
        is_live=live if isinstance(live, bool) else None,
    )


def with_microformat(metadata: Metadata, microformat: Mapping[str, Any]) -> Metadata:
    """Metadata with what a `playerMicroformatRenderer` adds."""
    countries = microformat.get("availableCountries")
    return replace(
        metadata,
        publish_date=_date(microformat.get("publishDate")),
        upload_date=_date(microformat.get("uploadDate")),
        category=_text(microformat.get("category")),
        like_count=_count(microformat.get("likeCount")),
        available_countries=tuple(c for c in map(_text, countries) if c)
        if isinstance(countries, list)
        else None,
    )


def _date(value: Any) -> str | None:
    """A date, or a time with its offset, as it is written: without an offset nobody knows the day elsewhere."""
    if isinstance(value, str) and value.isascii():
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return None
        return value
    return None


def _text(value: Any) -> str | None:
    """Text that encodes as UTF-8: JSON can carry half a surrogate pair, a file cannot."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < _MAX_COUNT else None
