"""A fetch that asks nobody: for what the queue itself costs, and how threads are used.

The rows and files are real, the answers are not. CANNED_S is the mean of lognormal waits (0: none), and 1 % of the
fetches take thirty times that; CANNED_FIRST a file that gets the monotonic time of the first fetch. With CANNED_CUES
the transcript has so many captions (300 make 28 KB), with words of its own.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.model import Fetched

SIGMA, LONG_SHARE, LONG = 1.0, 0.01, 30.0
_mean_s = float(os.environ.get("CANNED_S", "0"))
_first = os.environ.get("CANNED_FIRST")
_cues = int(os.environ.get("CANNED_CUES", "0"))
_lists = [
    ["".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(2000)]
    for dice in map(random.Random, range(64))
]


def wait_s(video_id: str, mean_s: float) -> float:
    """How long a video's fetch takes: a function of its id."""
    dice = random.Random(video_id)
    if dice.random() < LONG_SHARE:
        return mean_s * LONG
    return mean_s * dice.lognormvariate(-SIGMA * SIGMA / 2, SIGMA)


def fetch(self: Any, video_id: str, permit: Any, **_: Any) -> Fetched:
    """In place of Fetcher.fetch: a record of 1 KB, or as CANNED_CUES says."""
    from engine.model import Cue, Fetched, Metadata, RequestCost, Transcript

    if _first:
        with contextlib.suppress(FileExistsError), open(_first, "x") as file:
            file.write(str(time.monotonic()))
    if _mean_s:
        time.sleep(wait_s(video_id, _mean_s))
    if _cues:
        dice = random.Random(video_id)
        words = dice.choice(_lists)
        said = dice.choices(words, k=7 * _cues)
        times = [round(n * 2.5 + dice.random(), 3) for n in range(_cues)]
        cues = tuple(Cue(at, 2.4, " ".join(said[7 * n : 7 * n + 7])) for n, at in enumerate(times))
        about = Metadata(f"About {video_id}", "A channel", "UCVYamHliCI9rw1tHR1xbkfw", 750, 123_456,
                         ("some", "keywords"), " ".join(dice.choices(words, k=120)))  # fmt: skip
        return Fetched(about, Transcript("en", "English", True, cues), RequestCost(2, 42_000))
    cues = tuple(Cue(2.0 * n, 2.0, f"What is said in line {n}") for n in range(12))
    about = Metadata(f"About {video_id}", "A channel", None, 24)
    return Fetched(about, Transcript("en", "English", True, cues), RequestCost(2, 42_000))
