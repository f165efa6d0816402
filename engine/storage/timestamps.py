"""Wall-clock times as the files write them."""

from __future__ import annotations

from datetime import UTC, datetime

UTC_FORMAT = "%Y-%m-%dT%H:%M:%SZ"  # RFC 3339 to the second, for `time.strftime`


def utc(at: float | None = None, *, ms: bool = False) -> str:
    """A time (default: now) in UTC as RFC 3339 with `Z`, to the second or the millisecond."""
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds" if ms else "seconds").replace("+00:00", "Z")


def seconds(text: object) -> float | None:
    """The seconds since 1970 of such a text; None for anything else. Never raises."""
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None
