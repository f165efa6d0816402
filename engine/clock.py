"""Wall-clock times as the files write them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(at: float | None = None, *, ms: bool = False) -> str:
    """A time (default: now) in UTC as RFC 3339 with `Z`, to the second or the millisecond."""
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds" if ms else "seconds").replace("+00:00", "Z")
