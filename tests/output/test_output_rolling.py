"""The shapes in which YouTube sends generated captions: each line comes out once, one cue after the other."""

from __future__ import annotations

import io
import itertools

import pytest
import srt as srt_parser
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from engine.model import Cue, Metadata, Record, Transcript
from engine.output.formats import render

# Format srv1, as the library asks for it: a line is shown until the next but one begins, so that durations overlap
# by about half; sounds and speakers are lines of their own, long pauses end a line early.
SRV1 = (
    Cue(0.16, 4.24, "[Music]"),
    Cue(2.36, 4.2, "so this is the mill and it has been"),
    Cue(4.4, 4.28, "standing here for I think it's two"),
    Cue(6.56, 4.48, "hundred years & more"),
    Cue(8.68, 3.0, "[Applause]"),
    Cue(11.04, 1.9, ">> two hundred?"),
    Cue(19.2, 3.8, ">> two hundred and ten to be"),
    Cue(21.6, 3.559, "honest"),
)
SRV1_LINES = [
    "[Music]", "so this is the mill and it has been", "standing here for I think it's two",
    "hundred years & more", "[Applause]", ">> two hundred?", ">> two hundred and ten to be", "honest",
]  # fmt: skip

# WebVTT, as the site serves it, without its tags: two lines at a time, then for 10 ms the lower
# line alone, which becomes the upper one.
VTT = (
    Cue(0.16, 2.19, " \n[Music]"),
    Cue(2.35, 0.01, "[Music]\n "),
    Cue(2.36, 2.03, "[Music]\nso this is the"),
    Cue(4.39, 0.01, "so this is the\n "),
    Cue(4.4, 2.15, "so this is the\nmill & wheel"),
    Cue(6.55, 0.01, "mill & wheel\n "),
    Cue(6.56, 4.0, "mill & wheel\n "),
)
VTT_LINES = ["[Music]", "so this is the", "mill & wheel"]

# People's captions with a second speaker shown beside the first.
MANUAL = (
    Cue(1.0, 4.0, "- Where to?"),
    Cue(2.0, 1.0, "- Home."),
    Cue(2.0, 3.0, "(door closes)"),
    Cue(4.5, 0.0, "- Home"),
)
MANUAL_LINES = ["- Where to?", "- Home.", "(door closes)", "- Home"]


def record(cues: tuple[Cue, ...], *, generated: bool) -> Record:
    return Record(
        "aaaaaaaaaa1", Metadata(), Transcript("en", "English", generated, cues), {}, "2026-01-01T00:00:00Z"
    )


def read_srt(text: str) -> list[tuple[float, float, str]]:
    return [
        (c.start.total_seconds(), c.end.total_seconds(), c.content)
        for c in srt_parser.parse(text, ignore_errors=False)
    ]


def read_vtt(text: str) -> list[tuple[float, float, str]]:
    def seconds(stamp: str) -> float:
        hours, minutes, rest = stamp.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    captions = webvtt.from_buffer(io.StringIO(text)).captions
    plain = (c.raw_text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for c in captions)
    return [(seconds(c.start), seconds(c.end), text) for c, text in zip(captions, plain, strict=True)]


def check(cues: tuple[Cue, ...], lines: list[str], *, generated: bool = True) -> None:
    """Each line once, in order; no cue overlaps the next; both parsers read the same."""
    made = record(cues, generated=generated)
    assert render(made, "txt").decode().splitlines() == lines
    subtitles = read_srt(render(made, "srt").decode())
    assert [line for *_, text in subtitles for line in text.split("\n")] == lines
    assert read_vtt(render(made, "vtt").decode()) == subtitles
    for one, two in itertools.pairwise(subtitles):
        assert one[0] < one[1] <= two[0]


@pytest.mark.parametrize(
    ("cues", "lines"),
    [(SRV1, SRV1_LINES), (VTT, VTT_LINES), (MANUAL, MANUAL_LINES)],
    ids=["srv1", "vtt", "manual"],
)
def test_shapes(cues: tuple[Cue, ...], lines: list[str]) -> None:
    check(cues, lines, generated=cues is not MANUAL)


def test_a_line_is_shown_while_it_is_said() -> None:
    """What overlaps is cut where the next line begins; what is followed by a pause keeps its length."""
    subtitles = read_srt(render(record(SRV1, generated=True), "srt").decode())
    assert [subtitle[:2] for subtitle in subtitles[1:3]] == [(2.36, 4.4), (4.4, 6.56)]
    assert subtitles[5][:2] == (11.04, 12.94)


WORDS = st.lists(
    st.lists(st.sampled_from(["so", "this", "&", "that", "<3", "mill"]), min_size=1, max_size=6), max_size=12
)
STEPS = st.lists(st.integers(200, 9000), min_size=12, max_size=12)


def numbered(words: list[list[str]]) -> list[str]:
    return [f"{number} {' '.join(line)}" for number, line in enumerate(words)]


@given(WORDS, STEPS)
def test_srv1_of_any_pace(words: list[list[str]], steps_ms: list[int]) -> None:
    lines = numbered(words)
    starts = [sum(steps_ms[:number]) for number in range(len(lines) + 2)]
    cues = tuple(
        Cue(starts[n] / 1000, (starts[n + 2] - starts[n]) / 1000, line) for n, line in enumerate(lines)
    )
    check(cues, lines)


@given(WORDS, STEPS)
def test_vtt_of_any_pace(words: list[list[str]], steps_ms: list[int]) -> None:
    cues, at_ms, upper, lines = [], 0, " ", numbered(words)
    for line, step_ms in zip(lines, steps_ms, strict=False):
        cues.append(Cue(at_ms / 1000, step_ms / 1000, f"{upper}\n{line}"))
        cues.append(Cue((at_ms + step_ms) / 1000, 0.01, f"{line}\n "))
        at_ms, upper = at_ms + step_ms + 10, line
    check(tuple(cues), lines)
