"""A workbook for Excel: texts as texts and never formulas, dates as dates, a sheet for every million rows."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

from engine.errors import UsageError
from engine.export.append_stream import AppendStream
from engine.export.columns import TableColumns
from engine.export.delimited import MAX_CELL_CHARS
from engine.export.row_filter import sql_value
from engine.storage import disk

if TYPE_CHECKING:
    from engine.export.writers import Publishing

try:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet._writer import WorksheetWriter
    from openpyxl.writer.excel import ExcelWriter
except ImportError:
    raise UsageError(
        "--to xlsx needs one more package: pip install '.[xlsx]' in engine's directory"
    ) from None

SHEET_ROWS = 1_048_576  # of Excel, the header among them
_MAX_EXACT = 10**15  # Excel keeps 15 digits of a number
_FIRST_YEAR = 1901  # Excel knows no date before, and takes 1900 for a leap year
_WIDTHS = {"id": 14, "title": 50, "channel": 24, "text": 60, "finished_at": 20, "published": 12}
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Cell = str | int | float | bool | datetime.date | None


def to_cells(rows: Iterable[Mapping[str, Any]], columns: TableColumns) -> tuple[list[tuple[Cell, ...]], int]:
    """The rows as values of cells, and how many texts were cut because a cell of Excel holds no more."""
    names, types = columns.names, columns.types
    cut = 0
    found = []
    for row in rows:
        cells = [_cell(name, kind, row[name]) for name, kind in zip(names, types, strict=True)]
        for at, value in enumerate(cells):
            if isinstance(value, str) and (short := _fitting(value)) is not value:
                cells[at] = short
                cut += 1
        found.append(tuple(cells))
    return found, cut


def _cell(name: str, kind: str, value: Any) -> Cell:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        fits = abs(value) < _MAX_EXACT if isinstance(value, int) else abs(value) < float("inf")
        return value if fits else str(value)  # what is no number, too
    text = _NOT_IN_XML.sub("", str(sql_value(name, value)))
    if kind == "time" or (name == "published" and _DAY.fullmatch(text)):
        return _date(text, with_time=kind == "time")
    return text


def _date(text: str, *, with_time: bool) -> Cell:
    """The moment in UTC, or the day; the text where it is none that Excel knows."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return text
    if moment.year < _FIRST_YEAR:
        return text
    return moment.replace(microsecond=0) if with_time else moment.date()


def _fitting(text: str) -> str:
    """The text, or its beginning with `…`. Excel counts characters beyond U+FFFF twice."""
    if len(text) * 2 <= MAX_CELL_CHARS or _units(text) <= MAX_CELL_CHARS:
        return text
    short = text.encode("utf-16-le")[: (MAX_CELL_CHARS - 1) * 2].decode("utf-16-le", "ignore")
    return short + "…"


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


class WorkbookWriter:
    """One workbook, row by row: the rows wait on the disk and not in memory."""

    def __init__(self, publishing: Publishing, name: str, columns: TableColumns) -> None:
        self._publishing, self._name, self._columns = publishing, name, columns
        self._staged = os.path.join(publishing.place.staging, "workbook")
        self._stream = AppendStream(self._staged)
        self._book = Workbook(write_only=True)
        self._sheet: Any = None
        self._rows = 0
        self._begin_sheet()

    def _begin_sheet(self) -> None:
        number = len(self._book.worksheets) + 1
        self._sheet = sheet = self._book.create_sheet("videos" if number == 1 else f"videos {number}")
        sheet.freeze_panes = "A2"
        for at, name in enumerate(self._columns.names, 1):
            if name in _WIDTHS:
                sheet.column_dimensions[get_column_letter(at)].width = _WIDTHS[name]
        # Beside the workbook, where a kill leaves nothing that is not swept, and not in the system's directory.
        sheet._writer = _SheetWriter(sheet, f"{self._staged}-{number}")
        sheet._writer.write_top()
        header = [_as_text(sheet, _NOT_IN_XML.sub("", name)) for name in self._columns.names]
        for cell in header:
            cell.font = Font(bold=True)
        sheet.append(header)
        self._rows = 1

    def add(self, data: Any, rows: int) -> None:
        for row in data:
            if self._rows == SHEET_ROWS:
                self._sheet.close()
                self._begin_sheet()
            self._sheet.append(list(self._values(row)))
            self._rows += 1

    def _values(self, row: tuple[Cell, ...]) -> Iterator[Any]:
        """What openpyxl would take for a formula or an error is given as a text."""
        for value in row:
            yield (
                _as_text(self._sheet, value) if isinstance(value, str) and value[:1] in ("=", "#") else value
            )

    def finish(self) -> None:
        with ZipFile(self._stream, "w", ZIP_DEFLATED, allowZip64=True) as archive:
            ExcelWriter(self._book, archive).save()
        self._stream.finish()
        self._publishing.give([(self._staged, self._name)])

    def close(self) -> None:
        """Let go of a file that is not finished. The place removes what is staged."""
        self._stream.let_go()


class _SheetWriter(WorksheetWriter):  # type: ignore[misc]
    """A sheet's XML in a file of our own, which openpyxl would look for among its temporary ones."""

    def cleanup(self) -> None:
        disk.unlink_quietly(self.out)


def _as_text(sheet: Any, text: str) -> Any:
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    return cell
