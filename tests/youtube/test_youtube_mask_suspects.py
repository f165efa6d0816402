"""Which masked answers are asked again: what such a rule costs, and what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from youtube_site import player

from engine.youtube.mask_suspects import AT_FIRST, MaskSuspects

REFUSED = {"playabilityStatus": {"status": "ERROR", "reason": "This video is unavailable"}}
BOT = {"playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm you're not a bot"}}


def without(name: str) -> dict[str, Any]:
    found = player()
    details = {key: value for key, value in found["videoDetails"].items() if key != name}
    return {**found, "videoDetails": details}


def asked_again(suspects: MaskSuspects, answers: Iterable[Any]) -> list[int]:
    """Which answers are suspected; without the mask all of them are the same."""
    found = []
    for number, answer in enumerate(answers):
        if suspects.masked(answer):
            suspects.whole(answer)
            found.append(number)
    return found


@pytest.mark.parametrize("odd", [without("keywords"), without("thumbnail"), REFUSED])
def test_what_all_answers_had_is_missed_at_once(odd: dict[str, Any]) -> None:
    assert asked_again(MaskSuspects(), [*[player()] * 300, odd]) == [300]


@pytest.mark.parametrize("share", [1, 2, 3, 10, 40])
def test_what_some_answers_lack_costs_little(share: int) -> None:
    """Every second, every third … answer lacks it."""
    answers = [without("keywords") if n % share == 0 else player() for n in range(2_000)]
    assert len(asked_again(MaskSuspects(), answers)) <= AT_FIRST + 2_000 / 60 + 2_000 / 500 + 1


def test_so_many_in_a_row_are_no_chance() -> None:
    suspects = MaskSuspects()
    asked_again(suspects, [without("keywords") if n % 3 == 0 else player() for n in range(300)])
    assert 0 <= min(asked_again(suspects, [without("keywords")] * 60)) <= 8


def test_an_empty_list_is_there() -> None:
    found = player()
    empty = {**found, "videoDetails": {**found["videoDetails"], "keywords": []}}
    assert asked_again(MaskSuspects(), [player(), empty]) == []


def test_a_block_says_nothing() -> None:
    assert asked_again(MaskSuspects(), [player(), BOT]) == []
