"""The `--rate` option: its notation, and one line that says what it means."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from engine.errors import UsageError

MAX_PER_S = 100_000.0
MIN_PER_S = 1.0 / 86_400.0

_PER = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNIT = "s(?:ec(?:ond)?)?|m(?:in(?:ute)?)?|h(?:our)?|d(?:ay)?"
_RATE = re.compile(rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?:/\s*({_UNIT}))?", re.IGNORECASE)
_MAX_CHARS = 40  # nobody means more, and a number of any length would take its time


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second and egress: a number (start and ceiling), `none` (no pacing) or `auto`.

    `per_s` is 0 unless `kind` is `fixed`.
    """

    kind: Literal["fixed", "none", "auto"]
    per_s: float = 0.0

    def __str__(self) -> str:
        return f"{_number(self.per_s)}/s" if self.kind == "fixed" else self.kind


def parse_rate(text: str) -> Rate:
    """Read `0.5`, `0.5/s`, `60/min`, `1000/hour`, `none` or `auto`; `/sec`, `/m`, `/h` and `/d` are units as well.

    Raises UsageError when it is something else or out of range.
    """
    word = text.strip().lower()
    if word == "none":
        return Rate("none")
    if word == "auto":
        return Rate("auto")
    found = _RATE.fullmatch(word) if len(word) <= _MAX_CHARS else None
    if not found:
        raise UsageError(
            f"--rate {text[:40]!r} is not a rate. Write requests per second and egress, such as 0.5, 30/s, "
            "60/m or 1000/h, or none (no pacing) or auto (find it out)."
        )
    per_s = float(found[1]) / _PER[(found[2] or "s")[0]]
    if not MIN_PER_S <= per_s <= MAX_PER_S:
        raise UsageError(
            f"--rate {text[:40]!r} is out of range: at least 1/d and at most {MAX_PER_S:.0f}/s. "
            "For no pacing write none."
        )
    return Rate("fixed", per_s)


def describe(rate: Rate, egresses: int, requests_per_video: float = 2, videos: int | None = None) -> str:
    """What the rate means, in one line for the start of a run."""
    where = f"{egresses} egress" if egresses == 1 else f"{egresses} egresses"
    if rate.kind == "none":
        return f"no pacing on {where}; a block still cools an egress down"
    if rate.kind == "auto":
        return (
            f"the rate is found out on {where}: it starts low and doubles each minute until the first block"
        )
    per_hour = rate.per_s * egresses * 3600 / requests_per_video
    each = f"{_number(requests_per_video)} requests a video"
    text = f"{rate} on {where} at {each} is {_count(per_hour)} videos an hour"
    if videos:
        text += f"; {_count(videos)} take{'s' if videos == 1 else ''} {_duration(videos / per_hour * 3600)}"
    return text


def _number(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def _count(value: float) -> str:
    return f"{value:.2g}" if value < 10 and value != int(value) else f"{round(value):,}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 72 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} days"
