"""SubRip and WebVTT that other parsers read."""

import datetime
import io
import itertools
import re

import pytest
import srt as srt_parser
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from engine.model import Cue, Metadata, Record, Transcript
from engine.output.subtitles import Timed, srt, timed, vtt


def record(*cues: Cue) -> Record:
    return Record(
        "aaaaaaaaaa1", Metadata(), Transcript("en", "English", False, cues), {}, "2026-01-01T00:00:00Z"
    )


@pytest.mark.parametrize(
    ("cues", "expected"),
    [
        ([Cue(0, 5, "a"), Cue(2, 1, "b")], [(0, 2000, "a"), (2000, 3000, "b")]),
        ([Cue(2, 1, "b"), Cue(0, 1, "a")], [(0, 1000, "a"), (2000, 3000, "b")]),
        ([Cue(0, 0, "a"), Cue(1, -3, "b")], [(0, 1000, "a"), (1000, 3000, "b")]),
        ([Cue(1, 0, "a"), Cue(1, 2, "b"), Cue(3, 1, "c")], [(1000, 3000, "a\nb"), (3000, 4000, "c")]),
        ([Cue(0, 0.0001, "a"), Cue(0.001, 1, "b")], [(0, 1, "a"), (1, 1001, "b")]),
        ([Cue(-1, 2, "a")], [(0, 2000, "a")]),
        ([Cue(float("nan"), float("inf"), "a")], [(0, 2000, "a")]),
        ([Cue(0, 1, "<i>a</i>\n\n --> b --->c")], [(0, 1000, "<i>a</i>\n--> b --->c")]),
        ([Cue(0, 1, " \n")], []),
    ],
)
def test_times(cues: list[Cue], expected: list[tuple[int, int, str]]) -> None:
    assert timed(record(*cues).transcript) == [Timed(*cue) for cue in expected]


def test_more_than_a_hundred_hours() -> None:
    made = record(Cue(360_000.5, 1.25, "late"))
    assert "100:00:00,500 --> 100:00:01,750\nlate\n" in srt(made)
    assert "100:00:00.500 --> 100:00:01.750\nlate\n" in vtt(made)
    (cue,) = srt_parser.parse(srt(made))
    assert cue.start == datetime.timedelta(hours=100, seconds=0.5)


def test_an_arrow_is_shortened_where_players_would_take_it_for_times() -> None:
    made = record(Cue(0, 1, "a --> b --->c\n00:00:01,000 --> 00:00:02,000 ->"))
    assert srt(made).endswith("\na -> b ->c\n00:00:01,000 -> 00:00:02,000 ->\n\n")
    assert vtt(made).endswith("\na --&gt; b ---&gt;c\n00:00:01,000 --&gt; 00:00:02,000 -&gt;\n")


def test_nothing_said() -> None:
    assert srt(record()) == ""
    assert vtt(record()) == "WEBVTT\n"


TIME = st.floats(-10, 400_000) | st.sampled_from([float("nan"), float("inf"), 0.0, 1e300])
TEXT = st.text() | st.text("a1-> \n<&;:.,WEBVTTNOTE", max_size=30)


@given(st.lists(st.builds(Cue, TIME, TIME, TEXT), max_size=8))
def test_parsers_read_it_back(cues: list[Cue]) -> None:
    made = record(*cues)
    expected = timed(made.transcript)
    for one, two in itertools.pairwise(expected):
        assert 0 <= one.start_ms < one.end_ms <= two.start_ms
    milli = datetime.timedelta(milliseconds=1)
    read = [
        (c.start // milli, c.end // milli, c.content)
        for c in srt_parser.parse(srt(made), ignore_errors=False)
    ]
    assert [cue[:2] for cue in read] == [cue[:2] for cue in expected]
    assert [cue[2].strip() for cue in read] == [re.sub("-+->", "->", cue.text.strip()) for cue in expected]
    captions = webvtt.from_buffer(io.StringIO(vtt(made))).captions
    assert len(captions) == len(expected)
    for caption, cue in zip(captions, expected, strict=True):
        assert caption.start_time.in_seconds() == cue.start_ms // 1000
        assert caption.raw_text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == cue.text
