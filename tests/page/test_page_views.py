"""What moves on the page is said in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from engine.monitor.batch_status import BatchStatus
from engine.monitor.status import empty
from engine.page.views import render
from engine.report.kind_help import MEANINGS, OTHER


def shown(template: str, **values: Any) -> str:
    status = BatchStatus.from_json({**empty(), "state": "running", "total": 3, **values})
    return render(template, status=status, settings=None, meanings=MEANINGS, other=OTHER)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (1, "one channel, playlist or search is still being listed; 1 video found"),
        (2, "2 channels, playlists or searches are still being listed; 2 videos found"),
    ],
)
def test_one_is_no_plural(number: int, says: str) -> None:
    listings = {"open": number, "done": 0, "failed": 0, "found": number}
    assert says in shown("pace.html", listings=listings)


def test_kinds_are_the_sentences_of_the_report() -> None:
    text = shown("pace.html", kinds={"no_captions": 2, "members_only": 1, "of_tomorrow": 1})
    assert "2 no captions: it has no captions; a second look agreed" in text
    assert "1 members only: for members of a channel, or for money" in text
    assert "1 of tomorrow: a kind that this version does not know" in text
    assert "_" not in text


def test_two_rates_are_told_apart() -> None:
    text = shown("pace.html", rate_per_s={"1m": 0.5, "15m": 0.25})
    assert "30.0 videos a minute now, 15.0 over the last 15 minutes" in text
