"""Every table read back by a reader of somebody else's: the same videos, texts, times and columns."""

from __future__ import annotations

import csv
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import canned_batch
import pandas as pd
import pyarrow.parquet as pq
import pytest
from canned_batch import Canned
from hostile_videos import CUES, FORMULAS, WORST, Exported, as_cell, said_by, videos
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from support import ids

from engine import Batch
from engine.export.columns import OURS, PREFIX
from engine.export.spoken_text import text_and_words
from engine.model import Cue
from engine.output.json_record import to_json
from engine.output.plain_text import lines


@settings(deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # shrinking takes minutes
@given(videos())
@example(WORST)
def test_tables_say_the_same_to_every_reader(found: list[Canned]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        exported = Exported(Path(directory), found, "csv", "sqlite", "parquet")
        check_jsonl(exported)
        check_csv(exported)
        check_pandas(exported)
        check_sqlite(exported)
        check_parquet(exported)


def check_jsonl(exported: Exported) -> None:
    assert [row["id"] for row in exported.rows] == [video.video_id for video in exported.videos]
    for row, video in zip(exported.rows, exported.videos, strict=True):
        ours = list(row)[: len(OURS)]
        assert ours == list(OURS)
        ok = video.kind is None
        assert row["status"] == ("ok" if ok else video.kind and video.kind.status)
        assert row["title"] == (video.title if ok else None)
        said = [{"start": cue.start, "duration": cue.duration, "text": cue.text} for cue in video.cues]
        assert row["segments"] == (said if ok else None)
        assert row["text"] == ("\n".join(lines(video.record.transcript)) if ok else None)
        theirs = [value for name, value in list(row.items())[len(OURS) :] if value is not None]
        meant = [value for value in json.loads(json.dumps(video.input)).values() if value is not None]
        assert sorted(map(repr, theirs)) == sorted(map(repr, meant))


def check_csv(exported: Exported) -> None:
    path = exported.root / "csv/videos.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in exported.rows[0] if name != "segments"]
    assert [as_cell(name) for name in rows[0]] == [name.replace("\0", "") for name in names]
    for found, row in zip(rows, exported.rows, strict=True):
        for name, cell in found.items():
            assert name == "id" or not cell.startswith(FORMULAS) or float(cell) is not None, cell
        assert as_cell(found["text"]) == (row["text"] or "").replace("\0", "")
        assert as_cell(found["title"]) == (row["title"] or "").replace("\0", "")
        assert found["id"] == row["id"]


def check_pandas(exported: Exported) -> None:
    path = exported.root / "csv/videos.csv"
    table = pd.read_csv(path)
    assert list(table["id"]) == [row["id"] for row in exported.rows]
    assert list(table["requests"]) == [2] * len(exported.rows)
    assert pd.to_datetime(table["finished_at"]).dt.year.eq(2026).all()
    texts = pd.read_csv(path, dtype=str, keep_default_na=False)
    for at, row in enumerate(exported.rows):
        for name in ("title", "text", "channel", "status", "published"):
            assert as_cell(texts[name][at]) == (row[name] or "").replace("\0", ""), name
    for number, name in enumerate(exported.theirs, texts.shape[1] - len(exported.theirs)):
        for at, row in enumerate(exported.rows):
            cell = as_cell(texts.iloc[at, number])
            if isinstance(row[name], bool):
                assert cell.upper() == str(row[name]).upper()
            elif row[name] is not None:
                assert said_by(row[name].replace("\0", "") if isinstance(row[name], str) else row[name], cell)


def check_sqlite(exported: Exported) -> None:
    with sqlite3.connect(exported.root / "sqlite/videos.db") as db:
        db.row_factory = sqlite3.Row
        rows = db.execute("SELECT * FROM videos ORDER BY rowid").fetchall()
        db.execute("INSERT INTO videos_fts (videos_fts) VALUES ('integrity-check')")
    for found, row in zip(rows, exported.rows, strict=True):
        assert (found["id"], found["text"], found["title"]) == (row["id"], row["text"], row["title"])
        assert json.loads(found["segments"] or "null") == row["segments"]
        assert len(found) == len(row) + 1
        for number, name in enumerate(exported.theirs, len(found) - len(exported.theirs)):
            assert said_by(row[name], found[number])


def check_parquet(exported: Exported) -> None:
    table = pq.read_table(exported.root / "parquet/data")
    for found, row in zip(table.to_pylist(), exported.rows, strict=True):
        assert list(found) == list(row)
        for name in ("id", "status", "title", "text", "segments", "duration_s", "paths", "published"):
            assert found[name] == row[name], name
        for name in exported.theirs:
            same = found[name] == row[name]
            assert same or json.loads(found[name]) == row[name], name  # JSON where a column has several types
        assert found["finished_at"].isoformat() == "2026-11-22T21:03:11+00:00"


# ---- columns ---------------------------------------------------------------------------------------------
def rows_of(root: Path, found: list[Canned], **options: Any) -> list[dict[str, Any]]:
    queue = canned_batch.batch(root, found)
    Batch(queue.root).export("jsonl", root / "x", **options)
    return [json.loads(line) for line in (root / "x/videos.jsonl").read_bytes().splitlines()]


def test_a_clash_gets_a_prefix_whatever_the_case(tmp_path: Path) -> None:
    given_columns = {"title": 1, "Title": 2, "topic": 3, "TOPIC": 4, "input_title": 5}
    (row,) = rows_of(tmp_path, [Canned(ids(1)[0], input=given_columns)])
    theirs = list(row.items())[len(OURS) :]
    assert [value for _, value in theirs] == [1, 2, 3, 4, 5]
    names = [name.casefold() for name in row]
    assert len(set(names)) == len(names)
    assert theirs[0][0] == f"{PREFIX}title"
    assert dict(theirs)["topic"] == 3


def test_a_thousand_columns_and_the_rest_in_one(tmp_path: Path) -> None:
    found = [Canned(name, input={f"c{n}": n for n in range(at, 1200)}) for at, name in enumerate(ids(2))]
    rows = rows_of(tmp_path, found)
    assert len(rows[0]) == len(OURS) + 1001
    assert rows[0]["other_columns"] == {f"c{n}": n for n in range(1000, 1200)}
    Batch(tmp_path / "queue").export("sqlite", tmp_path / "db")
    Batch(tmp_path / "queue").export("parquet", tmp_path / "pq")


def test_types_of_columns(tmp_path: Path) -> None:
    """The narrowest type that holds all values of a column."""
    columns = [
        {"n": 1, "x": 1, "flag": True, "mixed": 1, "nested": {"a": 1}, "big": 2**80},
        {"n": None, "x": 2.5, "flag": None, "mixed": "one", "nested": [1], "big": 1},
    ]
    found = [Canned(name, input=each) for name, each in zip(ids(2), columns, strict=True)]
    queue = canned_batch.batch(tmp_path, found)
    Batch(queue.root).export("parquet", tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    types = {name: str(table.schema.field(name).type) for name in columns[0]}
    assert types == {
        "n": "int64", "x": "double", "flag": "bool", "mixed": "string", "nested": "string", "big": "string",
    }  # fmt: skip
    assert table.column("big").to_pylist() == [str(2**80), "1"]


def test_what_newer_rows_say_is_taken_from_them(tmp_path: Path) -> None:
    more = {"way": "android", "published": "2020-01-01", "views": 7, "words": 99}
    old, new = rows_of(tmp_path, [Canned(ids(1)[0]), Canned(ids(2)[1], more=more)])
    assert (old["way"], old["published"], old["views"], old["words"]) == (None, "2024-02-29", 1234, 3)
    assert {name: new[name] for name in more} == more


def test_no_text(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, canned_batch.some(1), text=False)
    assert not {"text", "segments"} & row.keys()
    assert row["words"] == 3
    for kind in ("csv", "sqlite", "parquet"):
        Batch(tmp_path / "queue").export(kind, tmp_path / kind, text=False)  # type: ignore[arg-type]
    assert "text" not in (tmp_path / "csv/videos.csv").read_text().splitlines()[0].split(",")


# ---- damaged input ---------------------------------------------------------------------------------------
def test_a_record_that_cannot_be_read_takes_nothing_else_down(tmp_path: Path) -> None:
    found = canned_batch.some(5)
    queue = canned_batch.batch(tmp_path, found)
    output = tmp_path / "out"
    names = [output / video.video_id[:2] / f"{video.video_id}.json" for video in found]
    names[1].unlink()
    names[2].write_bytes(b"{")
    names[3].write_bytes(names[4].read_bytes())
    with open(queue.manifest, "r+b") as file:
        file.write(b"#")  # the first row
    for kind in ("csv", "jsonl", "sqlite", "parquet", "txt", "passages"):
        result = Batch(queue.root).export(kind, tmp_path / kind)  # type: ignore[arg-type]
        assert (result.unreadable, sorted(result.unreadable_ids)) == (
            3, sorted(video.video_id for video in found[1:4]),
        )  # fmt: skip
        assert result.rows == (4 if kind in ("csv", "jsonl", "sqlite", "parquet") else 1)


# ---- the fast way to a text ------------------------------------------------------------------------------
def rolling() -> Iterator[tuple[Cue, ...]]:
    yield (Cue(0, 2, "one two"), Cue(2, 0.01, "one two"), Cue(2, 2, "one two\nthree"))
    yield (Cue(0, 2, "a"), Cue(1, 2, "a\nb"), Cue(2, 2, "b\nc"))
    yield (Cue(0, 1, "a"), Cue(1, 1, "a"))


@given(CUES | st.sampled_from(list(rolling())), st.booleans())
@example((Cue(0, 1, " a"), Cue(1, 1, "")), False)
@example((Cue(0, 1, "a\u00a0b"), Cue(1, 1, "👩‍🚀")), True)
def test_the_text_is_that_of_the_renderer(cues: tuple[Cue, ...], generated: bool) -> None:
    record = Canned("4kJ2QMAR01o", cues=cues, generated=generated).record
    track = json.loads(to_json(record))["transcript"]
    text = "\n".join(lines(record.transcript))
    assert text_and_words(track) == (text, len(text.split()))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_again_gives_the_same_bytes_in_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr("engine.export.exporting.FEW_ROWS", 0)
    queue = canned_batch.batch(tmp_path, canned_batch.some(300))
    made = set()
    for n, processes in enumerate((1, 2, 3)):
        Batch(queue.root).export(kind, tmp_path / f"{n}", processes=processes)
        made.add((tmp_path / f"{n}/videos.{kind}").read_bytes())
    Batch(queue.root).export(kind, tmp_path / "0")
    made.add((tmp_path / f"0/videos.{kind}").read_bytes())
    assert len(made) == 1
