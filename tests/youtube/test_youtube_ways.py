"""The table of ways: their order, when each may help, and which of two failures stands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import youtube_transcript_api as yta

from engine.model import Failure, Kind
from engine.network.answer import Answer
from engine.youtube.player import OddAnswerError
from engine.youtube.ways import Failed, stands, ways

ODD = yta.VideoUnplayable("x", "words that nobody knows", [])
PLAYER, TEXT = Answer("player", status=200), Answer("timedtext", status=200)


def may_help(exc: Exception, kind: Kind, answer: Answer) -> list[str]:
    """The names of the ways that may help after a failure."""
    library: Any = SimpleNamespace(attempt=SimpleNamespace(answer=answer))
    return [way.name for way in ways() if way.may_help(library, Failed(exc, Failure(kind, "")))]


def test_the_cheapest_way_is_first() -> None:
    assert [way.name for way in ways()] == ["lean", "page", "yt-dlp"]


@pytest.mark.parametrize(
    ("exc", "kind", "answer", "names"),
    [
        (yta.TranscriptsDisabled("x"), Kind.NO_CAPTIONS, PLAYER, ["yt-dlp"]),
        (yta.TranscriptsDisabled("x"), Kind.NOT_YET, PLAYER, []),
        (yta.PoTokenRequired("x"), Kind.PO_TOKEN, TEXT, ["page", "yt-dlp"]),
        (ODD, Kind.UNKNOWN, PLAYER, ["page", "yt-dlp"]),
        (ODD, Kind.PRIVATE, PLAYER, []),
        (OddAnswerError(Failure(Kind.GARBLED, "")), Kind.GARBLED, PLAYER, ["page"]),
        (KeyError("x"), Kind.GARBLED, PLAYER, ["page"]),
        (KeyError("x"), Kind.GARBLED, TEXT, []),
        (
            yta.YouTubeRequestFailed("x", Exception()),
            Kind.SERVER_ERROR,
            Answer("player", status=400),
            ["page"],
        ),
        (yta.YouTubeRequestFailed("x", Exception()), Kind.SERVER_ERROR, Answer("player", status=500), []),
        (yta.IpBlocked("x"), Kind.BLOCKED, PLAYER, []),
    ],
)
def test_when_another_way_may_help(exc: Exception, kind: Kind, answer: Answer, names: list[str]) -> None:
    assert may_help(exc, kind, answer) == names


def test_a_client_that_knows_less_does_not_overrule() -> None:
    token, unknown, private = (Failure(kind, "") for kind in (Kind.PO_TOKEN, Kind.UNKNOWN, Kind.PRIVATE))
    assert stands(token, unknown)
    assert not stands(token, private)
    assert not stands(unknown, private)
