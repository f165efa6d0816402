"""Workbooks: the sheet, its columns, what cells hold, and files that are none."""

from __future__ import annotations

import datetime
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from engine.errors import UsageError
from engine.inputs import Line, read

A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"
DATA = Path(__file__).parents[1] / "data" / "list.xlsx"


def book(path: Path, **sheets: list[list[Any]]) -> str:
    made = openpyxl.Workbook(write_only=True)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return str(path)


def test_the_columns_keep_their_kinds(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 10, 3, 20, 11)
    rows = [["Topic", "Link", "n", "on", "empty"], ["é", f"https://youtu.be/{A}", 7, day, None]]
    (line,) = read(book(tmp_path / "x.xlsx", List=rows))
    assert (line.file, line.line, line.video_id) == (f"{tmp_path}/x.xlsx:List", 2, A)
    assert line.input == {"Topic": "é", "n": 7, "on": "2026-10-03T20:11:00", "empty": ""}


def test_rows_have_the_numbers_they_have_in_the_sheet() -> None:
    lines = list(read(str(DATA)))
    assert [(line.line, bool(line.video_id)) for line in lines] == [(2, True), (4, True), (5, False)]
    assert lines[1].input["Seen"] is False
    assert lines[2].text == "no link\t\t3"


@pytest.mark.parametrize("sheet", ["More", " more ", "2"])
def test_another_sheet_by_name_or_number(sheet: str) -> None:
    (line,) = read(str(DATA), sheet=sheet)
    assert line.file.endswith(":More")
    assert line.video_id


def test_a_column_is_asked_for_as_in_a_table(tmp_path: Path) -> None:
    path = book(tmp_path / "x.xlsx", L=[["a", "b"], [A, B]])
    assert [line.video_id for line in read(path, column="b")] == [B]
    with pytest.raises(UsageError, match="no column 'c'"):
        read(path, column="c")
    with pytest.raises(UsageError, match=r"no sheet 'x'. Sheets: 'L'"):
        read(path, sheet="x")


def test_an_empty_sheet(tmp_path: Path) -> None:
    assert list(read(book(tmp_path / "x.xlsx", L=[]))) == []


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UsageError, match=r"pip install 'engine\[xlsx\]'"):
        read(str(DATA))


def _parts(path: Path, target: Path, **changed: bytes) -> Path:
    """A copy of a workbook with some of its parts changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changed.get(Path(name).stem, old.read(name)))
    return target


def all_of(path: Path) -> list[Line]:
    return list(read(str(path)))


def test_what_is_no_workbook(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    for data in (b"", b"id\naaaaaaaaaa1\n", DATA.read_bytes()[:-100], b"PK\3\4" + bytes(100)):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"x\.xlsx: not a workbook"):
            all_of(path)
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("readme.txt", "x")
    with pytest.raises(UsageError, match="not a workbook"):
        all_of(path)
    with pytest.raises(UsageError, match="not a workbook"):
        all_of(_parts(DATA, path, sheet1=b"<worksheet><sheetData><row><c"))


def test_entities_that_multiply_are_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE w [<!ENTITY a "aaaa">]>'
    bomb += b'<worksheet><sheetData><row><c t="str"><v>&a;</v></c></row></sheetData></worksheet>'
    with pytest.raises(UsageError, match="not a workbook"):
        all_of(_parts(DATA, tmp_path / "x.xlsx", sheet1=bomb))


def test_sizes_and_rows_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    far = f'<worksheet xmlns="{space}"><sheetData><row r="1"><c t="str"><v>{A}</v></c></row><row r="9999999999"/>'
    far += "</sheetData></worksheet>"
    monkeypatch.setattr("engine.inputs.workbook.MAX_ROWS", 1000)
    with pytest.raises(UsageError, match="more than 1,000 rows"):
        all_of(_parts(DATA, tmp_path / "x.xlsx", sheet1=far.encode()))
    monkeypatch.setattr("engine.inputs.opening.FREE_BYTES", 1 << 16)
    with pytest.raises(UsageError, match="200 times"):
        all_of(_parts(DATA, tmp_path / "y.xlsx", sheet1=b" " * (1 << 20)))
    monkeypatch.setattr("engine.inputs.workbook.MAX_SHARED_BYTES", 10)
    with pytest.raises(UsageError, match="Save the sheet as CSV"):
        all_of(DATA)
