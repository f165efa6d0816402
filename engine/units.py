"""Amounts as people write and read them: bytes, times, prices."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime

from engine.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([KMGT]?)B?", re.IGNORECASE)
_DURATION = re.compile(
    r"(?:([0-9]+(?:\.[0-9]+)?)d)?(?:([0-9]+(?:\.[0-9]+)?)h)?"
    r"(?:([0-9]+(?:\.[0-9]+)?)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?",
    re.IGNORECASE,
)
_SECONDS = (86_400.0, 3600.0, 60.0, 1.0)
_PRICE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?:/\s*([MGT]B))?", re.IGNORECASE)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}")
_MAX_DIGITS = 40  # longer texts are refused, because parsing any length takes time


def parse_bytes(text: str, option: str) -> int:
    """Bytes from `500M`, `50G`, `1.5T`, `50GB` or `123456`; decimal, as traffic is sold.

    Raises UsageError naming the option.
    """
    found = _BYTES.fullmatch(text.strip()) if len(text) <= _MAX_DIGITS else None
    if not found:
        raise UsageError(f"{option} {text[:40]!r} is not a size: write it as 500M, 50G or 1.5T")
    size = round(float(found[1]) * _UNITS[found[2].upper()])
    if size < 1:
        raise UsageError(f"{option} {text[:40]!r} is nothing at all: write a size above 0, as 500M")
    return size


def parse_duration_s(text: str, option: str) -> float:
    """Seconds from `90s`, `30m`, `8h`, `8h30m`, `1d`. A bare number is refused, because its unit is unclear.

    Raises UsageError naming the option.
    """
    stripped = text.strip()
    found = _DURATION.fullmatch(stripped) if stripped and len(stripped) <= _MAX_DIGITS else None
    if not found:
        raise UsageError(f"{option} {text[:40]!r} is not a time: write it as 90s, 30m, 8h or 8h30m")
    total_s = sum(float(part) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True) if part)
    if not 0 < total_s < math.inf:
        raise UsageError(f"{option} {text[:40]!r} is no time at all: write one above 0, as 30m")
    return total_s


def parse_price_per_gb(text: str, option: str) -> float:
    """A price per GB (10**9 bytes) from `4/GB`, `0.004/MB` or `4`, in any currency.

    Raises UsageError naming the option.
    """
    found = _PRICE.fullmatch(text.strip()) if len(text) <= _MAX_DIGITS else None
    if not found:
        raise UsageError(f"{option} {text[:40]!r} is not a price: write it as 4/GB, without a currency")
    return float(found[1]) * {"M": 1e3, "G": 1.0, "T": 1e-3}[(found[2] or "GB")[0].upper()]


def checked_day(text: str) -> str:
    """A day (UTC) as `2026-01-31`, from that or from `20260131`.

    Raises ValueError for what is no day, or is in the future.
    """
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError("this is no day: write it as 2026-01-31")
    if day > datetime.now(UTC).date():
        raise ValueError("this day is in the future")
    return day.isoformat()


def duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `7 min`, `22 h 13 min`, `4 d 2 h`."""
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(n: int) -> str:
    """Bytes for people, in decimal units."""
    value, unit = float(n), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
