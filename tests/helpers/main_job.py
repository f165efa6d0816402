"""The main job undisturbed: done once for a size, for all tests that compare with it."""

from __future__ import annotations

import collections
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import LATENCY_S, Batch, Ended, videos, watching
from nights import DISK
from patience import crowd
from warm import start

from engine.rehearsal import RehearsalSettings

SEED = 20
ABSENT, FLAKY = "absent=0.03", "flaky=0.05"
SETTINGS = RehearsalSettings(latency_s=LATENCY_S, seed=SEED, scenarios=(ABSENT, FLAKY))
OPTIONS = (
    "-p",
    "2",
    "--deadline",
    f"{min(60.0, 3 * crowd()):g}",
)  # hanging and trickling answers cost one each


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed, and what the stand-in saw of it."""

    batch: Batch
    ended: Ended
    rows: dict[str, dict[str, Any]]
    requests: dict[str, int]  # by video
    played: dict[str, int]
    status_s: float  # the median time of an `engine status`
    room: tempfile.TemporaryDirectory[str]  # goes when this goes, at the end of the session


@functools.cache
def undisturbed(count: int, pause_s: float) -> Undisturbed:
    """`count` jobs with 3 % permanent and 5 % passing faults."""
    room = tempfile.TemporaryDirectory(prefix="engine-main-", dir=DISK)
    with start(SETTINGS) as site:
        batch = Batch(Path(room.name), site, videos(count, SEED))
        with watching(batch, pause_s) as onlooker:
            ended = batch.run(*OPTIONS, timeout_s=60 + count / 10)
        arrivals, played = site.arrivals(), site.stats()["scenes_played"]
    status_s = onlooker.check(at_least=5)
    requests = collections.Counter(arrival["video_id"] for arrival in arrivals)
    return Undisturbed(batch, ended, batch.rows(), dict(requests), played, status_s, room)
