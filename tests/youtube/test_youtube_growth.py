"""Foreign text takes linear time, whatever it is made of.

Measured is growth: processor time for four times as much text, as a ratio. What grows with the square would be at
16; what is linear is at 4, and the margin between is for caches and the machine.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import pytest

import engine.network
import engine.output
import engine.youtube
from engine.model import Cue, Metadata, Record, Transcript
from engine.network.answer import FailureError
from engine.output.formats import FORMATS, render, to_json
from engine.output.terminal import printable
from engine.youtube.classify import UnreadableError
from engine.youtube.languages import match
from engine.youtube.markup import strip_markup
from engine.youtube.messages import clean, kind_of
from engine.youtube.metadata import read_metadata
from engine.youtube.player import bounded, refusal
from engine.youtube.timedtext import parse
from engine.youtube.track_choice import Wanted, choose, spoken_language
from engine.youtube.tracks import list_tracks

TIMES = 4
LIMIT = 9.0  # linear is 4, quadratic 16
LEAST_S = 0.002  # less is no measure: then the text is made longer


def growth(act: Callable[[str], object], make: Callable[[int], str], most: int = 1 << 18) -> float:
    """How many times longer `act` takes for a text four times as long."""
    n = 1 << 9
    while (small_s := _cost_s(act, make(n))) < LEAST_S and n < most:
        n *= 2
    if small_s < LEAST_S:
        return 0.0  # too fast for any length that matters
    return min(_cost_s(act, make(TIMES * n)) / _cost_s(act, make(n)) for _ in range(3))


def _cost_s(act: Callable[[str], object], text: str) -> float:
    """The least of three: what a busy machine adds is never negative."""
    least = float("inf")
    for _ in range(3):
        began = time.thread_time()
        act(text)
        least = min(least, time.thread_time() - began)
        if least > 1.0:
            break
    return least


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every expression of the modules that read or write foreign text."""
    for package in (engine.youtube, engine.output, engine.network):
        names = [package.__name__]
        if hasattr(package, "__path__"):
            names += [
                module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
            ]
        for name in names:
            module = importlib.import_module(name)
            for key, value in vars(module).items():
                for n, found in enumerate(_expressions(value)):
                    if isinstance(found.pattern, str):
                        yield f"{name}.{key}.{n}", found


def _expressions(value: Any, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, (tuple, list)):
        for item in value:
            yield from _expressions(item, depth - 1)
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _expressions(item, depth - 1)


PATTERNS = dict(patterns())
# These only match a whole text or its beginning, so they do not start again at each character.
ANCHORED = re.compile(
    r"engine\.(network\.proxies|youtube\.formats\._(CLOCK|NAME|TIMES)|youtube\.timedtext\._HEAD"
    r"|youtube\.channel_pages\._VIDEO_ID|output\.plain_text\._PLAIN)\b.*"
)
CHARS = (
    "<", ">", "&", "&#", "&#x", "-", "->", "--", " ", "\n", "\n ", "\t", "a", "a ", "9", "9:", ":", "[", "](", "[[",
    "\x1b[", "\x1b]", "\x1b]a", "\x9d", "\x9b0", "\x90a", "\x1b", "0;", "<a", "</", "<!", "<b ", '="', "'", '"', "\\",
    "@", "a:", "a.", "http://", "&amp;", "&a", "<text ", '<text start="1', '<text start="1">', "account ",
    "error occurred ", "something went wrong ", "available ", "video is ", "1:", "00:", "\ud800", "\u200b", "é", "雨",
    "%", "a-", "_", "...", "live event ",
)  # fmt: skip


def test_the_walk_finds_the_expressions() -> None:
    assert len(PATTERNS) > 25, sorted(PATTERNS)
    assert "engine.output.subtitles._ARROW.0" in PATTERNS
    assert any(name.startswith("engine.youtube.messages._PATTERNS") for name in PATTERNS)


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_every_expression_is_linear(name: str) -> None:
    """Over texts of one piece again and again, with and without something odd at the end."""
    found = PATTERNS[name]

    def walk(text: str) -> None:
        found.fullmatch(text)
        if not ANCHORED.fullmatch(name):
            found.sub("", text)

    slow = {}
    for piece, end in itertools.product(CHARS, ("", "\x00")):
        rough = _rough(walk, piece, end)
        if rough > LIMIT:
            slow[piece + end] = growth(walk, lambda n, p=piece, e=end: p * n + e, 1 << 14)  # type: ignore[misc]
    assert {piece: ratio for piece, ratio in slow.items() if ratio > LIMIT} == {}


