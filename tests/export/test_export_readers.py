"""Texts, passages and the data set read back by somebody else's readers: the same words at the same times."""

from __future__ import annotations

import html
import io
import itertools
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import srt
import webvtt
import yaml
from canned_batch import Canned
from hostile_videos import WORST, Exported, videos
from hypothesis import Phase, example, given, settings

MS = 1000
TEXTS = ("txt", "srt", "vtt", "md", "passages")
READ_BACK = settings(deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=15)


def words(text: str) -> list[str]:
    return text.split()


def starts_ms(row: dict[str, Any]) -> set[int]:
    return {round(segment["start"] * MS) for segment in row["segments"]}


def shortened(text: str) -> str:
    """As SubRip has it, which takes any line with an arrow for times."""
    return re.sub("-+->", "->", text)


@READ_BACK
@given(videos())
@example(WORST)
def test_texts_say_the_same_to_every_reader(found: list[Canned]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        exported = Exported(Path(directory), found, *TEXTS)
        for row, text in exported.texts("txt"):
            assert text.split("\n")[:-1] == (row["text"].split("\n") if row["text"] else [])
        for row, text in exported.texts("srt"):
            check_cues(row, [(cue.start.total_seconds(), cue.content) for cue in srt.parse(text)], shortened)
        for row, text in exported.texts("vtt"):
            read = webvtt.from_buffer(io.StringIO(text)).captions
            check_cues(row, [(cue.start_in_seconds, html.unescape(cue.raw_text)) for cue in read], str)
        for row, text in exported.texts("md"):
            check_front_matter(row, text)
        check_passages(exported)


def check_cues(row: dict[str, Any], read: list[tuple[float, str]], written: Any) -> None:
    """The words are those of the row, cue by cue in the order of time; cues begin where segments do.

    webvtt gives whole seconds.
    """
    cut = MS if all(isinstance(start, int) for start, _ in read) else 1
    begins = {start // cut for start in starts_ms(row)}
    assert {round(start * MS) // cut for start, _ in read} <= begins
    assert [start for start, _ in read] == sorted(start for start, _ in read)
    ours = words(written(row["text"]))
    assert sorted(itertools.chain.from_iterable(words(text) for _, text in read)) == sorted(ours)


def check_front_matter(row: dict[str, Any], text: str) -> None:
    """Any YAML parser reads the values of the row. A title may itself hold the line that ends the front matter."""
    head = next(yaml.safe_load_all(text))
    for ours, theirs in (
        ("video_id", "id"),
        ("title", "title"),
        ("channel", "channel"),
        ("language", "language"),
    ):
        assert head[ours] == row[theirs]
    assert head["duration_s"] == row["duration_s"]


def check_passages(exported: Exported) -> None:
    """The words of a video's passages are those of its row, none twice; each begins where somebody speaks."""
    path = exported.root / "passages" / "passages.jsonl"
    pieces = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    for row in exported.rows:
        mine = [piece for piece in pieces if piece["video_id"] == row["id"]]
        if row["status"] != "ok":
            assert not mine
            continue
        assert sorted(words(" ".join(piece["text"] for piece in mine))) == sorted(words(row["text"]))
        spoken = [(segment["start"], segment["start"] + segment["duration"]) for segment in row["segments"]]
        for piece in mine:
            assert any(begin - 0.001 <= piece["start"] <= end + 0.001 for begin, end in spoken)
        assert all(
            piece["title"] == row["title"] and piece["words"] == len(words(piece["text"])) for piece in mine
        )


@settings(READ_BACK, max_examples=4)
@given(videos())
@example(WORST)
def test_the_data_set_says_the_same(found: list[Canned]) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as directory:
        exported = Exported(Path(directory), found, "parquet")
        loaded = datasets.load_dataset(f"{directory}/parquet", cache_dir=f"{directory}/cache", split="train")
        for read, row in zip(loaded, exported.rows, strict=True):
            assert list(read) == list(row)
            for name in ("id", "status", "kind", "title", "channel", "text", "segments", "words", "paths"):
                assert read[name] == row[name], name
            for name in exported.theirs:
                assert read[name] == row[name] or json.loads(read[name]) == row[name], name
