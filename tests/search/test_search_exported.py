"""A search in an SQLite export, whatever its other columns are."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import canned_batch
import pytest
from canned_batch import Canned
from support import ids

from engine import Batch
from engine.errors import UsageError
from engine.model import Cue, Kind
from engine.search import search

SEGMENTS = [
    {"start": 0.0, "duration": 2.0, "text": "so today we"},
    {"start": 2.5, "duration": 2.0, "text": "bake bread,\nand then"},
    {"start": 61.2, "duration": 2.0, "text": "we eat the bread"},
]
TEXT = "so today we bake bread, and then we eat the bread"
FTS = (
    "CREATE VIRTUAL TABLE videos_fts USING FTS5(title, text, content='videos', "
    "tokenize='unicode61 remove_diacritics 2')",
    "INSERT INTO videos_fts (videos_fts) VALUES ('rebuild')",
)


def export(path: Path, columns: str, *rows: tuple[object, ...], after: tuple[str, ...] = FTS) -> str:
    db = sqlite3.connect(path)
    db.execute(f"CREATE TABLE videos ({columns})")
    for row in rows:
        db.execute(f"INSERT INTO videos VALUES ({','.join('?' * len(row))})", row)
    for statement in after:
        db.execute(statement)
    db.commit()
    db.close()
    return str(path)


def full(path: Path) -> str:
    return export(
        path,
        "id TEXT, title TEXT, channel TEXT, language TEXT, text TEXT, segments TEXT",
        ("aaaaaaaaaaa", "Bread", "Kitchen", "en", TEXT, json.dumps(SEGMENTS)),
        ("bbbbbbbbbbb", "Pain", "Cuisine", "fr", "et le pain était là", "[]"),
        ("ccccccccccc", "Absent", None, None, None, None),
    )


def test_it_finds_title_text_time_and_language(tmp_path: Path) -> None:
    path = full(tmp_path / "a b?.sqlite")
    (hit,) = search(path, "eat bread")
    assert (hit.video_id, hit.title, hit.channel, hit.language) == ("aaaaaaaaaaa", "Bread", "Kitchen", "en")
    assert hit.start_s == 2.5
    assert [hit.text[a:b] for a, b in hit.marks] == ["bread", "eat", "bread"]
    assert [hit.video_id for hit in search(path, "etait", languages=["fr"])] == ["bbbbbbbbbbb"]
    assert search(path, "etait", languages=["en"]) == []
    assert search(path, "bread", fts=True)[0].video_id == "aaaaaaaaaaa"


def test_a_title_is_shown_with_its_hits(tmp_path: Path) -> None:
    (hit,) = search(full(tmp_path / "x"), "absent")
    assert (hit.video_id, hit.start_s, hit.text, hit.marks) == ("ccccccccccc", None, "Absent", ((0, 6),))


def test_a_real_export(tmp_path: Path) -> None:
    videos = [
        Canned(ids(1)[0], "Bread rolls", cues=(Cue(0, 2, "so today"), Cue(2.5, 2, "we bake\nfresh bread"))),
        Canned(ids(1, 1)[0], "Privat", kind=Kind.PRIVATE),
    ]
    where = str(tmp_path / "x.db")
    Batch(canned_batch.batch(tmp_path, videos).root).export("sqlite", where)
    (hit,) = search(where, "fresh bake", languages=["en"])
    assert (hit.video_id, hit.start_s) == (videos[0].video_id, 2.5)
    assert [hit.text[a:b] for a, b in hit.marks] == ["bake", "fresh"]
    (hit,) = search(where, "rolls")
    assert (hit.start_s, hit.text, hit.marks) == (None, "Bread rolls", ((6, 11),))


def test_a_table_of_segments_or_none_at_all(tmp_path: Path) -> None:
    rows = [(f"INSERT INTO segments VALUES ('aaaaaaaaaaa', {s['start']}, '{s['text']}')") for s in SEGMENTS]
    more = ("CREATE TABLE segments (video_id TEXT, start REAL, text TEXT)", *rows)
    with_table = export(tmp_path / "t", "video_id, text", ("aaaaaaaaaaa", TEXT), after=(*more, *(
        FTS[0].replace("title, ", ""), FTS[1])))  # fmt: skip
    assert search(with_table, "eat")[0].start_s == 61.2
    without = export(tmp_path / "w", "id, title, text", ("aaaaaaaaaaa", "T", TEXT))
    (hit,) = search(without, "eat")
    assert (hit.start_s, hit.url) == (None, "https://www.youtube.com/watch?v=aaaaaaaaaaa")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_text("id,title\n"), "no SQLite file"),
        (lambda path: export(path, "title", after=()), "no table `videos`"),
        (lambda path: export(path, "id, text", after=()), "no full-text index"),
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
)
def test_what_is_no_export_is_said(tmp_path: Path, make: object, why: str) -> None:
    make(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises(UsageError, match=why):
        search(str(tmp_path / "x"), "bread")


def test_a_damaged_export_is_said_and_stays(tmp_path: Path) -> None:
    path = Path(full(tmp_path / "x"))
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(UsageError, match="cannot be used"):
        search(str(path), "bread")
    assert path.stat().st_size == len(data)
