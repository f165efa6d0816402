"""Ids in the names of files: taken where they are certain, and only there."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.inputs import video_id, why_not
from engine.inputs.filenames import in_file_name

ID = "dQw4w9WgXcQ"


@pytest.mark.parametrize(
    "name",
    [
        f"Title [{ID}].en.vtt",
        f"Title [{ID}].en-GB-orig.vtt",
        f"Title [{ID}].info.json",
        f"Title [{ID}].live_chat.json",
        f"Title [{ID}].f137.mp4",
        f"Title [{ID}].mp4.part",
        f"Title [{ID}].WEBM",
        f"[Live_Session] Title, with [brackets] [{ID}].mkv",
        f"Title-{ID}.mp4",
        f"Mr. Title v1.2-{ID}.de.srt",
        f"{ID}.en.vtt",
        f"{ID[:2]}/{ID}.md",
        f"/videos/some folder/Title [{ID}].description",
        f"C:\\Videos\\Title [{ID}].mp4",
        f"\u200eTitle [{ID}].mp4",
    ],
)
def test_names_with_a_certain_id(name: str) -> None:
    assert video_id(name) == ID
    assert why_not(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "Song [Lyric_Video].mp4",
        "Song [LyricsVideo].mp4",
        "Film [1080p_60fps].mkv",
        "Show-Part2-Final.mp4",
        "my-video-12.mp4",
        "IMG_1234567.mp4",
        "some title.mp4",
        "Title [remastered1].mp4",
    ],
)
def test_words_are_no_ids(name: str) -> None:
    assert video_id(name) is None
    assert "file" in why_not(name)


@pytest.mark.parametrize(
    "name",
    [
        f"Title [{ID}]",
        f"Title [{ID}].exe",
        f"Title [{ID}x].mp4",
        f"Title [{ID}].mp4 and more",
        f"Title {ID}.mp4",
        f"https://evil.test/Title[{ID}].mp4",
    ],
)
def test_names_of_another_shape(name: str) -> None:
    assert video_id(name) is None


@given(st.text(string.printable, max_size=60))
def test_what_comes_out_stood_in_the_name(text: str) -> None:
    for name in (f"{text}.mp4", f"{text}].en.vtt", f"{text}-{ID}.mkv"):
        found = in_file_name(name)
        assert found is None or (len(found) == 11 and found in name)
