"""A held `no_captions` in a journal: what the next lap needs to go on holding it instead of fetching it again.

The answer is known; what it lacks is that something speaks for it, and a lap's end takes nothing from the answer.
So its `try` line carries it, under `held`, as long as the run lasts that met it: what the processes of a run know
of captions (`engine.worker.witness`) goes on over laps, and ends with the run. Another run fetches the video again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.model import Failure, Kind, Metadata, Refused, RequestCost

_TEXTS = ("title", "channel", "channel_id")


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that is held on. `at` is when it was met, on the monotonic clock; `looked`: its video was let wait
    because no other had captions, so that a fresh look at some of these decides."""

    got: Refused
    egress: int
    at: float
    elapsed_s: float
    looked: bool = False


def note(run: str, got: Refused, at: float, elapsed_s: float) -> dict[str, Any]:
    """What goes into the `try` line, under `held`."""
    about = got.metadata or Metadata()
    return {
        "run": run,
        "at": at,
        "elapsed_s": round(elapsed_s, 3),
        "title": about.title,
        "channel": about.channel,
        "channel_id": about.channel_id,
        "duration_s": about.duration_s,
    }


def read(line: dict[str, Any] | None, run: str, names: Sequence[str], now: float) -> Kept | None:
    """The answer in a job's last `try` line; None when it holds none, one of another run, or nonsense.

    Its cost is nothing: the line has counted it.
    """
    held = line.get("held") if line is not None else None
    if line is None or not isinstance(held, dict) or not run or held.get("run") != run:
        return None
    at, elapsed_s = _number(held.get("at")), _number(held.get("elapsed_s"))
    name, message = line.get("egress"), line.get("message")
    if at is None or elapsed_s is None or at > now or name not in names or not isinstance(message, str):
        return None
    texts = {key: held[key] for key in _TEXTS if isinstance(held.get(key), str)}
    duration_s = held.get("duration_s")
    whole = isinstance(duration_s, int) and not isinstance(duration_s, bool)
    metadata = Metadata(**texts, duration_s=duration_s if whole else None)
    got = Refused(Failure(Kind.NO_CAPTIONS, message), RequestCost(), metadata)
    return Kept(got, names.index(name), at, elapsed_s, line.get("doubted") is True)


def _number(value: object) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return float(value) if good else None  # type: ignore[arg-type]
