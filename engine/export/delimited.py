"""CSV that opens in Excel and in pandas: UTF-8 with a byte-order mark, commas, dates that both take, no formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from engine.export.columns import TableColumns
from engine.export.row_filter import sql_value

MAX_CELL_CHARS = 32_767  # of Excel; it puts the rest of a longer text into other cells
_FORMULA = re.compile(
    "'*[=+\\-@\t\r\n]"
)  # with apostrophes in front, so that one more can be taken away again
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?Z")
_AS_IT_IS = frozenset({"id", "url"})  # programs read them


def header(columns: TableColumns) -> bytes:
    """The mark and the line of names."""
    return b"\xef\xbb\xbf" + _lines([[_harmless(name) for name in columns.names]]).encode()


def to_csv(rows: Iterable[Mapping[str, Any]], columns: TableColumns) -> tuple[bytes, int]:
    """The rows as lines, and how many cells are too long for Excel."""
    names = columns.names
    cells = [[_cell(name, row[name]) for name in names] for row in rows]
    long = sum(len(cell) > MAX_CELL_CHARS for row in cells for cell in row)
    return _lines(cells).encode(), long


def _lines(cells: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(cells)
    return text.getvalue()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)  # all digits, also of one that no database holds
    value = sql_value(name, value)
    if not isinstance(value, str):
        return str(value)
    if name in _AS_IT_IS:
        return value
    if name == "finished_at":
        found = _TIME.fullmatch(value)
        return f"{found[1]} {found[2]}" if found else _harmless(value)
    return _harmless(value)


def _harmless(text: str) -> str:
    """With an apostrophe in front of what a spreadsheet would take for a formula. A number stays one.

    NUL ends a text for many readers, so it is left out.
    """
    text = text.replace("\0", "")
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
