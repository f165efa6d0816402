"""Workbooks: a sheet of an .xlsx, .xlsm, .xlsb, .xls or .ods, row by row. It takes python-calamine, an extra.

A cell that shows a word may have the video behind it, as a link or a HYPERLINK formula: then that is its text
(.xlsx and .xlsm).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, BinaryIO

from engine.errors import UsageError
from engine.inputs import sheet_process
from engine.inputs.csv_table import Row, read_rows
from engine.inputs.foreign import document
from engine.inputs.line import Line
from engine.inputs.links_and_formulas import LinksAndFormulas, links_and_formulas
from engine.inputs.opener import HEAD_BYTES, ForeignInputError, open_zip, too_far, unpacks_too_far
from engine.inputs.sources import find_source
from engine.inputs.video_ids import video_id
from engine.process import environment

MAX_ROWS = 1_048_576
"""As many as a sheet may have; a file can claim more and cost hours of empty ones."""
MAX_SHARED_BYTES = 256 << 20
"""Texts of all cells lie in one part, which has to be held."""

_Answers = Generator[Any, None, None]
_BROKEN = (zipfile.BadZipFile, EOFError, zlib.error, KeyError, ValueError, RuntimeError, OSError)


def read_workbook(path: str, *, column: str | None = None, sheet: str | None = None) -> Iterator[Line]:
    """The rows of the first sheet, or of the one that `sheet` names (or numbers from 1); columns as in a table.

    `Line.line` is the row's number in the sheet. Numbers and truth values stay what they are, whole floats become
    ints, times ISO 8601, of a formula its last result is taken. UsageError when it is no workbook, has no such sheet,
    or python-calamine is not installed.
    """
    check_package(path)
    with open_zip(path, workbook=True) as stream:
        answers = _answers(path, stream, sheet)
        try:
            about = next(answers)
            chosen = about["sheet"]
            if chosen is None:
                raise _no_sheet(path, about["names"], sheet)
            rows = _Rows(path, answers, _behind(path, stream, chosen))
            try:
                lines = read_rows(iter(rows), f"{path}:{chosen}", column=column)
            except UsageError:
                if rows.uncomputed:
                    raise _uncomputed(f"{path}:{chosen}", rows.uncomputed) from None
                raise
        except BaseException:
            answers.close()
            raise
    return _closing(lines, answers)


def check_package(path: str) -> None:
    """Raise UsageError where python-calamine is not installed."""
    if importlib.util.find_spec("python_calamine") is None:
        raise UsageError(
            f"{path}: reading a workbook takes one more package: pip install '.[xlsx]' in engine's directory, "
            "or save the sheet as CSV and give that."
        )


def _closing(lines: Iterator[Line], answers: _Answers) -> Iterator[Line]:
    with closing(answers):
        yield from lines


def _answers(path: str, stream: BinaryIO, sheet: str | None) -> _Answers:
    """What the process that reads the cells answers. Raises UsageError for what is no workbook; ends the process when
    it is closed."""
    try:
        _check_sizes(path, stream)
    except _BROKEN as exc:
        raise _broken(path, str(exc)) from None
    os.lseek(stream.fileno(), 0, os.SEEK_SET)
    command = [sys.executable, sheet_process.__file__, *([] if sheet is None else [sheet])]
    with subprocess.Popen(
        command,
        stdin=stream,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment.environment(),
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe, as asked for
            for line in process.stdout:
                value = json.loads(line)
                if isinstance(value, dict) and "error" in value:
                    raise _unreadable(path, stream, value["error"])
                yield value
            code = process.wait()
        finally:
            process.kill()
    if code:
        raise _broken(path, "it takes more memory or time than a sheet may")


def _check_sizes(path: str, stream: BinaryIO) -> None:
    """Refuse a zip that unpacks too far; workbooks of other kinds are no zip."""
    if not zipfile.is_zipfile(stream):
        return
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


def _behind(path: str, stream: BinaryIO, sheet: str) -> LinksAndFormulas:
    try:
        if not zipfile.is_zipfile(stream):
            return LinksAndFormulas()
        with zipfile.ZipFile(stream) as archive:
            return links_and_formulas(archive, sheet)
    except _BROKEN as exc:
        raise _broken(path, str(exc)) from None


class _Rows:
    """The rows that are not blank. `uncomputed` counts the formulas met so far that have no stored result."""

    def __init__(self, path: str, answers: Iterator[list[list[Any]]], behind: LinksAndFormulas) -> None:
        self.uncomputed = 0
        self._path = path
        self._answers = answers
        self._behind = behind
        # A cell without a value of its own is none to calamine.
        self._width = max((column for _, column in (*behind.links, *behind.formulas)), default=0)

    def __iter__(self) -> Iterator[Row]:
        for number, values in enumerate(self._all(), 1):
            if number > MAX_ROWS:
                raise UsageError(f"{self._path}: more than {MAX_ROWS:,} rows in a sheet: save it as CSV")
            values.extend([""] * (self._width - len(values)))
            cells = [value if isinstance(value, str) else str(value) for value in values]
            if self._width:
                self._put_behind(cells, number)
            if any(map(str.strip, cells)):
                yield Row(number, cells, None, values)

    def _all(self) -> Iterator[list[Any]]:
        """The rows that calamine gives, and those below in which nothing but formulas without a result stand."""
        count = 0
        for rows in self._answers:
            count += len(rows)
            yield from rows
        last = max((row for row, _ in self._behind.formulas), default=0)
        yield from ([] for _ in range(count, last))

    def _put_behind(self, cells: list[str], row: int) -> None:
        """Put in formulas that have no result, and links and formulas that name a video where none is shown."""
        for index in range(len(cells)):
            formula = self._behind.formulas.get((row, index + 1))
            if formula is not None:
                names_video = video_id(formula) is not None
                if not cells[index] or (names_video and video_id(cells[index]) is None):
                    cells[index] = formula
                    self.uncomputed += not names_video
            link = self._behind.links.get((row, index + 1))
            if link is not None and _names_something(link) and not _names_something(cells[index]):
                cells[index] = link


def _names_something(text: str) -> bool:
    return video_id(text) is not None or find_source(text) is not None


def _no_sheet(path: str, names: list[str], wanted: str | None) -> UsageError:
    if not names or wanted is None:
        return UsageError(f"{path}: no sheet with cells in it")
    shown = ", ".join(ascii(name) for name in names[:20])
    return UsageError(
        f"{path}: no sheet {wanted!a}. Sheets: {shown}. Give one of these, or a number from 1 to {len(names)}."
    )


def _uncomputed(sheet: str, count: int) -> UsageError:
    formulas = "a formula" if count == 1 else f"{count:,} formulas"
    return UsageError(
        f"{sheet}: no column holds video ids or addresses, and {formulas} in it have no stored result: the program "
        "that wrote it did not calculate them. Open it in Excel or LibreOffice, save it there, and give it again."
    )


def _unreadable(path: str, stream: BinaryIO, said: str) -> UsageError:
    """Why calamine did not read it: often it is another sort of file, or has a password."""
    known = None if stream.closed else document(os.pread(stream.fileno(), HEAD_BYTES, 0))
    return ForeignInputError(f"{path}: {known}") if known else _broken(path, said)


def _broken(path: str, said: str) -> UsageError:
    said = said.splitlines()[0][:120] if said else "no reason given"
    return UsageError(
        f"{path}: not a workbook that can be read ({said}). Open it and save it again as .xlsx, or as CSV."
    )
