"""A workbook read back by openpyxl and by calamine: texts are texts, dates are dates, and nothing is a formula."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path

import canned_batch
import pytest
from canned_batch import Canned
from openpyxl import load_workbook
from python_calamine import CalamineWorkbook
from support import ids

from engine import Batch
from engine.cli import invoke
from engine.export import workbook_file
from engine.export.columns import FoundColumns, table_columns
from engine.export.delimited import MAX_CELL_CHARS
from engine.model import Cue, Kind

pytestmark = pytest.mark.usefixtures("no_fsync")

HOSTILE = (
    "=HYPERLINK(1)",
    "+1",
    "-x",
    "@SUM(A1)",
    "#N/A",
    "0012",
    "1E5",
    "TRUE",
    "\x00\x07bell\x1b[31m",
    "a\r\nb",
    "𝄞 ü",
)


def batch_of(root: Path, *videos: Canned) -> Batch:
    return Batch(canned_batch.batch(root, videos).root)


def test_read_back_by_two_others(tmp_path: Path) -> None:
    names = ids(len(HOSTILE) + 1)
    videos = [
        Canned(
            name,
            text,
            text,
            (Cue(0.0, 1.0, text),),
            input={"=topic": text, "n": 7, "big": 2**60, "yes": True},
        )
        for name, text in zip(names, HOSTILE, strict=False)
    ]
    batch = batch_of(tmp_path, *videos, Canned(names[-1], kind=Kind.PRIVATE))
    result = batch.export("xlsx", tmp_path / "table.xlsx")
    assert (result.rows, result.files, result.long_cells) == (len(names), ("table.xlsx",), 0)
    sheet = load_workbook(tmp_path / "table.xlsx").active
    assert sheet is not None and sheet.freeze_panes == "A2"
    header, *rows = sheet.iter_rows()
    assert all(cell.font.bold for cell in header)
    columns = [cell.value for cell in header]
    assert "segments" not in columns and "=topic" in columns
    assert not any(cell.data_type in ("f", "e") for row in (header, *rows) for cell in row)
    for row, name, text in zip(rows, names, HOSTILE, strict=False):
        cells = dict(zip(columns, row, strict=True))
        shown = text.replace("\x00\x07", "").replace("\x1b", "")
        assert (cells["id"].value, cells["id"].data_type) == (name, "s")
        assert (cells["=topic"].value or "").split() == shown.split()
        assert cells["finished_at"].value == datetime.datetime(2026, 11, 22, 21, 3, 11)
        assert cells["finished_at"].is_date
        assert cells["published"].value == datetime.datetime(2024, 2, 29) or cells["published"].value is None
        assert (cells["n"].value, cells["big"].value, cells["yes"].value) == (7, str(2**60), True)
    again = CalamineWorkbook.from_path(tmp_path / "table.xlsx").get_sheet_by_index(0).to_python()
    assert [row[0] for row in again] == ["id", *names]


def test_long_texts_are_cut_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Excel counts a character beyond U+FFFF twice."""
    whole, ascii_, wide = "a" * MAX_CELL_CHARS, "a" * (MAX_CELL_CHARS + 1), "𝄞" * (MAX_CELL_CHARS // 2 + 1)
    videos = [Canned(name, text) for name, text in zip(ids(3), (whole, ascii_, wide), strict=True)]
    batch = batch_of(tmp_path, *videos)
    assert invoke(["export", "-q", batch.root, "--to", "xlsx", "-o", str(tmp_path / "t.xlsx")]) == 0
    assert "2 texts are longer than 32,767 characters" in (said := capsys.readouterr().err) and "cut" in said
    sheet = load_workbook(tmp_path / "t.xlsx").active
    assert sheet is not None
    titles = [row[5] for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert titles[0] == whole
    for title, text in zip(titles[1:], (ascii_, wide), strict=True):
        assert str(title).endswith("…") and text.startswith(str(title)[:-1])
        assert MAX_CELL_CHARS - 1 <= len(str(title).encode("utf-16-le")) // 2 <= MAX_CELL_CHARS


def test_more_rows_than_a_sheet_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook_file, "SHEET_ROWS", 3)
    batch = batch_of(tmp_path, *canned_batch.some(5))
    batch.export("xlsx", tmp_path / "t.xlsx")
    sheets = load_workbook(tmp_path / "t.xlsx").worksheets
    assert [(sheet.title, sheet.max_row) for sheet in sheets] == [
        ("videos", 3),
        ("videos 2", 3),
        ("videos 3", 2),
    ]
    assert {sheet["A1"].value for sheet in sheets} == {"id"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["t.xlsx"]
    assert zipfile.ZipFile(tmp_path / "t.xlsx").testzip() is None


def test_what_is_new_goes_into_another_workbook(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, canned_batch.some(2))
    batch = Batch(queue.root)
    batch.export("xlsx", tmp_path / "t")
    canned_batch.grow(queue, canned_batch.some(1, 2))
    assert batch.export("xlsx", tmp_path / "t", new=True).files == ("videos-0002.xlsx",)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "1900-02-28T00:00:00Z", "soon", "9999-12-31T23:59:59-23:00"]
)
def test_a_time_that_excel_does_not_know_stays_a_text(text: str) -> None:
    columns = table_columns(FoundColumns())
    row = dict.fromkeys(columns.names) | {"finished_at": text}
    (cells,), cut = workbook_file.to_cells([row], columns)
    assert (cells[columns.names.index("finished_at")], cut) == (text, 0)


def test_the_missing_package_is_named(tmp_path: Path) -> None:
    from commands import engine

    (tmp_path / "openpyxl.py").write_text("raise ImportError('no openpyxl')")
    batch = batch_of(tmp_path, *canned_batch.some(1))
    ended = engine(
        "export", "-q", batch.root, "--to", "xlsx", "-o", tmp_path / "t.xlsx", PYTHONPATH=str(tmp_path)
    )
    assert (ended.code, "pip install '.[xlsx]'" in ended.err) == (2, True), ended.said
    assert not (tmp_path / "t.xlsx").exists()
