"""Text files: names that every file system takes, and content that other programs read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import canned_batch
import pytest
import srt
import webvtt
import yaml
from canned_batch import Canned
from hypothesis import example, given
from hypothesis import strategies as st
from support import ids

from engine import Batch, UsageError
from engine.export.columns import OURS
from engine.export.file_names import MAX_BYTES, NameTemplate, folded
from engine.export.request import DEFAULT_NAME
from engine.output.formats import from_json, render

ID = "dQw4w9WgXcQ"
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
HOSTILE = st.text(max_size=300) | st.sampled_from(
    ["", ".", "..", "../../etc/passwd", "/", "CON", "nul.txt", "a" * 500, "é" * 300, "👩‍🚀" * 90, "x. ", " x",
     "\ue000", "\u202egpj.exe", "a\0b", "~", "-rf", "a:b|c?", "\ud800", "e" + "\u0301" * 300]
)  # fmt: skip
TEMPLATES = [DEFAULT_NAME, "{title}", "{id}/{title}", "{channel}/{published:%Y/%m} {title:.80} [{id}]", "",
             "{title}/", "CON", "{channel}//{title}"]  # fmt: skip


def values(**more: Any) -> dict[str, Any]:
    return {**dict.fromkeys(OURS), "id": ID, "title": "T", "channel": "C", "published": "2024-02-29", **more}


def name(template: str, **more: Any) -> str:
    return NameTemplate(template, {**OURS, "topic": "text", "rank": "int"}).path(values(**more), "txt")


@given(HOSTILE, HOSTILE, st.sampled_from(TEMPLATES), st.booleans())
@example("a" * 190, "b", "{title} [{id}] {title}", False)
def test_names_are_safe_everywhere(title: str, channel: str, template: str, flat: bool) -> None:
    path = NameTemplate(template, OURS, flat=flat).path(values(title=title, channel=channel), "txt")
    assert ID in path
    assert path.endswith(".txt")
    assert not flat or "/" not in path
    for part in path.split("/"):
        assert 0 < len(part.encode()) <= MAX_BYTES
        assert not re.search(r'[<>:"\\|?*\x00-\x1f\x7f\u202a-\u202e]', part)
        assert part == part.strip(" ")
        assert not part.startswith(".")
        assert not part.removesuffix(".txt").endswith(".") or part != path.split("/")[-1]
        assert not part.endswith(".")
        assert not RESERVED.fullmatch(part)


@pytest.mark.parametrize(
    ("template", "more", "expected"),
    [
        ("{channel}/{published:%Y} {title:.3} [{id}]", {"title": "A long one"}, f"C/2024 A l [{ID}].txt"),
        ("{title}", {"title": "AC/DC: live?"}, f"AC_DC_ live_ [{ID}].txt"),
        ("{id}/{title}", {}, f"{ID}/T.txt"),
        ("{published:%Y}/{title}", {"published": None}, f"unknown/T [{ID}].txt"),
        ("{published:%d.%m.%Y} {id}", {"published": "2024-02-29T10:00:00-08:00"}, f"29.02.2024 {ID}.txt"),
        ("{duration_s:05d} {views:,} {id}", {"duration_s": 61, "views": 1234}, f"00061 1,234 {ID}.txt"),
        ("{topic} {id}", {"topic": "ä"}, f"ä {ID}.txt"),
        ("{title:.80} [{id}]", {"title": "日" * 80}, f"{'日' * 60} [{ID}].txt"),
        ("{title}", {"title": "x" * 300}, f"{'x' * 182} [{ID}].txt"),
        ("{title} {{x}}", {}, f"T {{x}} [{ID}].txt"),
    ],
)
def test_templates(template: str, more: dict[str, Any], expected: str) -> None:
    assert name(template, **more) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{nothing}",
        "{title.__class__}",
        "{title[0]}",
        "{",
        "{0}",
        "{title!r}",
        "{title:{id}}",
        "{title:>999999999}",
        "{text}",
    ],
)
def test_templates_that_cannot_be_meant(template: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        name(template)


def test_a_conversion_is_named() -> None:
    with pytest.raises(UsageError, match=r"write \{title\} without !r"):
        name("{title!r}")


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{duration_s:%H}", "'duration_s' holds no date"),
        ("{title:%Y}", "'title' holds no date"),
        ("{id:%Y}", "'id' holds no date"),
        ("{rank:%d}", "'rank' holds no date"),
        ("{title:05d}", "'title' holds no number"),
        ("{is_generated:05d}", "'is_generated' holds no number"),
    ],
)
def test_a_format_that_a_column_cannot_have_is_refused_before_anything_is_made(
    tmp_path: Path, template: str, what: str
) -> None:
    queue = canned_batch.batch(tmp_path, canned_batch.some(1, input={"rank": 3}))
    with pytest.raises(UsageError, match=re.escape(what)):
        Batch(queue.root).export("txt", tmp_path / "x", name=template)
    assert [path.name for path in (tmp_path / "x").rglob("*") if path.name.endswith(".txt")] == []


def test_dates_of_ours_and_yours() -> None:
    assert name("{finished_at:%Y} {topic:%d.%m.} {rank:03d}", finished_at="2026-01-31T10:00:00Z",
                topic="2020-05-06", rank=7) == f"2026 06.05. 007 [{ID}].txt"  # fmt: skip


def test_ids_that_differ_in_case_have_names_that_do_not(tmp_path: Path) -> None:
    lower, upper = "abcdefghijk", "ABCDEFGHIJK"
    assert folded(lower) == folded(upper)
    found = [Canned(lower, title="same"), Canned(upper, title="same"), Canned(ids(1)[0], title="other")]
    queue = canned_batch.batch(tmp_path, found)
    Batch(queue.root).export("txt", tmp_path / "x")
    names = sorted(path.name for path in (tmp_path / "x").rglob("*.txt"))
    assert len({each.casefold() for each in names}) == 3
    assert f"other [{found[2].video_id}].txt" in names


@pytest.mark.parametrize("kind", ["txt", "srt", "vtt", "md"])
def test_the_content_is_the_renderers(tmp_path: Path, kind: Any) -> None:
    found = canned_batch.some(3)
    queue = canned_batch.batch(tmp_path, [*found, *canned_batch.some(1, 3, kind=canned_batch.Kind.PRIVATE)])
    result = Batch(queue.root).export(kind, tmp_path / "x", name="{id}", where="title <> 'Video 1'")
    assert (result.rows, result.file_count) == (2, 2)
    for video in (found[0], found[2]):
        data = (tmp_path / "x" / f"{video.video_id}.{kind}").read_bytes()
        record = (tmp_path / "out" / video.video_id[:2] / f"{video.video_id}.json").read_bytes()
        assert data == render(from_json(record), kind)
        said = [("Hello", 0.0), ("you there", 2.0)]
        text = data.decode()
        if kind == "srt":
            assert [(cue.content, cue.start.total_seconds()) for cue in srt.parse(text)] == said
        elif kind == "vtt":
            assert [(cue.text, cue.start_in_seconds) for cue in webvtt.from_string(text)] == said
        elif kind == "md":
            assert yaml.safe_load(text.split("---\n")[1])["title"] == video.title
        else:
            assert text.splitlines() == [words for words, _ in said]
