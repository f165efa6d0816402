"""Whose each file in a folder is, by its name, and what it holds."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import ids, worked

from engine.inputs.line import Line
from engine.inputs.transcript_file import Form, TranscriptFile
from engine.inputs.transcript_files import find, ids_in
from engine.output import shard_index

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


# ---- files of many videos --------------------------------------------------------------------------------
OTHER = "jNQXAC9IVRw"


def parts(path: Path, name: str, data: bytes) -> list[tuple[str, bytes]]:
    """(id, bytes of its part) of each transcript in a file."""
    (path / name).write_bytes(data)
    return [(each.video_id, each.read()) for each in find(str(path)) if isinstance(each, TranscriptFile)]


@given(
    st.lists(st.tuples(st.sampled_from([ID, OTHER, None]), st.text(max_size=9), st.booleans()), max_size=6),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_elements_of_a_list_are_read_where_they_lie(
    tmp_path_factory: pytest.TempPathFactory, given_: Any, encoding: str, indent: int | None, escaped: bool
) -> None:
    values = [
        {"video_id": name, "title": title, **({"transcript": CUES} if has else {})}
        for name, title, has in given_
    ]
    data = json.dumps(values, indent=indent, ensure_ascii=escaped).encode(encoding, "surrogatepass")
    found = parts(tmp_path_factory.mktemp("list"), "export.json", data)
    meant = [value for value in values if value["video_id"] and "transcript" in value]
    assert [(name, json.loads(part)) for name, part in found] == [(each["video_id"], each) for each in meant]


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


@given(st.lists(st.tuples(st.sampled_from([ID, OTHER]), CELLS.filter(bool)), max_size=6))
@example([(ID, 'a"\n\r\n,b'), (ID, "ä"), (OTHER, "\r"), (ID, "again")])
def test_rows_of_a_table_are_read_where_they_lie(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    made = io.StringIO(newline="")
    csv.writer(made).writerows([("index", "video_id", "text", "start"), *((0, *row, 1.5) for row in rows)])
    found = parts(tmp_path_factory.mktemp("table"), "export.csv", made.getvalue().encode())
    read = [
        (name, row["text"])
        for name, part in found
        for row in csv.DictReader(io.StringIO(part.decode(), newline=""))
    ]
    assert read == rows
    assert [name for name, _ in found] == [name for name, _ in itertools.groupby(name for name, _ in rows)]


def test_tables_of_something_else_are_passed_over(tmp_path: Path) -> None:
    assert parts(tmp_path, "list.csv", f"id,url\n{ID},x\n".encode()) == []
    assert parts(tmp_path, "list.csv", b"") == []
    found = one(tmp_path, "list.csv", f"id,status,text\n{ID},ok,hello\n{OTHER},absent,\n")
    assert isinstance(found, TranscriptFile)
    assert (found.video_id, found.form) == (ID, Form.UNTIMED)


def test_a_list_that_ends_in_the_middle_gives_what_is_before(tmp_path: Path) -> None:
    text = json.dumps([{"id": ID, "segments": CUES}, {"id": OTHER, "segments": CUES}])
    (tmp_path / "export.json").write_text(text[:-20])
    first, second = find(str(tmp_path))
    assert isinstance(first, TranscriptFile)
    assert first.video_id == ID
    assert isinstance(second, Line)
    assert "cannot be read" in (second.reason or "")


def test_shards_as_their_index_says(tmp_path: Path) -> None:
    queue = worked(tmp_path, 20, store="shards")
    last, gone = ids(20)[3], ids(20)[4]
    with open(tmp_path / "out/shards/index", "ab") as index:
        index.write(shard_index.line(gone, "-") + b"damaged\n")
        index.write(shard_index.line(last, "shards/000009.zst#5+6").replace(b"#5", b"#6"))  # a wrong sum
    found = [each for each in find(str(tmp_path / "out")) if isinstance(each, TranscriptFile)]
    rows = {row["video_id"]: row for row in map(json.loads, open(queue.manifest, "rb"))}
    assert {each.video_id for each in found} == set(ids(20)) - {gone}
    for each in found:
        assert each.form is Form.FRAME
        assert hashlib.sha256(each.read()).hexdigest() == rows[each.video_id]["sha256"]["json"]
    assert set(ids_in(str(tmp_path / "out"))) == set(ids(20)) - {gone}


def test_shards_without_their_index(tmp_path: Path) -> None:
    worked(tmp_path, 2, store="shards")
    (tmp_path / "out/shards/index").unlink()
    (found,) = find(str(tmp_path / "out"))
    assert isinstance(found, Line)
    assert "verify --repair" in (found.reason or "")