def _rough(walk: Callable[[str], None], piece: str, end: str) -> float:
    """One measurement at two lengths. What seems to grow is measured properly."""
    costs = []
    for n in (400, 400 * TIMES):
        began = time.thread_time()
        walk(piece * n + end)
        costs.append(time.thread_time() - began)
    return costs[1] / max(costs[0], 1e-6) if costs[1] > LEAST_S / 4 else 0.0


def srv1(*texts: str) -> str:
    inside = "".join(f'<text start="{n}" dur="1">{text}</text>' for n, text in enumerate(texts))
    return f'<?xml version="1.0" encoding="utf-8" ?><transcript>{inside}</transcript>'


def read(text: str) -> None:
    with contextlib.suppress(UnreadableError, FailureError):
        parse(text)


TRACKS: dict[str, Callable[[int], str]] = {
    "brackets": lambda n: srv1(escape("<" * n)),
    "brackets twice": lambda n: srv1(escape(escape("<" * n))),
    "brackets beside an element": lambda n: srv1("<b/>" + escape("<" * n)),
    "half tags": lambda n: srv1(escape("<a " * n)),
    "references": lambda n: srv1("&amp;" * n),
    "long numbers": lambda n: srv1("&amp;#" + "9" * n),
    "cues": lambda n: srv1(*["a"] * (n // 20)),
    "open cues": lambda n: '<text start="1">a' * (n // 10),
    "elements": lambda n: srv1("<b>" * n + "</b>" * n),
    "attributes": lambda n: srv1("<b " + " ".join(f'a{i}="x"' for i in range(n // 8)) + "/>"),
    "comments": lambda n: srv1("<!--" * n),
    "deep": lambda n: "<transcript>" + "<p t='1'>" * (n // 4),
    "spaces": lambda n: " " * n,
    "json": lambda n: json.dumps({"events": [{"tStartMs": 1, "segs": [{"utf8": "a"}]}] * (n // 20)}),
    "json segments": lambda n: json.dumps({"events": [{"tStartMs": 1, "segs": [{"utf8": "<"}] * (n // 8)}]}),
    "vtt": lambda n: "WEBVTT\n\n" + "00:01.000 --> 00:02.000\na\n\n" * (n // 20),
    "vtt lines": lambda n: "WEBVTT\n\n00:01.000 --> 00:02.000\n" + "a\n" * n,
    "vtt arrows": lambda n: "WEBVTT\n\n" + "--> " * n,
    "vtt brackets": lambda n: "WEBVTT\n\n00:01.000 --> 00:02.000\n" + "<" * n,
    "empty lines": lambda n: "WEBVTT" + "\n" * n,
}


@pytest.mark.parametrize("form", sorted(TRACKS))
def test_a_track_of_any_make_is_read_in_linear_time(form: str) -> None:
    assert growth(read, TRACKS[form]) < LIMIT


CUES: dict[str, Callable[[int], tuple[Cue, ...]]] = {
    "brackets": lambda n: (Cue(0, 1, "<" * n),),
    "arrows": lambda n: (Cue(0, 1, "-" * n),),
    "arrows of two": lambda n: (Cue(0, 1, "-> " * n),),
    "references": lambda n: (Cue(0, 1, "&" + "amp;" * n),),
    "squares": lambda n: (Cue(0, 1, "[" * n + "]" * n),),
    "same lines": lambda n: tuple(Cue(i, 1, "a\n" * (n // 2)) for i in range(3)),
    "rolling lines": lambda n: tuple(Cue(i, 1, f"{i}\n{i + 1}") for i in range(n // 16)),
    "one time": lambda n: tuple(Cue(0, 1, "a") for i in range(n // 16)),
    "spaces": lambda n: (Cue(0, 1, "a" + " \u00a0\u3000" * n),),
    "line ends": lambda n: (Cue(0, 1, "\r\n\u2028" * n),),
    "invisible": lambda n: (Cue(0, 1, "\u200b\x00" * n),),
    "speakers": lambda n: (Cue(0, 1, ">> a\n" * (n // 4)),),
}


@pytest.mark.parametrize("form", sorted(CUES))
def test_every_format_is_written_in_linear_time(form: str) -> None:
    for fmt in (*FORMATS, "json"):

        def write(text: str, fmt: str = fmt) -> None:
            made = Transcript("en", "E", True, CUES[form](len(text)))
            record = Record("aaaaaaaaaa1", Metadata(), made, {}, "2026-01-01T00:00:00Z")
            to_json(record) if fmt == "json" else render(record, fmt)

        assert growth(write, lambda n: " " * n, 1 << 16) < LIMIT, fmt


PIECES = ["<", "an account ", "error occurred ", " ", "\u2028", "\x1b]", "\x9d", "\x9b", "a\u0301", "&#", "é"]


@pytest.mark.parametrize("piece", PIECES)
def test_words_of_the_site_cost_no_more_when_they_are_longer(piece: str) -> None:
    """Messages and titles are cut before they are read, so their length does not matter."""

    def look(text: str) -> None:
        for _ in range(20):
            clean(text)
            kind_of(text)
            refusal({"status": "UNPLAYABLE", "reason": text, "messages": [text]})
            printable(text, 80)

    long = 1 << 20
    assert _cost_s(look, piece * (TIMES * long)) < 3 * _cost_s(look, piece * long) + LEAST_S
    assert growth(printable, lambda n: piece * n) < LIMIT  # type: ignore[arg-type]
    assert growth(strip_markup, lambda n: piece * n) < LIMIT  # type: ignore[arg-type]


def test_a_title_and_a_description_have_an_end() -> None:
    text = "x" * 1_000_000
    found = read_metadata(
        {"title": text, "author": text, "shortDescription": text, "keywords": [text] * 5_000}
    )
    assert (len(found.title or ""), len(found.channel or ""), len(found.description or "")) == (
        10_000,
        10_000,
        100_000,
    )
    assert (len(found.keywords), len(found.keywords[0])) == (1_000, 1_000)
    assert found.title == text[:10_000]


def answer(n: int) -> dict[str, Any]:
    """A player answer with n tracks, n languages to translate into, and n sounds."""
    tracks = [
        {"baseUrl": "/api/timedtext?v=x", "languageCode": f"x{i}", "isTranslatable": True, "name": {}}
        for i in range(n)
    ]
    into = [{"languageCode": f"y{i}", "languageName": {}} for i in range(n)]
    renderer = {
        "captionTracks": tracks,
        "translationLanguages": into,
        "audioTracks": [{"audioTrackId": "x"}] * n,
    }
    return {"captions": {"playerCaptionsTracklistRenderer": renderer}}


def test_a_list_of_tracks_has_an_end() -> None:
    found = bounded(answer(100_000))["captions"]["playerCaptionsTracklistRenderer"]
    assert {name: len(texts) for name, texts in found.items()} == {
        "captionTracks": 500,
        "translationLanguages": 500,
        "audioTracks": 500,
    }
    tracks = list_tracks(bounded(answer(100_000)))
    assert len(tracks) == 500
    with pytest.raises(FailureError):
        choose(tracks, Wanted(("de",), translate="fr"), spoken_language(answer(600)))
    absurd = answer(2)
    first, second = absurd["captions"]["playerCaptionsTracklistRenderer"]["captionTracks"]
    first["baseUrl"] += "x" * 10_000
    second["languageCode"] = "x" * 1_000
    assert list_tracks(bounded(absurd)) == []


def test_a_code_of_any_length_is_looked_at_briefly() -> None:
    for piece in ("en-", "a", "-", "en-x-"):
        assert growth(lambda text: match("en", text), lambda n, p=piece: p * n) < LIMIT  # type: ignore[misc]


def test_a_quadratic_reader_would_be_noticed() -> None:
    """A check of the measure itself, with the library's slow expression."""
    bad = re.compile("<[^>]*>")
    assert any(growth(lambda text: bad.sub("", text), lambda n: "<" * n) > LIMIT for _ in range(5))
    assert any(growth(lambda text: re.sub("-{2,}>", "", text), lambda n: "-" * n) > LIMIT for _ in range(5))
    assert growth(lambda text: bad.sub("", text), lambda n: "<b>" * n) < LIMIT
