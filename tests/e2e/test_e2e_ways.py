"""Small shares of `scripts/bench ways`: ways that die and come back, a mask that lies, clients that disagree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from nights import Place, played
from way_trials import (
    ALONE,
    CASES,
    Came,
    alone,
    case,
    dead,
    kids,
    lost_field,
    mask,
    noon,
    one_egress,
    trials,
    two_at_noon,
    two_dead,
    without_captions,
)

SEED = 5


@played(noon, seed=SEED, count=300, hour_s=1.0, threads=4)
def test_a_client_that_dies_costs_no_video_anything_and_is_used_again(night: Came) -> None:
    assert night.wrong == []


@played(two_at_noon, seed=SEED, count=180)
def test_two_clients_that_die_together(night: Came) -> None:
    assert night.wrong == []


@played(one_egress, seed=SEED, count=90)
def test_a_way_that_one_egress_is_refused_is_off_for_that_one(night: Came) -> None:
    assert night.wrong == []


def side_by_side(place: Place, seed: int, count: int) -> dict[str, Came]:
    """One batch a way or case: their processes mostly start and end."""

    def play(name: str) -> Came:
        if name in CASES:
            return case(place, seed, count, name)
        if name in ALONE:
            return alone(place, seed, count, name, processes=1)
        return two_dead(place, seed, count, name.split()[-1])

    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(PLAYED, pool.map(play, PLAYED), strict=True))


# The others are played by the tests of the fetcher and by `scripts/bench ways`.
PLAYED = (*ALONE, "two dead of xpe", "two dead of soft_block", "made for kids, no captions")


@pytest.mark.parametrize("name", PLAYED)
@played(side_by_side, seed=SEED, count=20)
def test_each_way_alone_serves_every_video_and_cases_are_what_they_are(name: str, night: Any) -> None:
    assert night[name].wrong == []


@played(dead, seed=SEED, count=30)
def test_when_no_way_works_the_run_says_so_and_halts_and_nothing_is_lost(night: Came) -> None:
    assert night.wrong == []


@played(without_captions, seed=SEED, count=100)
def test_a_channel_without_captions_turns_no_way_off(night: Came) -> None:
    assert night.wrong == []


@played(kids, seed=SEED, count=60)
def test_videos_for_kids_are_what_they_are(night: Came) -> None:
    assert night.wrong == []


@played(mask, seed=SEED, count=200)
def test_the_mask_costs_five_kilobytes_a_video(night: Came) -> None:
    assert night.wrong == []


@played(lost_field, seed=SEED, count=160)
def test_a_field_that_goes_missing_under_the_mask(night: Came) -> None:
    assert night.wrong == []


def test_every_trial_has_a_name_of_its_own() -> None:
    names = [trial.name for trial in trials()]
    assert len(names) == len(set(names))
