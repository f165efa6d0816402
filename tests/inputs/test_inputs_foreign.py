"""Files that hold no list are named as what they are; Parquet is read."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from engine.cli import invoke
from engine.errors import UsageError
from engine.inputs import Line, read

A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def zipped(*names: str, mimetype: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, b"\0text")
    return made.getvalue()


def sqlite() -> bytes:
    base = sqlite3.connect(":memory:")
    base.execute("create table t (id text)")
    return base.serialize()


FOREIGN = {
    "list.xls": (OLE, r"old workbook .*\.xls"),
    "locked.xlsx": (OLE, r"old workbook .*a password"),
    "list.ods": (
        zipped("content.xml", mimetype="application/vnd.oasis.opendocument.spreadsheet"),
        r"LibreOffice sheet \(\.ods\)",
    ),
    "list.odt": (
        zipped("content.xml", mimetype="application/vnd.oasis.opendocument.text"),
        "document of LibreOffice",
    ),
    "list.numbers": (zipped("Index/Document.iwa"), "Numbers"),
    "list.docx": (zipped("word/document.xml"), r"Word \(\.docx\)"),
    "list.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
    "list.rtf": (b"{\\rtf1\\ansi x}", "rich text"),
    "list.db": (sqlite(), "SQLite database"),
    "list.png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image"),
    "list.jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "an image"),
    "list.webp": (b"RIFF\0\0\0\0WEBPVP8 ", "an image"),
    "list.mp4": (b"\0\0\0\x20ftypisom", "a video"),
    "list.webm": (b"\x1aE\xdf\xa3\x01\0", "a video"),
    "list.vtt": (b"WEBVTT\n\n00:00.000 --> 00:01.000\nx\n", "subtitles"),
    "list.srt": (b"\xef\xbb\xbf1\r\n00:00:00,000 --> 00:00:01,000\r\nx\r\n", "subtitles"),
    "list.7z": (b"7z\xbc\xaf\x27\x1c\0\4", "7z archive"),
    "list.csv.xz": (b"\xfd7zXZ\0\0\4", "packed with xz"),
    "list.csv.zst": (b"\x28\xb5\x2f\xfd\4\0", "packed with zstd"),
    "list.csv.bz2": (b"BZh91AY&SY\0\1", "packed with bzip2"),
    "list.feather": (b"ARROW1\0\0\xff\xff", "Arrow"),
    "list.zip": (zipped("list.csv"), "Takeout"),
    "list.bin": (bytes(range(256)), "a binary file"),
}


def of(tmp_path: Path, name: str, data: bytes) -> list[Line]:
    (tmp_path / name).write_bytes(data)
    return list(read(str(tmp_path / name)))


@pytest.mark.parametrize("name", FOREIGN)
def test_it_is_named(name: str, tmp_path: Path) -> None:
    data, said = FOREIGN[name]
    ways = [name] if name.endswith((".zip", ".xlsx")) else [name, "list.txt", "list.csv", "list.json", "list"]
    for way in ways:
        with pytest.raises(UsageError, match=rf"{way}: .*{said}"):
            of(tmp_path, way, data)
    if len(ways) > 1:
        with pytest.raises(UsageError, match=said):
            of(tmp_path, f"{name}.gz", gzip.compress(data))
        with pytest.raises(UsageError, match=rf"stdin: .*{said}"):
            list(read("-", stdin=io.BytesIO(data)))


def test_under_the_name_of_a_workbook_or_a_takeout(tmp_path: Path) -> None:
    for name in ("list.xlsx", "takeout.zip"):
        for data, said in FOREIGN.values():
            if said != "Takeout" and data[:1] != b"\0":
                with pytest.raises(UsageError, match=rf"{name}: .*{said}"):
                    of(tmp_path, name, data)


def test_the_command_ends_with_2_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.pdf").write_bytes(FOREIGN["list.pdf"][0])
    assert invoke(["run", "list.pdf"]) == 2
    assert "engine: list.pdf: a PDF." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["list.pdf"]


@pytest.mark.parametrize(
    "name", ["PAR1abcdefg", "GIF8abcdefg", "abcdftypefg", "ID3abcdefgh", "RIFFabcdefg", "WEBVTTabcde"]
)
def test_ids_that_begin_like_one(name: str, tmp_path: Path) -> None:
    assert [line.video_id for line in of(tmp_path, "x.txt", f"{name}\n".encode())] == [name]


# -- Parquet ------------------------------------------------------------------------------------------------


def table(path: Path, **columns: Any) -> str:
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return str(path)


def test_a_parquet_file(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 10, 3, 20, 11)
    path = table(
        tmp_path / "list.parquet",
        topic=["é", None, "z"],
        url=[f"https://youtu.be/{A}", B, "none"],
        n=[1, 2, 3],
        at=[day, day, None],
        tags=[["a", "b"], [], None],
        price=[decimal.Decimal("1.50"), None, None],
        share=[0.5, float("nan"), None],
    )
    lines = list(read(path))
    assert [(line.line, line.video_id) for line in lines] == [(1, A), (2, B), (3, None)]
    assert lines[0].input == {
        "topic": "é",
        "n": 1,
        "at": "2026-10-03T20:11:00",
        "tags": ["a", "b"],
        "price": "1.50",
        "share": 0.5,
    }
    assert lines[1].input["topic"] == ""
    assert lines[1].input["share"] == "nan"
    (line, *_) = read(table(tmp_path / "x", a=[B], b=[A]), column="b")
    assert (line.video_id, line.input) == (A, {"a": B})
    with pytest.raises(UsageError, match="no column 'c'"):
        read(path, column="c")


def test_a_packed_and_a_damaged_one(tmp_path: Path) -> None:
    data = Path(table(tmp_path / "x.parquet", id=[A, B])).read_bytes()
    assert [line.video_id for line in of(tmp_path, "x.parquet.gz", gzip.compress(data))] == [A, B]
    for harmed in (data[:-20], data[:4] + bytes(40) + data[44:], b"PAR1\x15\4\x15\n" * 20):
        with pytest.raises(UsageError, match=r"y\.parquet: not a Parquet file that can be read"):
            of(tmp_path, "y.parquet", harmed)
    with pytest.raises(UsageError, match="stdin: a Parquet file"):
        list(read("-", stdin=io.BytesIO(data)))


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "x.parquet", id=[A])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"a Parquet file: pip install '\.\[parquet\]'"):
        read(path)
