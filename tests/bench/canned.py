"""A fetch that asks nobody: for what the queue itself costs, and how threads are used.

The rows and files are real, the answers are not. CANNED_S is the mean of lognormal waits (0: none), and 1 % of the
fetches take thirty times that; CANNED_FIRST a file that gets the monotonic time of the first fetch.
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


def wait_s(video_id: str, mean_s: float) -> float:
    """How long a video's fetch takes: a function of its id."""
    dice = random.Random(video_id)
    if dice.random() < LONG_SHARE:
        return mean_s * LONG
    return mean_s * dice.lognormvariate(-SIGMA * SIGMA / 2, SIGMA)


def fetch(self: Any, video_id: str, permit: Any, **_: Any) -> Fetched:
    """In place of Fetcher.fetch: a record of 1 KB."""
    from engine.model import Cue, Fetched, Metadata, RequestCost, Transcript

    if _first:
        with contextlib.suppress(FileExistsError), open(_first, "x") as file:
            file.write(str(time.monotonic()))
    if _mean_s:
        time.sleep(wait_s(video_id, _mean_s))
    cues = tuple(Cue(2.0 * n, 2.0, f"What is said in line {n}") for n in range(12))
    about = Metadata(f"About {video_id}", "A channel", None, 24)
    return Fetched(about, Transcript("en", "English", True, cues), RequestCost(2, 42_000))
