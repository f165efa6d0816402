"""Whose each file in a folder is, by its name, and what it holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.inputs.line import Line
from engine.inputs.transcript_files import Form, TranscriptFile, find, ids_in

ID = "dQw4w9WgXcQ"
CUES = [{"text": "a", "start": 0.0, "duration": 1.0}]


def one(path: Path, name: str, text: str = "") -> TranscriptFile | Line | None:
    file = path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    found = list(find(str(path)))
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("name", "form", "language"),
    [
        (f"Title [{ID}].en.vtt", Form.CAPTIONS, "en"),
        (f"Title [{ID}].en-GB.srt", Form.CAPTIONS, "en-GB"),
        (f"Title [{ID}].en-orig.json3", Form.CAPTIONS, "en-orig"),
        (f"Title [{ID}].zh-Hans.VTT", Form.CAPTIONS, "zh-Hans"),
        (f"20240102 - A [x] title-{ID}.vtt", Form.CAPTIONS, None),
        (f"sub/dir/{ID}.srt", Form.CAPTIONS, None),
        (f"Title [{ID}].info.json", Form.ABOUT, None),
        (f"{ID}.json", Form.JSON, None),
        (f"dQ/{ID}.json", Form.JSON, None),
        (f"dQ/{ID}.md", Form.UNTIMED, None),
    ],
)
def test_names(tmp_path: Path, name: str, form: Form, language: str | None) -> None:
    assert one(tmp_path, name) == TranscriptFile(str(tmp_path / name), ID, form, language)


@pytest.mark.parametrize("name", ["abcdefghijk", "documentary", "12345678901"])
def test_a_word_of_eleven_letters_is_no_id_unless_something_says_so(tmp_path: Path, name: str) -> None:
    found = one(tmp_path, f"A talk [{name}].en.vtt")
    assert isinstance(found, Line)
    assert "no video id" in (found.reason or "")
    (tmp_path / f"A talk [{name}].info.json").write_text("{}")
    assert {each.video_id for each in find(str(tmp_path)) if isinstance(each, TranscriptFile)} == {name}


def test_an_id_named_by_our_directory_is_certain(tmp_path: Path) -> None:
    found = one(tmp_path, "ab/abcdefghijk.json")
    assert isinstance(found, TranscriptFile)


@pytest.mark.parametrize(
    ("value", "video_id"),
    [
        ({"video_id": ID, "snippets": CUES}, ID),
        ({"id": ID, "title": "a list entry"}, ID),
        ({"id": "UCabc", "snippets": CUES}, None),
        (CUES, None),
    ],
)
def test_the_id_within_json(tmp_path: Path, value: object, video_id: str | None) -> None:
    found = one(tmp_path, "something.json", json.dumps(value))
    assert found is not None
    assert found.video_id == video_id


def test_what_is_none_of_it_is_passed_over(tmp_path: Path) -> None:
    for name in ("settings.json", "list.txt", f"Title [{ID}].mp4", f"Title [{ID}].live_chat.json", "note.md"):
        (tmp_path / name).write_text("[1, 2]")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / f"{ID}.vtt").write_text("")
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "FORMAT").write_text("1")
    (tmp_path / "queue" / f"{ID}.vtt").write_text("")
    assert list(find(str(tmp_path))) == []


@pytest.mark.timeout(60)
def test_a_pipe_and_a_device_are_passed_over(tmp_path: Path) -> None:
    for suffix in ("en.vtt", "json", "jsonl", "md"):
        os.mkfifo(tmp_path / f"T [{ID}].{suffix}")
        (tmp_path / f"x [{ID}].{suffix}").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "no id.json")
    assert list(find(str(tmp_path))) == []


def test_lines_are_read_where_they_lie(tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": ID, "segments": CUES}),
        "not JSON ä",
        json.dumps({"video_id": "jNQXAC9IVRw", "status": "failed"}),
        json.dumps({"video_id": "jNQXAC9IVRw", "transcript": {"segments": CUES}}),
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    first, last = (each for each in find(str(tmp_path)) if isinstance(each, TranscriptFile))
    assert (first.video_id, json.loads(first.read())) == (ID, json.loads(lines[0]))
    assert (last.video_id, json.loads(last.read())) == ("jNQXAC9IVRw", json.loads(lines[3]))


def test_of_a_queue_what_is_ok_is_known(tmp_path: Path) -> None:
    rows = [{"video_id": ID, "status": "ok"}, {"video_id": "jNQXAC9IVRw", "status": "absent"}]
    (tmp_path / "FORMAT").write_text("1")
    (tmp_path / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert list(ids_in(str(tmp_path))) == [ID]


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(ids_in(str(tmp_path / "gone")))
