"""Captions parsed from every format that YouTube sends."""

from __future__ import annotations

import io
import json
import re
from html import escape, unescape

import pytest
import srt as srt_parser
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from youtube_transcript_api._transcripts import _TranscriptParser

from engine.model import Cue, Kind, Metadata, Record, Transcript
from engine.network.answer import FailureError
from engine.output.formats import from_json, render, to_json
from engine.output.markdown import paragraphs as markdown_paragraphs
from engine.output.plain_text import clean
from engine.rehearsal.caption_responses import TimedText
from engine.rehearsal.generated_videos import invent, invented_ids
from engine.rehearsal.rare_responses import SHAPES
from engine.rehearsal.recorded_responses import read_asset
from engine.youtube import formats
from engine.youtube.classify import UnreadableError
from engine.youtube.timedtext import parse, plain

HEAD = '<?xml version="1.0" encoding="utf-8" ?><transcript>'


def by_library(text: str) -> tuple[Cue, ...]:
    """What youtube-transcript-api makes of it; raises what that raises."""
    return tuple(Cue(s.start, s.duration, s.text) for s in _TranscriptParser().parse(text))


def document(*elements: str) -> str:
    return HEAD + "".join(elements) + "</transcript>"


def srv1(*said: str) -> str:
    """Captions as YouTube writes them: HTML inside XML."""
    elements = (f'<text start="{n}" dur="1">{escape(escape(text))}</text>' for n, text in enumerate(said))
    return document(*elements)


def test_what_the_site_sends_is_read_by_the_short_way() -> None:
    captured = read_asset("transcript.xml").decode()
    assert plain(captured) == parse(captured) == by_library(captured)
    assert len(parse(captured)) == 3
    texts = TimedText()
    for video_id in invented_ids(20):
        body, end = texts.answer(invent(1, video_id), "en", "srv1")
        text = body.plain(end).decode()
        assert plain(text) == formats.read(text)
        assert len(parse(text)) == 300


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ('<text start="1" dur="2">a</text>', "a"),
        ('<text start="1" dur="2">it&amp;#39;s &amp;amp; so</text>', "it's & so"),
        ('<text start="1" dur="2">&lt;i>slanted&lt;/i></text>', "slanted"),
        ('<text start="1" dur="2">&lt;font color=&quot;#E5E5E5&quot;&gt;a&lt;/font&gt; b</text>', "a b"),
        ('<text start="1" dur="2">one&lt;br/&gt;two</text>', "one\ntwo"),
        ('<text start="1" dur="2">&amp;amp;lt;</text>', "&lt;"),
        ('<text start="1" dur="2">a\nb</text>', "a\nb"),
        ('<text start="1" dur="2">&lt;i>&lt;/i></text>', ""),
        ('\n  <text start="1" dur="2">雨 🙏</text>\n', "雨 🙏"),
        # Spoken angle brackets. The library removes them as tags.
        ('<text start="1" dur="2">if i &amp;lt; 10 and j &amp;gt; 5</text>', "if i < 10 and j > 5"),
        ('<text start="1" dur="2">a &amp;lt;b&amp;gt;, &amp;lt;p class&amp;gt;</text>', "a <b>, <p class>"),
        ('<text start="1" dur="2">I &lt;3 you, 1 &lt; 2</text>', "I <3 you, 1 < 2"),
        # Elements. The library ends a cue at the first.
        ('<text start="1" dur="2">a <b>b</b> c</text>', "a b c"),
        ('<text start="1" dur="2"><i>all of it</i></text>', "all of it"),
        ('<text start="1" dur="2">a <font color="red">b <u>c</u></font> d<br/>e</text>', "a b c d\ne"),
        ('<text start="1" dur="2">a &amp;lt; <i>b</i></text>', "a < b"),
        # Characters that the fast parser does not know.
        ('<text start="1" dur="2">a &#65; b</text>', "a A b"),
        ('<text start="1" dur="2">a<![CDATA[ <b>x</b> ]]>c</text>', "a x c"),
        ('<!-- c --><text start="1" dur="2">a</text>', "a"),
        ('<text start="1" dur="2" extra="x">a</text>', "a"),
        ('<text start="1" dur="2">&amp;#' + "9" * 5_000 + ";</text>", "\ufffd"),
        ('<text start="1" dur="2">&amp;#x' + "F" * 5_000 + ";</text>", "\ufffd"),
    ],
)  # fmt: skip
def test_texts(element: str, said: str) -> None:
    assert parse(document(element)) == (Cue(1.0, 2.0, said),)


