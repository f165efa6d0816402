"""A night in which single videos are refused, each time, while all others pass: the egress is not blocked."""

from __future__ import annotations

import json
import statistics
import time

import pytest
from commands import videos
from nights import Place

SCENARIOS = ("later=0.02", "bot=0.02")
COUNT, NIGHTS = 400, 3
MOST = 1.3  # times a night without them
LONGEST_S = 60.0


def night(place: Place, name: str, seed: int, scenarios: tuple[str, ...]) -> float:
    """How long a night took; those who are refused are the only ones that fail, and nobody waits for long."""
    site = place.stand_in(seed=seed, scenarios=scenarios)
    batch = place.batch(videos(COUNT, seed), site, name)
    began = time.monotonic()
    ended = batch.run("-p", "2", "--rate", "none")
    took_s = time.monotonic() - began
    assert ended.code == (3 if scenarios else 0), ended.said
    rows = batch.rows().values()
    assert {row["kind"] for row in rows} <= {None, "blocked"}
    assert sum(row["kind"] == "blocked" for row in rows) < 0.1 * COUNT
    with open(batch.queue / "events.jsonl", encoding="utf-8") as lines:
        waits = [json.loads(line).get("wait_s") or 0.0 for line in lines]
    assert max(waits, default=0.0) < LONGEST_S
    return took_s


def test_one_refused_video_does_not_close_the_night(place: Place) -> None:
    """Each of them is asked four times, and the rest goes on as if they were not there."""
    night(place, "refused", 5, SCENARIOS)


@pytest.mark.long
@pytest.mark.usefixtures("quiet")
def test_refused_videos_cost_less_than_a_third_of_the_night(place: Place) -> None:
    """By turns, for the machine's mood changes; a second time if need be."""
    for again in range(2):
        clean, refused = [], []
        for seed in range(11, 11 + NIGHTS):
            clean.append(night(place, f"clean{again}{seed}", seed, ()))
            refused.append(night(place, f"refused{again}{seed}", seed, SCENARIOS))
        print(f"clean {clean}, with refused videos {refused}")
        if statistics.median(refused) <= MOST * statistics.median(clean):
            return
    pytest.fail(f"clean {clean}, with refused videos {refused}")
