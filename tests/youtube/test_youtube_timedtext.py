"""Our reading of a caption track against the library's: the same cues, or none at all."""

from __future__ import annotations

from html import escape

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from youtube_transcript_api import Transcript as Track

from engine.model import Cue
from engine.rehearsal.captured import read_asset
from engine.rehearsal.invent import invent, invented_ids
from engine.rehearsal.timedtext import TimedText
from engine.youtube.timedtext import parse

HEAD = '<?xml version="1.0" encoding="utf-8" ?><transcript>'


class Canned(requests.Session):
    """Answers everything with one text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def get(self, url: str | bytes, **kwargs: object) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response.encoding = "utf-8"
        response._content = self.text.encode("utf-8", "surrogatepass")
        return response


def by_library(text: str) -> tuple[Cue, ...]:
    """What the library makes of it; raises what it raises."""
    track = Track(Canned(text), "id", "https://www.youtube.com/api/timedtext", "English", "en", True, [])
    return tuple(Cue(s.start, s.duration, s.text) for s in track.fetch())


def document(*elements: str) -> str:
    return HEAD + "".join(elements) + "</transcript>"


def test_what_the_site_sends_is_read_here() -> None:
    captured = read_asset("transcript.xml").decode()
    assert parse(captured) == by_library(captured)
    assert len(parse(captured) or ()) == 3
    texts = TimedText()
    for video_id in invented_ids(20):
        body, end = texts.answer(invent(1, video_id), "en", "srv1")
        text = body.plain(end).decode()
        assert parse(text) == by_library(text)
        assert len(parse(text) or ()) == 300


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ('<text start="1" dur="2">a</text>', "a"),
        ('<text start="1" dur="2">it&amp;#39;s &amp;lt;b&amp;gt;</text>', "it's "),
        ('<text start="1" dur="2">&lt;i>slanted&lt;/i></text>', "slanted"),
        ('<text start="1" dur="2">&amp;amp;lt;</text>', "&lt;"),
        ('<text start="1" dur="2">a\nb</text>', "a\nb"),
        ('<text start="1" dur="2">&lt;i>&lt;/i></text>', ""),
        ('\n  <text start="1" dur="2">雨 🙏</text>\n', "雨 🙏"),
    ],
)
def test_plain_texts(element: str, said: str) -> None:
    assert parse(document(element)) == by_library(document(element)) == (Cue(1.0, 2.0, said),)


def test_a_cue_without_duration_and_one_without_text() -> None:
    text = document('<text start="1">a</text>', '<text start="2" dur="1"></text>')
    assert parse(text) == by_library(text) == (Cue(1.0, 0.0, "a"),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "<transcript/>",
        document(),
        document('<text start="1" dur="2">a</text>')[:-1],
        document('<text start="1" dur="2">a</text>') + "<x/>",
        document('<text start="1" dur="2">a</text>') + "\xa0",
        document('<text start="1" dur="2">a</text>', '<text start="1.2.3" dur="2">a</text>'),
        document('<text start="1" dur="2">a</text>', '<text start="nan" dur="2">a</text>'),
        document('<text start="1" dur="2">a</text>', '<text dur="2">a</text>'),
        document('<text start="1" dur="2">a</text>', '<text start="2" dur="2" x="y">b</text>'),
        document('<text start="1" dur="2">a</text>', '<text start="2" dur="2"><b>b</b></text>'),
        document('<text start="1" dur="2">a &nbsp; b</text>'),
        document('<text start="1" dur="2">a &#65; b</text>'),
        document('<text start="1" dur="2">a & b</text>'),
        document('<text start="1" dur="2">a ]]> b</text>'),
        document('<text start="1" dur="2">a\rb</text>'),
        document('<text start="1" dur="2">a\x0cb</text>'),
        document('<text start="1" dur="2">a\uffffb</text>'),
        document("<!-- c -->", '<text start="1" dur="2">a</text>'),
        '<!DOCTYPE transcript [<!ENTITY e "boo">]>' + document('<text start="1" dur="2">a</text>'),
    ],
)
def test_whatever_is_odd_is_left_to_the_library(text: str) -> None:
    assert parse(text) is None


awkward = st.text(st.sampled_from("a<>&;'\"#3 9lt\n\r\t\x00\x0b\x0c\x1f]\xa0\ufeff\uffff🙏"), max_size=12)
texts = st.one_of(
    awkward, awkward.map(escape), awkward.map(escape).map(escape), st.text(max_size=8).map(escape)
)
numbers = st.one_of(
    st.floats(0, 1e6).map(lambda x: f"{x:g}"), st.sampled_from(["1", "0.5", ".", "", "1e3", "9" * 400])
)
elements = st.one_of(
    st.builds('<text start="{}" dur="{}">{}</text>'.format, numbers, numbers, texts),
    st.builds('<text start="{}">{}</text>'.format, numbers, texts),
    st.sampled_from(["\n", "<text/>", "<!-- -->", "tail", "\xa0", "&amp;", "<p start='1'>x</p>"]),
)


def same_or_none(text: str) -> None:
    ours = parse(text)
    if ours is not None:
        assert ours == by_library(text)


@given(st.lists(elements, max_size=4))
@example(['<text start="1" dur="1">&amp;lt;b</text>', '<text start="1" dur="1">></text>'])
def test_any_document_is_read_alike(parts: list[str]) -> None:
    same_or_none(document(*parts))


@given(st.integers(0, 400), st.integers(0, 6), awkward)
def test_damage_anywhere_is_not_read_otherwise(at: int, length: int, put: str) -> None:
    whole = document(
        '<text start="0" dur="1.54">Hey, it&amp;#39;s &lt;i>just&lt;/i> a test</text>',
        '<text start="1.5">and\nmore</text>',
        '<text start="4" dur="3.5"></text>',
    )
    same_or_none(whole[:at] + put + whole[at + length :])


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), min_size=1)
)
def test_what_people_say_is_read_here(said: list[str]) -> None:
    text = document(*(f'<text start="{i}" dur="1">{escape(escape(s))}</text>' for i, s in enumerate(said)))
    if "\ufffe" not in text and "\uffff" not in text:
        assert parse(text) == by_library(text)
        assert parse(text) is not None
