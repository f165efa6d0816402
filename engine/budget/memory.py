"""What the last nights of this machine learnt of each egress's limit: a small file beside the user's settings.

It is for `engine plan` and the first line of a run, which say what a night will bring. The controller does not read
it: each run finds its limit out. A file that cannot be read is none. One that cannot be written, or that another
program wrote, stays as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from engine.budget.learnt import UNKNOWN
from engine.budget.limit_kinds import HOURLY, RATE, window_s
from engine.budget.snapshot import remembered
from engine.budget.state import EgressState, egress_key
from engine.errors import EngineError
from engine.model import EgressSpec
from engine.storage import disk
from engine.units import duration

FILE = "rates.json"
MAX_EGRESSES, KEPT_S = 4096, 90 * 86_400.0
MAX_BYTES = 1 << 20
NIGHT_H = 10.0


class Limit(NamedTuple):
    """What is known of an egress: requests per second that were safe, in how many seconds a burst of it refills (0:
    it is a plain rate), how long its last block took, when it was seen (wall clock)."""

    per_s: float
    refill_s: float
    block_s: float
    seen_at: float

    def __str__(self) -> str:
        """As people say it: `1,000 an hour` or `0.31/s`."""
        if self.refill_s >= 600:
            return f"{self.per_s * 3600:,.0f} requests an hour"
        return f"{self.per_s:.2g} requests a second"


def limit_of(state: EgressState, wall: float) -> Limit | None:
    """What an egress's record says of its limit; None before a block has told."""
    learnt = state.learnt
    if learnt.kind == UNKNOWN or state.top <= 0:
        return None
    refill_s = 0.0 if learnt.kind == RATE else 3600.0 if learnt.kind == HOURLY else window_s(learnt.kind)
    return Limit(state.base or state.top, refill_s, learnt.block_s, wall)


def remember(path: str, budget: str, wall: float) -> None:
    """Keep what the run that used this budget file learnt. A file of that name that is not ours stays as it is."""
    if os.path.lexists(path) and not _is_ours(path):
        return
    limits = _read(path)
    for state in remembered(budget):
        limit = limit_of(state, wall)
        if limit is not None:
            limits[f"{state.key:x}"] = limit
    kept = sorted(limits.items(), key=lambda item: -item[1].seen_at)[:MAX_EGRESSES]
    kept = [(key, limit) for key, limit in kept if 0 <= wall - limit.seen_at <= KEPT_S]
    if not kept:
        return
    value = {"schema_version": 1, "egresses": {key: limit._asdict() for key, limit in kept}}
    with contextlib.suppress(OSError, EngineError):
        disk.ensure_dirs(os.path.dirname(path))
        disk.publish(path, json.dumps(value, indent=1).encode() + b"\n")


def recall(path: str, egresses: Iterable[EgressSpec]) -> list[Limit]:
    """What is known of these egresses' limits; of those that are not known, nothing."""
    limits = _read(path)
    found = (limits.get(f"{egress_key(spec):x}") for spec in egresses)
    return [limit for limit in found if limit is not None]


def outlook(limits: Sequence[Limit], egresses: int, requests_per_video: float, videos: int | None) -> str:
    """What the last nights mean for so many videos, in one sentence."""
    limit = sorted(limits)[len(limits) // 2]
    text = f"the last nights here learnt about {limit}"
    if egresses > 1:
        text += f" and egress, as of {len(limits)} of {egresses}"
    if limit.block_s >= 1:
        text += f", blocks of {duration(limit.block_s)}"
    if videos:
        video_h = videos * requests_per_video / limit.per_s / 3600
        here = f"{egresses:,} egresses" if egresses > 1 else "this address"
        text += f"; {videos:,} videos take about {duration(video_h / egresses * 3600)} on {here}"
        if video_h / egresses > NIGHT_H:
            text += f", a night of {NIGHT_H:.0f} h on {-int(-video_h // NIGHT_H):,} addresses"
    return text


def _is_ours(path: str) -> bool:
    with contextlib.suppress(OSError, ValueError, RecursionError, EngineError):
        value: Any = json.loads(disk.read_small(path, MAX_BYTES) or b"")
        return isinstance(value, dict) and {"schema_version", "egresses"} <= value.keys()
    return False


def _read(path: str) -> dict[str, Limit]:
    """What the file says; nothing of what cannot be."""
    found: dict[str, Limit] = {}
    with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError, TypeError, EngineError):
        value: Any = json.loads(disk.read_small(path, MAX_BYTES) or b"{}")
        for key, each in value.get("egresses", {}).items():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                limit = Limit(*(float(each[name]) for name in Limit._fields))
                if 0 < limit.per_s < 1e6 and all(0 <= x < 1e12 for x in limit):
                    found[key] = limit
    return found
