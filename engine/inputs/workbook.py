"""Workbooks: a sheet of an .xlsx file, read row by row. openpyxl, which does this, is an extra of its own.

A cell that shows a word may have the video behind it, as a link or a HYPERLINK formula: then that is its text.
"""

from __future__ import annotations

import datetime
import itertools
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from engine.errors import UsageError
from engine.inputs.behind import Behind, look_behind
from engine.inputs.csv_table import Row, read_rows
from engine.inputs.line import Line
from engine.inputs.opener import open_zip, too_far, unpacks_too_far
from engine.inputs.sources import find_source
from engine.inputs.video_ids import video_id

MAX_ROWS = 1_048_576
"""As many as a sheet may have; a file can claim more and cost hours of empty ones."""
MAX_SHARED_BYTES = 256 << 20
"""Texts of all cells lie in one part, which has to be held."""

# What reading a broken one may end in, by openpyxl, zipfile, zlib and expat.
_BROKEN = (
    zipfile.BadZipFile,
    ParseError,
    EOFError,
    zlib.error,
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    OSError,
)


def read_workbook(path: str, *, column: str | None = None, sheet: str | None = None) -> Iterator[Line]:
    """The rows of the first sheet, or of the one that `sheet` names (or numbers from 1); columns as in a table.

    `Line.line` is the row's number in the sheet. Numbers and truth values stay what they are, times become ISO
    8601, of a formula its last result is taken. UsageError when it is no workbook, has no such sheet, or openpyxl
    is not installed.
    """
    try:
        import openpyxl
    except ImportError:
        raise UsageError(
            f"{path}: reading a workbook takes one more package: pip install '.[xlsx]' in engine's directory, "
            "or save the sheet as CSV and give that."
        ) from None
    stream = open_zip(path)
    try:
        _check_sizes(path, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations, which are not read
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
            chosen = _sheet(path, book, sheet)
            behind = _behind(stream, chosen)
            written = None
            if behind.has_formulas:
                other = openpyxl.load_workbook(stream, read_only=True, data_only=False, keep_links=False)
                written = other[chosen.title]
        rows = _Rows(path, chosen, behind, written)
        try:
            lines = read_rows(iter(rows), f"{path}:{chosen.title}", column=column)
        except UsageError:
            if rows.uncomputed:
                raise _uncomputed(f"{path}:{chosen.title}", rows.uncomputed) from None
            raise
    except UsageError:
        stream.close()
        raise
    except _BROKEN as exc:
        stream.close()
        raise _broken(path, exc) from None
    return _closing(lines, stream)


def _closing(lines: Iterator[Line], stream: BinaryIO) -> Iterator[Line]:
    with stream:
        yield from lines


def _check_sizes(path: str, stream: BinaryIO) -> None:
    with zipfile.ZipFile(stream) as archive:
        for part in archive.infolist():
            is_sheet = part.filename.startswith("xl/worksheets/")
            if unpacks_too_far(part.compress_size, part.file_size):
                raise too_far(path)
            if part.file_size > MAX_SHARED_BYTES and not is_sheet:
                raise UsageError(
                    f"{path}: more than {MAX_SHARED_BYTES >> 20} MiB of text in its cells. "
                    "Save the sheet as CSV; that has no limit."
                )
    stream.seek(0)


def _sheet(path: str, book: Any, wanted: str | None) -> Any:
    sheets = book.worksheets
    if not sheets:
        raise UsageError(f"{path}: no sheet with cells in it")
    if wanted is None:
        return sheets[0]
    for sheet in sheets:
        if sheet.title.strip().casefold() == wanted.strip().casefold():
            return sheet
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:6]) <= len(sheets):
        return sheets[int(wanted[:6]) - 1]
    names = ", ".join(ascii(sheet.title) for sheet in sheets[:20])
    raise UsageError(
        f"{path}: no sheet {wanted!a}. Sheets: {names}. Give one of these, or a number from 1 to {len(sheets)}."
    )


def _behind(stream: BinaryIO, sheet: Any) -> Behind:
    """What lies behind the cells of a sheet, whose part of the file openpyxl names in an attribute of its own."""
    part = getattr(sheet, "_worksheet_path", None)
    if not isinstance(part, str):
        return Behind()
    with zipfile.ZipFile(stream) as archive:
        return look_behind(archive, part)


class _Rows:
    """The rows that are not blank. What the file says of its own extent is often wrong and not listened to.

    `written` is the same sheet with its formulas instead of their results, None when it has none; `uncomputed`
    counts the formulas met so far that have no stored result.
    """

    def __init__(self, path: str, sheet: Any, behind: Behind, written: Any) -> None:
        self.uncomputed = 0
        self._path = path
        self._sheet = sheet
        self._links = behind.links
        self._written = written

    def __iter__(self) -> Iterator[Row]:
        try:
            for number, (held, written) in enumerate(self._pairs(), 1):
                if number > MAX_ROWS:
                    raise UsageError(f"{self._path}: more than {MAX_ROWS:,} rows in a sheet: save it as CSV")
                values = [_plain(value) for value in held]
                cells = [value if isinstance(value, str) else str(value) for value in values]
                self._put_formulas(cells, held, written)
                if self._links:
                    self._put_links(cells, number)
                if any(map(str.strip, cells)):
                    yield Row(number, cells, None, values)
        except UsageError:
            raise
        except _BROKEN as exc:
            raise _broken(self._path, exc) from None

    def _pairs(self) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """Each row's values, and what is written in its cells where there are formulas."""
        self._sheet.reset_dimensions()
        held = self._sheet.iter_rows(values_only=True)
        if self._written is None:
            return zip(held, itertools.repeat(()), strict=False)
        self._written.reset_dimensions()
        return zip(held, self._written.iter_rows(values_only=True), strict=False)

    def _put_formulas(self, cells: list[str], held: tuple[Any, ...], written: tuple[Any, ...]) -> None:
        """Put formulas into the cells that have no stored result, and those that name a video where none is shown."""
        for index, (value, cell) in enumerate(zip(held, written, strict=False)):
            formula = getattr(cell, "text", cell)  # of an array
            if not isinstance(formula, str) or formula[:1] != "=" or formula == value:
                continue
            names_video = video_id(formula) is not None
            if value is None or (names_video and video_id(cells[index]) is None):
                cells[index] = formula
                self.uncomputed += not names_video

    def _put_links(self, cells: list[str], number: int) -> None:
        for index, text in enumerate(cells):
            link = self._links.get((number, index + 1))
            if link is not None and _names_something(link) and not _names_something(text):
                cells[index] = link


def _names_something(text: str) -> bool:
    return video_id(text) is not None or find_source(text) is not None


def _uncomputed(sheet: str, count: int) -> UsageError:
    formulas = "a formula" if count == 1 else f"{count:,} formulas"
    return UsageError(
        f"{sheet}: no column holds video ids or addresses, and {formulas} in it have no stored result: the program "
        "that wrote it did not calculate them. Open it in Excel or LibreOffice, save it there, and give it again."
    )


def _plain(value: Any) -> Any:
    """What a cell holds as JSON has it; an empty one is an empty text, as in a CSV."""
    if value is None:
        return ""
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def _broken(path: str, exc: BaseException) -> UsageError:
    said = str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__
    return UsageError(
        f"{path}: not a workbook that can be read ({said}). Open it and save it again as .xlsx, or as CSV."
    )
