"""Workbooks: a sheet of an .xlsx file, read row by row. openpyxl, which does this, is an extra of its own."""

from __future__ import annotations

import datetime
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from engine.errors import UsageError
from engine.inputs.lines import Line
from engine.inputs.opening import open_seekable, too_far, unpacks_too_far
from engine.inputs.table import Row, read_rows

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
            f"{path}: reading a workbook takes one more package: pip install 'engine[xlsx]', "
            "or save the sheet as CSV and give that."
        ) from None
    stream = open_seekable(path)
    try:
        _check_sizes(path, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations, which are not read
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
        chosen = _sheet(path, book, sheet)
        lines = read_rows(_rows(path, chosen), f"{path}:{chosen.title}", column=column)
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


def _rows(path: str, sheet: Any) -> Iterator[Row]:
    """The rows that are not blank. What the file says of its own extent is often wrong and not listened to."""
    sheet.reset_dimensions()
    try:
        for number, held in enumerate(sheet.iter_rows(values_only=True), 1):
            if number > MAX_ROWS:
                raise UsageError(f"{path}: more than {MAX_ROWS:,} rows in a sheet: save it as CSV")
            values = [_plain(value) for value in held]
            cells = [value if isinstance(value, str) else str(value) for value in values]
            if any(map(str.strip, cells)):
                yield Row(number, cells, None, values)
    except UsageError:
        raise
    except _BROKEN as exc:
        raise _broken(path, exc) from None


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
