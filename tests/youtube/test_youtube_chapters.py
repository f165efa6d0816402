"""Chapters in descriptions, as people write them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from engine.model import Chapter
from engine.youtube.chapters import MAX_CHAPTERS, listed_chapters, marked_chapters

THREE = "0:00 Intro\n1:30 The middle\n12:05 The end"


def titles(text: str, duration_s: int | None = None) -> list[tuple[float, str]]:
    return [(chapter.start, chapter.title) for chapter in listed_chapters(text, duration_s)]


@pytest.mark.parametrize(
    "text",
    [
        THREE,
        "About this\n\n" + THREE + "\n\nMore at 5:00 pm on https://example.org/0:00",
        "00:00 Intro\r\n01:30 The middle\r\n12:05 The end",
        "0:00:00 Intro\n0:01:30 The middle\n0:12:05 The end",
        "0:00 - Intro\n1:30 – The middle\n12:05: The end",
        "(0:00) Intro\n(1:30) The middle\n[12:05] The end",
        "▶ 0:00 Intro\n▶ 1:30 The middle\n▶ 12:05 The end",
        "1. 0:00 Intro\n2. 1:30 The middle\n3) 12:05 The end",
        "0:00 - 1:30 Intro\n1:30 - 12:05 The middle\n12:05 – 14:00 The end",
        "Intro 0:00\nThe middle - 1:30\nThe end (12:05)",
        "  0:00\tIntro  \n\n  1:30\tThe middle\n12:05\tThe end",
        "4:00 of music, and then\n" + THREE + "\n0:00 Other list\n1:00 b\n2:00 c",
    ],
)
def test_a_list_is_read_as_people_write_it(text: str) -> None:
    assert titles(text) == [(0, "Intro"), (90, "The middle"), (725, "The end")]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "At 0:00 it begins, at 1:00 it goes on",
        "0:00 Intro\n1:30 The end",
        "0:30 Intro\n1:30 The middle\n12:05 The end",
        "0:00\n1:30\n12:05",
        "0:00 a\n0:00 b\n0:00 c",
        "10:00:00:00 x\n0:00 " + "y" * 400,
    ],
)
def test_what_is_no_list_of_chapters(text: str | None) -> None:
    assert listed_chapters(text) == ()


def test_times_are_hours_too_and_end_with_the_video() -> None:
    assert titles("0:00 a\n59:59 b\n1:00:01 c\n10:00:00 d") == [
        (0, "a"),
        (3599, "b"),
        (3601, "c"),
        (36000, "d"),
    ]
    assert titles(THREE + "\n20:00 Elsewhere", 1200) == titles(THREE)
    assert titles(THREE, 600) == []


def test_titles_keep_what_belongs_to_them() -> None:
    text = "0:00 Q & A (part 1)\n1:00 C# or <b>?\n2:00 雨の日 [live]"
    assert [title for _, title in titles(text)] == ["Q & A (part 1)", "C# or <b>?", "雨の日 [live]"]


@given(
    st.lists(st.sampled_from(["0:00 a", "1:00 b", "2:00 c", "0:00", "(", ")", ":", "9:99", "x 3:00", "\n"]))
)
def test_chapters_begin_at_nought_and_ascend(parts: list[str]) -> None:
    found = listed_chapters("\n".join(parts))
    starts = [chapter.start for chapter in found]
    assert not found or (starts[0] == 0 and len(found) >= 3)
    assert starts == sorted(set(starts))
    assert all(chapter.title for chapter in found)


def marked(chapters: Any, *, old: bool = False) -> Any:
    key, value = (
        "multiMarkersPlayerBarRenderer",
        {"markersMap": [{"key": "x", "value": {"chapters": chapters}}]},
    )
    bar = {"chapteredPlayerBarRenderer": {"chapters": chapters}} if old else {key: value}
    decorated = {"decoratedPlayerBarRenderer": {"decoratedPlayerBarRenderer": {"playerBar": bar}}}
    return {"playerOverlays": {"playerOverlayRenderer": decorated}}


def renderer(start_ms: Any, title: Any) -> dict[str, Any]:
    return {"chapterRenderer": {"timeRangeStartMillis": start_ms, "title": title}}


@pytest.mark.parametrize("old", [True, False])
def test_what_youtube_marks(old: bool) -> None:
    listed = [
        renderer(0, {"simpleText": "a"}),
        renderer("1500", {"runs": [{"text": "b"}, {"text": "c"}]}),
        renderer(1500, {"simpleText": "again"}),
        renderer(True, {"simpleText": "no time"}),
        renderer(2000, {"simpleText": " "}),
        None,
    ]
    assert marked_chapters(marked(listed, old=old)) == (Chapter(0.0, "a"), Chapter(1.5, "bc"))


@given(json_values, st.booleans())
def test_any_answer_marks_chapters_or_none(odd: Any, old: bool) -> None:
    for answer in (odd, marked(odd, old=old), marked([renderer(odd, odd)], old=old)):
        assert all(chapter.title for chapter in marked_chapters(answer))


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_read(text: str) -> None:
    assert isinstance(listed_chapters("0:00 " + text), tuple)


def test_there_are_at_most_so_many() -> None:
    text = "\n".join(f"{n // 60}:{n % 60:02} part {n}" for n in range(3000))
    found = listed_chapters(text)
    assert len(found) == MAX_CHAPTERS
    assert found[0] == Chapter(0.0, "part 0")


def test_a_hostile_description_takes_no_longer_than_its_length() -> None:
    for line in ("(" * 290, "0:00" * 70, "1. " * 90, ":" * 290, "0:00 " + "- " * 140):
        text = "0:00 a\n" + f"{line}\n" * 300
        began = time.process_time()
        listed_chapters(text)
        assert time.process_time() - began < 2