def test_a_cue_without_duration_and_one_without_text() -> None:
    text = document('<text start="1">a</text>', '<text start="2" dur="1"></text>')
    assert parse(text) == by_library(text) == (Cue(1.0, 0.0, "a"),)


@pytest.mark.parametrize("body", SHAPES, ids=["srv3", "srv2", "json3", "vtt"])
def test_every_format_is_read(body: object) -> None:
    cues = parse(body.plain().decode())  # type: ignore[attr-defined]
    assert [(cue.start, cue.text) for cue in cues] == [(0.5, "one two"), (2.5, cues[1].text)]
    assert cues[0].duration == 1.5
    assert re.sub(r"\s+c$", "", cues[1].text) == "a < b"


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        (
            '<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p begin="00:00:01.500" end="00:00:03.000">'
            'a<br/><span style="s">b</span></p></div></body></tt>',
            (Cue(1.5, 1.5, "a\nb"),),
        ),
        ('<tt:tt xmlns:tt="x"><tt:p begin="90s">a</tt:p></tt:tt>', (Cue(90.0, 0.0, "a"),)),
        (
            '<timedtext format="3"><body><p t="1000" d="500">a <p t="2">b</p> c</p></body></timedtext>',
            (Cue(1.0, 0.5, "a b c"),),
        ),
        (
            "\ufeff1\n00:00:01,000 --> 00:00:02,500\na < b\nc\n\n2\n00:01:02,000 --> 00:01:03,000\n&amp;\n",
            (Cue(1.0, 1.5, "a < b\nc"), Cue(62.0, 1.0, "&amp;")),
        ),
        (
            "WEBVTT - x\r\n\r\nNOTE a --> b\r\n\r\nSTYLE\r\n::cue {}\r\n\r\nid\r\n01:02.000 --> 01:03.000\r\n"
            "<v Ann>a</v> &amp;lt; <00:01:02.500><c.x> b</c>\r\n",
            (Cue(62.0, 1.0, "a &lt;  b"),),
        ),
        ('{"events": []}', ()),
        ('{"wireMagic": "pb3"}', ()),
        ("<transcript/>", ()),
        ("<transcript><a><b></b></a></transcript>", ()),
    ],
)
def test_other_shapes(text: str, cues: tuple[Cue, ...]) -> None:
    assert parse(text) == cues


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ("no captions", "no captions in any known format"),
        ("<html><p>sorry</p></html>", "is a web page"),
        ("<!DOCTYPE html><html>", "is a web page, or declares entities"),
        ('<!DOCTYPE transcript [<!ENTITY e "boo">]>' + document("&e;"), "declares entities"),
        ("<svg/>", r"XML of another kind \(<svg>\)"),
        (document('<text start="1" dur="2">a</text>')[:-1], "malformed or was cut short"),
        (document('<text start="1" dur="2">a & b</text>'), "malformed"),
        (document('<text start="1" dur="2">a\x0cb</text>'), "malformed"),
        (document('<text start="1.2.3" dur="2">a</text>'), "no number"),
        (document(f'<text start="{"1" * 50}" dur="2">a</text>'), "no number"),
        (document('<text dur="2">a</text>'), "without a time"),
        ('<timedtext format="3"><body><p d="2">a</p></body></timedtext>', "without a time"),
        ('{"events": [{"tStartMs": true, "segs": [{"utf8": "a"}]}]}', "no number"),
        ('{"events": {}}', "JSON of another kind"),
        ('{"events": [', "cut short"),
        ('{"events":' * 100_000, "cut short"),
        ("WEBVTT\n\n1:2:3:4 --> 2\na", "no number"),
    ],
)
def test_what_holds_no_captions_is_named(text: str, says: str) -> None:
    with pytest.raises(UnreadableError, match=says):
        parse(text)


