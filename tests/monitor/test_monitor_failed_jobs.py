"""Failed jobs for people, programs and spreadsheets; foreign text can harm none of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from support import batch, file_rows, finish, ids, some_fail, worked

from engine.model import Kind
from engine.monitor.failed_jobs import (
    COLUMNS,
    LatestFailures,
    own_columns,
    rows,
    to_csv,
    to_json_lines,
    to_lines,
)
from engine.queue.making import make_queue

pytestmark = pytest.mark.usefixtures("no_fsync")

ODD: dict[str, Any] = {
    "video_id": "-AAAAAAAAAA",
    "status": "failed",
    "kind": "garbled",
    "message": "=HYPERLINK(\x1b]0;title\x07)\nnext",
    "attempts": 5,
    "title": '\x1b[2J\u202eevil, "quoted" ☂',
    "channel": "@SUM(1)",
    "egress": None,
    "finished_at": "2026-11-22T21:03:11Z",
    "input": {"row": 1},
}


def test_the_rows_that_are_not_ok(tmp_path: Path) -> None:
    queue = worked(tmp_path, 60, some_fail)
    expected = {name: str(kind) for name in ids(60) if isinstance(kind := some_fail(name), Kind)}
    assert {row["video_id"]: row["kind"] for row in rows(queue)} == expected
    assert {row["kind"] for row in rows(queue, {"private", "poison"})} == {"private"}
    assert list(rows(queue, {"poison"})) == []


def test_only_what_is_promised(tmp_path: Path) -> None:
    assert list(rows(make_queue(str(tmp_path / "q")))) == []
    queue = batch(tmp_path, 16)
    file_rows(queue)
    assert list(rows(queue)) == []
    finish(queue, lambda name: Kind.PRIVATE)
    with open(queue.manifest, "ab") as file:
        file.write(json.dumps(ODD).encode() + b"\n")
    assert len(list(rows(queue))) == 16


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16, lambda name: Kind.PRIVATE)
    with open(queue.manifest, "r+b") as file:
        file.write(b"\xff")
    assert len(list(rows(queue))) == 15


def test_lines_cannot_steer_a_terminal() -> None:
    (line,) = to_lines([ODD])
    assert line.isprintable()
    assert line.startswith("-AAAAAAAAAA  garbled")
    assert "☂" in line
    (bare,) = to_lines([{"video_id": "x", "kind": None, "message": None, "title": None}])
    assert bare.split() == ["x", "None", "-"]


def test_json_lines_are_the_rows() -> None:
    assert [json.loads(line) for line in to_json_lines([ODD])] == [{"schema_version": 1, **ODD}]


def test_csv_holds_no_formula_and_one_line_a_job() -> None:
    lines = list(to_csv([ODD, ODD]))
    assert len(lines) == 3
    assert all("\n" not in line and "\r" not in line for line in lines)
    table = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert tuple(table[0]) == COLUMNS
    assert table[0]["video_id"] == "-AAAAAAAAAA"
    assert table[0]["message"].startswith("'=HYPERLINK")
    assert table[0]["channel"] == "'@SUM(1)"
    assert table[0]["egress"] == ""
    assert '"quoted" ☂' in table[0]["title"]
    assert "\x1b" not in "".join(lines)


def test_the_latest_follow_the_manifest(tmp_path: Path) -> None:
    queue = worked(tmp_path, 60, some_fail)
    bad = [row["video_id"] for row in rows(queue)]
    latest = LatestFailures(queue)
    assert [row["video_id"] for row in latest()] == bad[-3:]
    assert [row["video_id"] for row in latest()] == bad[-3:]
    line = json.dumps({**ODD, "video_id": "BBBBBBBBBBB"}) + "\n"
    with open(queue.manifest, "a") as file:
        file.write(line + line[:40])  # a second one is on its way
    assert [row["video_id"] for row in latest()] == [*bad[-2:], "BBBBBBBBBBB"]
    with open(queue.manifest, "a") as file:
        file.write(line[40:])
    assert [row["video_id"] for row in latest()] == [bad[-1], "BBBBBBBBBBB", "BBBBBBBBBBB"]
    Path(queue.manifest).write_text("5\nnull\n" + line)  # a retry made it anew
    assert [row["video_id"] for row in latest()] == ["BBBBBBBBBBB"]
    Path(queue.manifest).unlink()
    assert latest() == []


def test_the_users_own_columns() -> None:
    """A video that could not be fetched has no title; the user's list has one."""
    given = {
        "n": 3,
        "note": " ",
        "Title": "Gr\u00fcne " + "B\u00e4ume " * 20,
        "kind": "=1+1",
        "tags": ["a", "b"],
    }
    row = {**ODD, "title": None, "input": given}
    (line,) = to_lines([row])
    assert "(Gr\u00fcne B\u00e4ume" in line and line.endswith("\u2026)")
    own = own_columns([ODD, row])
    assert list(own.values()) == ["row", "n", "note", "input_Title", "input_kind", "tags"]
    table = list(csv.DictReader(io.StringIO("\n".join(to_csv([ODD, row, {"video_id": "@s"}], own)))))
    assert [each["n"] for each in table] == ["", "3", ""]
    assert (table[0]["row"], table[1]["input_kind"], table[1]["tags"]) == ("1", "'=1+1", '["a", "b"]')
    assert table[1]["kind"] == "garbled"
    assert len(own_columns([{"input": {str(n): n for n in range(500)}}])) == 100


def test_no_two_columns_have_one_name_in_any_case() -> None:
    given = {"Topic": 1, "topic": 2, "TOPIC": 3, "input_Kind": 4, "kind": 5, "Video_ID": "x"}
    own = own_columns([{"input": given}])
    assert list(own.values()) == [
        "Topic",
        "input_topic",
        "input_TOPIC_2",
        "input_Kind",
        "input_kind_2",
        "input_Video_ID",
    ]
    header, row = csv.reader(to_csv([{"video_id": "BBBBBBBBBBB", "input": given}], own))
    assert len({name.casefold() for name in header}) == len(header)
    assert dict(zip(header, row, strict=True))["input_TOPIC_2"] == "3"
