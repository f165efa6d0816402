"""The cells of a sheet, read by python-calamine in a process of its own.

    python sheet_process.py [SHEET] < workbook

A hostile or damaged workbook may claim any size, and calamine then panics or aborts: here that ends a child with
bounds on memory and time, not the engine. It prints lines of JSON: which sheet it is, then lists of rows, or what
went wrong. It imports nothing of the engine, so that it starts fast.
"""

from __future__ import annotations

import datetime
import io
import itertools
import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

MAX_MEMORY_BYTES = 4 << 30
MAX_CPU_S = 600
ROWS_A_LINE = 500
EXACT = 2**53  # beyond it a float does not say which whole number was meant


def main() -> None:
    """Answer on stdout: one object about the sheet, then lists of rows; or one object with an `error`."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    try:
        for line in answer(sys.argv[1] if len(sys.argv) > 1 else None):
            print(json.dumps(line, default=_text))
    except BrokenPipeError:
        return
    except BaseException as exc:  # noqa: BLE001 - a panic of calamine's is no Exception
        print(json.dumps({"error": str(exc) or type(exc).__name__}))


def answer(wanted: str | None) -> Iterator[Any]:
    """{"names": of all sheets, "sheet": the chosen one or None}, then the rows from A1 on."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum

    # Read as a whole before anything is answered: our parent uses the same open file afterwards.
    book = CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
    names = [sheet.name for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    chosen = choose(names, wanted)
    yield {"names": names, "sheet": chosen}
    if chosen is not None:
        sheet = book.get_sheet_by_name(chosen)
        before = [""] * (sheet.start[1] if sheet.start else 0)
        rows = (_row(before, row) for row in sheet.iter_rows())
        while some := list(itertools.islice(rows, ROWS_A_LINE)):
            yield some


def choose(names: list[str], wanted: str | None) -> str | None:
    """The first sheet, or the one with this name or number from 1."""
    if wanted is None:
        return names[0] if names else None
    for name in names:
        if name.strip().casefold() == wanted.strip().casefold():
            return name
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:6]) <= len(names):
        return names[int(wanted[:6]) - 1]
    return None


def _row(before: list[str], row: list[Any]) -> list[Any]:
    """The cells from column A to the last that holds something."""
    while row and row[-1] == "":
        row.pop()
    return [*before, *map(_plain, row)] if row else row


def _plain(value: Any) -> Any:
    """A workbook knows no whole numbers: those that are whole are meant so."""
    if type(value) is float:
        if value.is_integer() and abs(value) < EXACT:
            return int(value)
        return value if abs(value) < float("inf") else str(value)
    return value


def _text(value: Any) -> str:
    """Times as ISO 8601, anything else as its text."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


if __name__ == "__main__":
    main()
