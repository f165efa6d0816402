"""The tables of ways: whom an answer speaks of, when another way is worth its requests, which failure stands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model import WAYS, Failure, Kind
from engine.network.answer import Answer, RequestPhase
from engine.youtube.messages import failure_from
from engine.youtube.way_rules import (
    Observed,
    Subject,
    WayFailure,
    all_unheard,
    asks_on,
    means_this_client,
    requests_of,
    standing,
    subject,
)

PLAYER, PAGE, TEXT = (Answer(kind, status=200, size_bytes=9) for kind in ("player", "page", "timedtext"))
SENT = Answer("player", phase=RequestPhase.SENT)
CONNECTING = Answer("player", phase=RequestPhase.CONNECT)


def status(code: int, kind: str = "player") -> Answer:
    return Answer(kind, status=code, size_bytes=9)


def failure(kind: Kind, words: str = "") -> Failure:
    return Failure(kind, words)


@pytest.mark.parametrize(
    ("seen", "of"),
    [
        # the egress
        (Observed(failure(Kind.BLOCKED), status(429)), Subject.EGRESS),
        (Observed(failure(Kind.NETWORK), SENT), Subject.EGRESS),
        (Observed(failure(Kind.PROXY), CONNECTING), Subject.EGRESS),
        (Observed(failure(Kind.TIMEOUT), CONNECTING), Subject.EGRESS),
        # the site
        (Observed(failure(Kind.SERVER_ERROR), status(500)), Subject.SITE),
        (Observed(failure(Kind.GARBLED), status(503), odd=True), Subject.SITE),
        # no answer
        (Observed(failure(Kind.TIMEOUT), SENT), Subject.SILENT),
        (Observed(failure(Kind.TIMEOUT), Answer("timedtext", phase=RequestPhase.BODY)), Subject.SILENT),
        # the client
        (Observed(failure(Kind.SERVER_ERROR), status(400)), Subject.CLIENT),
        (Observed(failure(Kind.SERVER_ERROR), status(403)), Subject.CLIENT),
        (Observed(failure(Kind.SERVER_ERROR), status(404, "timedtext")), Subject.CLIENT),
        (Observed(failure(Kind.SERVER_ERROR), status(404, "page")), Subject.CLIENT),
        (Observed(failure(Kind.GARBLED), PLAYER, odd=True), Subject.CLIENT),
        (Observed(failure(Kind.GARBLED), Answer("timedtext", status=200)), Subject.CLIENT),
        # the client or the video
        (Observed(failure(Kind.NO_CAPTIONS), PLAYER), Subject.UNSURE),
        (Observed(failure(Kind.PO_TOKEN), PLAYER), Subject.UNSURE),
        (Observed(failure_from("Update the app"), PLAYER), Subject.UNSURE),
        (Observed(failure_from("This video is not available"), PLAYER), Subject.UNSURE),
        (Observed(failure_from("Video unavailable"), PLAYER), Subject.UNSURE),
        (Observed(failure_from("This video is unavailable"), PLAYER, partial=True), Subject.UNSURE),
        # the video
        (Observed(failure_from("This video is unavailable"), PLAYER), Subject.VIDEO),
        (Observed(failure_from("Video unavailable. This video has been removed "), PLAYER), Subject.VIDEO),
        (Observed(failure_from("This video is no longer available"), PLAYER), Subject.VIDEO),
        (Observed(failure_from("This video isn't available anymore"), PLAYER), Subject.VIDEO),
        (Observed(failure_from("This video is private"), PLAYER), Subject.VIDEO),
        (Observed(failure_from("This video is not available in your country"), PLAYER), Subject.VIDEO),
        (Observed(failure(Kind.NOT_YET), PLAYER), Subject.VIDEO),
        (Observed(failure(Kind.NO_LANGUAGE), PLAYER), Subject.VIDEO),
        (Observed(failure(Kind.GARBLED), TEXT), Subject.VIDEO),
        (Observed(failure(Kind.TOO_LARGE), TEXT), Subject.VIDEO),
        (Observed(failure(Kind.TRANSLATION_REFUSED), status(429, "timedtext")), Subject.VIDEO),
    ],
    ids=str,
)  # fmt: skip
def test_whom_an_answer_speaks_of(seen: Observed, of: Subject) -> None:
    assert subject(seen) is of


@pytest.mark.parametrize(
    ("words", "this_client"),
    [
        ("This video isn’t available", True),
        (
            "The following content is not available on this app.. Watch on the latest version of YouTube.",
            True,
        ),
        ("Video unavailable", True),
        ("Please update your app", True),
        ("Video unavailable. This video is private", False),
        ("This video is not available in your country", False),
        ("", False),
    ],
)
def test_words_that_mean_this_client(words: str, this_client: bool) -> None:
    assert means_this_client(words) == this_client
    assert means_this_client(f"YouTube says: {words}") == this_client


# What a way may come to, as one word, with a star for one of a client that is not shown all videos.
OF = {
    "400": (Subject.CLIENT, Kind.SERVER_ERROR),
    "odd": (Subject.CLIENT, Kind.GARBLED),
    "hangs": (Subject.SILENT, Kind.TIMEOUT),
    "none": (Subject.UNSURE, Kind.NO_CAPTIONS),
    "token": (Subject.UNSURE, Kind.PO_TOKEN),
    "words": (Subject.UNSURE, Kind.UNKNOWN),
    "gone": (Subject.VIDEO, Kind.UNAVAILABLE),
    "gone?": (Subject.UNSURE, Kind.UNAVAILABLE),
    "gone*": (Subject.UNSURE, Kind.UNAVAILABLE),
    "private": (Subject.VIDEO, Kind.PRIVATE),
    "live": (Subject.VIDEO, Kind.NOT_YET),
    "language": (Subject.VIDEO, Kind.NO_LANGUAGE),
    "text": (Subject.VIDEO, Kind.GARBLED),
    "blocked": (Subject.EGRESS, Kind.BLOCKED),
    "500": (Subject.SITE, Kind.SERVER_ERROR),
}


def failed(*words: str) -> list[WayFailure]:
    return [
        WayFailure(way, OF[word][0], failure(OF[word][1], word), word.endswith("*"))
        for way, word in zip(WAYS, words, strict=False)
    ]


def played(*words: str, in_health: tuple[str, ...] = (), explicit: bool = False) -> tuple[list[str], str]:
    """Which ways are asked when each would fail like this, and the word that stands."""
    asked: list[WayFailure] = []
    for each in failed(*words):
        if asks_on(asked, each.way, explicit=explicit, in_health=in_health):
            asked.append(each)
    return [each.way for each in asked], standing(asked, in_health=in_health).failure.message


@pytest.mark.parametrize(
    ("words", "ways", "stands"),
    [
        # one is enough
        ("private none none none none", 1, "private"),
        ("gone none none none none", 1, "gone"),
        ("live none none none none", 1, "live"),
        ("language none none none none", 1, "language"),
        ("text none none none none", 1, "text"),
        ("blocked none none none none", 1, "blocked"),
        ("500 none none none none", 1, "500"),
        # two agree
        ("none none none none none", 2, "none"),
        # three of a token
        ("token token none none none", 3, "token"),
        ("token words none none none", 3, "token"),
        ("none token none none none", 3, "token"),
        ("none token gone none none", 3, "token"),
        ("words words none none none", 2, "words"),
        ("gone? private none none none", 2, "gone?"),
        ("words private none none none", 2, "private"),
        # who refuses it says nothing against who plays it
        ("none gone* none none none", 3, "none"),
        ("none gone* gone none none", 3, "none"),
        ("none private private none none", 3, "none"),
        ("none words words none none", 3, "none"),
        ("words none none none none", 3, "none"),
        ("gone? none none none none", 3, "none"),
        # who shows captions is right
        ("none language none none none", 2, "language"),
        ("none text none none none", 2, "text"),
        # a block or an error ends it
        ("none blocked none none none", 2, "blocked"),
        ("400 blocked none none none", 2, "blocked"),
        ("none 500 none none none", 2, "500"),
        # who is not heard says nothing
        ("400 private none none none", 2, "private"),
        ("400 none none none none", 3, "none"),
        ("400 none 400 none none", 3, "none"),
        ("none 400 400 none none", 3, "none"),
        ("none hangs none none none", 3, "none"),
        ("none hangs hangs none none", 3, "hangs"),
        # nobody is heard: all are tried
        ("400 400 400 400 400", 5, "400"),
        ("400 odd 400 gone 400", 4, "gone"),
        # no proof by the word of a client that is not shown all videos
        ("400 gone* 400 400 400", 5, "400"),
        ("400 gone* gone none none", 3, "gone*"),
        ("400 gone* 400 language none", 4, "language"),
    ],
)  # fmt: skip
def test_what_ways_are_asked_and_what_stands(words: str, ways: int, stands: str) -> None:
    asked, stood = played(*words.split())
    assert len(asked) == ways
    assert stood == stands


def test_two_are_enough_once_they_are_known_to_work() -> None:
    assert played("400", "odd", "400", "400", in_health=("visionos",))[0] == ["android", "visionos"]
    assert len(played("400", "odd", "400", "400", in_health=("page",))[0]) == 4
    # One that works and was not heard may know of captions.
    assert played("none", "400", "400", in_health=("visionos",))[1] == "400"
    assert played("none", "400", "400", in_health=("android",))[1] == "none"


# What a way takes that fails so, of two requests.
TAKES = {"text": 2, "empty": 2, "hangs2": 2}
COSTS = {**OF, "empty": (Subject.CLIENT, Kind.GARBLED), "hangs2": (Subject.SILENT, Kind.TIMEOUT)}


def costing(words: Sequence[str], explicit: bool) -> tuple[int, list[str]]:
    """The requests of a video when each way fails like this and all are known to work, and the ways asked."""
    asked: list[WayFailure] = []
    for way, word in zip(WAYS, words, strict=True):
        if asks_on(asked, way, explicit=explicit, in_health=WAYS):
            requests = requests_of(way) - 2 + TAKES.get(word, 1)
            if word == "served":
                return sum(each.requests for each in asked) + requests_of(way), [way]
            found = failure(COSTS[word][1], word)
            asked.append(WayFailure(way, COSTS[word][0], found, word.endswith("*"), requests))
    return sum(each.requests for each in asked), [each.way for each in asked]


def test_no_video_takes_more_requests_than_two_ways_that_serve_it() -> None:
    """Once they are known to work. A token is sought by all ways that the user chose."""
    words = [*COSTS, "served"]
    for some in itertools.product(words, repeat=3):
        for explicit in (False, True):
            takes, asked = costing([*some, "served", "served"], explicit)
            if not (explicit and "token" in some):
                dear = sorted((requests_of(way) for way in (*asked, *WAYS[:2])), reverse=True)[:2]
                assert takes <= sum(dear), (some, takes, asked)


def test_a_token_is_sought_by_all_ways_that_were_asked_for() -> None:
    assert played("token", "token", "token", "token", "token", explicit=True)[0] == list(WAYS)
    assert played("token", "token", "token", "token", explicit=True, in_health=("ios",))[0] == list(WAYS[:4])


def test_of_a_video_that_has_captions_three_show_none() -> None:
    asked = failed("none", "none")
    assert not asks_on(asked, "ios", explicit=False, in_health=WAYS)
    assert asks_on(asked, "ios", explicit=False, in_health=WAYS, has_captions=True)
    assert not asks_on(failed("none", "none", "none"), "page", explicit=False, has_captions=True)


def test_the_ways_that_cost_more_are_tried_where_they_were_asked_for() -> None:
    words = ("none", "words", "words", "none", "none")
    assert played(*words)[0] == ["android", "visionos", "ios"]
    assert played(*words, explicit=True)[0] == ["android", "visionos", "ios", "page"]


def test_when_it_may_be_that_no_way_works() -> None:
    assert all_unheard(failed("400", "odd", "hangs"))
    assert not all_unheard(failed("hangs", "hangs"))  # that is a timeout
    assert not all_unheard(failed("400", "gone"))


@given(st.lists(st.sampled_from(sorted(OF)), min_size=5, max_size=5), st.booleans())
def test_whatever_happens(words: list[str], explicit: bool) -> None:
    """No captions are never one client's word while another could be heard; nobody is asked after a final word; a
    word that stands was said."""
    asked, stands = played(*words, explicit=explicit)
    said = (
        words[: len(asked)]
        if asked == list(WAYS[: len(asked)])
        else [words[WAYS.index(way)] for way in asked]
    )
    assert stands in said
    final = {"private", "gone", "live", "language", "text", "blocked", "500"}
    for word in said[:-1]:
        assert word not in {"blocked", "500", "live", "language", "text"}
    if stands == "none" and said.count("none") < 2:
        assert "hangs" not in said
        assert len(asked) >= 3
    if said[0] in final:
        assert len(said) == 1
    if "token" in said:
        assert stands == "token" or said[-1] in final