@pytest.mark.parametrize("form", ["srv1", "xml", "json3", "vtt"])
def test_no_more_cues_than_anybody_can_say(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.youtube.timedtext.MAX_CUES", 3)
    monkeypatch.setattr(formats, "MAX_CUES", 3)
    made = {
        "srv1": srv1(*"abcd"),
        "xml": srv1(*"abcd").replace("transcript>", "timedtext>"),
        "json3": json.dumps({"events": [{"tStartMs": 1, "segs": [{"utf8": "a"}]}] * 4}),
        "vtt": "WEBVTT\n\n" + "00:01.000 --> 00:02.000\na\n\n" * 4,
    }
    with pytest.raises(FailureError) as caught:
        parse(made[form])
    assert caught.value.failure.kind is Kind.TOO_LARGE


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


def both_ways_agree(text: str) -> None:
    """The fast parser reads what the full one reads, or nothing."""
    short = plain(text)
    if short is not None:
        assert short == formats.read(text)


@given(st.lists(elements, max_size=4))
@example(['<text start="1" dur="1">&amp;lt;b</text>', '<text start="1" dur="1">></text>'])
def test_any_document_is_read_alike(parts: list[str]) -> None:
    both_ways_agree(document(*parts))


@given(st.integers(0, 400), st.integers(0, 6), awkward)
def test_damage_anywhere_is_not_read_otherwise(at: int, length: int, put: str) -> None:
    whole = document(
        '<text start="0" dur="1.54">Hey, it&amp;#39;s &lt;i>just&lt;/i> a test</text>',
        '<text start="1.5">and\nmore</text>',
        '<text start="4" dur="3.5"></text>',
    )
    both_ways_agree(whole[:at] + put + whole[at + length :])


@given(
    st.text(max_size=30)
    | st.builds("{}{}".format, st.sampled_from(["<", "{", "WEBVTT\n\n", "1\n-->"]), st.text())
)
def test_any_text_is_read_or_named(text: str) -> None:
    try:
        parse(text)
    except UnreadableError as exc:
        assert str(exc).isprintable()


# What XML can hold, and no line end that a reader of files would see another way.
SAID = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
    | st.text("<>&;/!?bi \n-3#x'\"`*_[]()lt", min_size=1),
    min_size=1,
    max_size=5,
).filter(lambda said: not {"\ufffe", "\uffff"} & set("".join(said)))


@given(SAID)
@example(
    ["if i < 10 … j > 5", "<b>&lt;</b>", "</text>", "a <br> b", "<00:00:01.000>", "&amp;amp;", "<!-- x -->"]
)
def test_what_was_said_arrives_in_every_file(said: list[str]) -> None:
    """From YouTube's encoding through parser, record and renderer to a parser of somebody else's."""
    cues = parse(srv1(*said))
    assert [cue.text for cue in cues] == said
    record = Record("aaaaaaaaaa1", Metadata(), Transcript("en", "E", False, cues), {}, "2026-01-01T00:00:00Z")
    assert from_json(to_json(record)) == record
    words = [clean(text) for text in said]
    shown = [text for text in words if text]
    assert render(record, "txt").decode() == "".join(f"{text}\n" for text in shown)
    read = webvtt.from_buffer(io.StringIO(render(record, "vtt").decode())).captions
    assert [unescape(caption.raw_text) for caption in read] == shown
    arrows = [re.sub("-{2,}>", "->", text) for text in shown]
    assert [c.content for c in srt_parser.parse(render(record, "srt").decode(), ignore_errors=False)] == [
        text.strip() for text in arrows
    ]
    body = render(record, "md").decode().split("\n---\n\n", 1)[1]
    paragraphs = [
        t for t in MarkdownIt("commonmark").enable("strikethrough").parse(body) if t.type == "inline"
    ][1:]
    assert [after_link(t) for t in paragraphs] == [text for _, text in markdown_paragraphs(record.transcript)]
    assert " ".join(map(after_link, paragraphs)) == " ".join(shown).replace("\n", " ")


def after_link(token: Token) -> str:
    """The text of a paragraph behind the link it begins with."""
    children = token.children or []
    end = next(n for n, child in enumerate(children) if child.type == "link_close")
    assert {child.type for child in children[end + 1 :]} <= {"text", "text_special"}
    return "".join(child.content for child in children[end + 1 :]).removeprefix(" ")
