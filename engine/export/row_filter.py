"""`--where`: which rows an export takes, as an SQL expression over the table's columns.

SQLite evaluates it over a table in memory that holds some rows at a time. An authorizer lets it read that table and
call functions, and nothing else.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from engine.errors import UsageError, did_you_mean
from engine.export.columns import TableColumns, as_json

NUMBER = '"\x01"'  # our own column: a name that no column has, because theirs are cleaned
_TIMES = ("finished_at", "published")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d.*?)([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_NO_COLUMN = re.compile(r"no such column: (.+)")
_QUOTED = re.compile(r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"((?:[^"]|"")*)\"""", re.DOTALL)
_MAX_TEXT_BYTES = 1 << 28
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "randomblob", "zeroblob", "random"})


class RowFilter:
    """The expression, checked. `reads` are the columns that it looks at."""

    def __init__(self, expression: str, columns: TableColumns) -> None:
        """Raises UsageError for an expression that SQLite does not take."""
        self._columns = columns.names
        self._read: set[str] = set()
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_TEXT_BYTES)
        self._db.create_collation("times", _compared)
        defined = (quoted(name) + " COLLATE times" * (name in _TIMES) for name in self._columns)
        self._db.execute(f"CREATE TABLE videos ({NUMBER} INTEGER PRIMARY KEY, {', '.join(defined)})")
        self._query = f"SELECT {NUMBER} FROM videos WHERE (\n{expression}\n) ORDER BY 1"  # noqa: S608
        self._db.set_authorizer(self._allow)
        try:
            self._check_names(expression)
            # Without our parentheses first: else `a) OR (b` would fit into them.
            self._db.execute(f"SELECT 1 FROM videos WHERE\n{expression}\n")  # noqa: S608
            if self._db.execute(self._query).fetchall():  # of a table that is empty
                raise ValueError("this is more than an expression")
        except (sqlite3.Error, sqlite3.Warning, ValueError) as exc:
            unknown = _NO_COLUMN.fullmatch(str(exc))
            hint = did_you_mean(unknown[1], self._columns) if unknown else ""
            raise UsageError(
                f"--where {expression}: {exc}{hint or '.'} The columns are: {', '.join(self._columns)}"
            ) from None
        self._db.set_authorizer(None)
        self._expression = expression
        self.reads = tuple(name for name in self._columns if name in self._read)
        # What is not looked at stays empty.
        names = ", ".join((NUMBER, *map(quoted, self.reads)))
        self._insert = f"INSERT INTO videos ({names}) VALUES (?{', ?' * len(self.reads)})"  # noqa: S608

    def _check_names(self, expression: str) -> None:
        """Raise ValueError for a name in double quotes that no column has: SQLite would take it for a text."""
        known = {"videos", *(name.lower() for name in self._columns)}
        for found in _QUOTED.finditer(expression):
            name = (found[1] or "").replace('""', '"')
            if found[1] is not None and name.lower() not in known:
                raise ValueError(
                    f"there is no column {found[0]} (a text is written in single quotes: '{name}')"
                    + did_you_mean(name, self._columns).rstrip("?")
                )

    def chosen(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """The positions of the rows that it is true for, in order. Raises UsageError when it fails on one."""
        self._db.execute("DELETE FROM videos")
        self._db.executemany(
            self._insert,
            ((n, *(sql_value(name, row[name]) for name in self.reads)) for n, row in enumerate(rows)),
        )
        self._db.set_authorizer(self._allow)
        try:
            found = [n for (n,) in self._db.execute(self._query)]
        except sqlite3.Error as exc:
            raise UsageError(f"--where {self._expression}: {exc}") from None
        finally:
            self._db.set_authorizer(None)
        return [n for n in found if n in range(len(rows))]

    def _allow(
        self, action: int, first: str | None, second: str | None, _db: str | None, _by: str | None
    ) -> int:
        if action == sqlite3.SQLITE_READ and first == "videos":
            if second:
                self._read.add(second)
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and second not in _FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK if action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY


def _compared(one: str, other: str) -> int:
    """Two times as SQLite compares texts, whichever way they are written."""
    first, second = _as_time(one), _as_time(other)
    return (first > second) - (first < second)


@lru_cache(4096)
def _as_time(text: str) -> str:
    """`2026-11-26 11:05:28` in UTC, of a time in ISO 8601; any other text as it is."""
    found = _TIME.fullmatch(text)
    if found is None:
        return text
    if (found[3] or "Z") not in ("Z", "z"):
        with contextlib.suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(text).astimezone(UTC)
            return moment.replace(tzinfo=None).isoformat(" ")
    return f"{found[1]} {found[2]}"


def sql_value(name: str, value: Any) -> Any:
    """A column's value as SQLite stores it: truth as 0 and 1, `paths` a space apart, what else is nested as JSON."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    if name == "paths" and isinstance(value, list):
        return " ".join(value)
    return as_json(value) if isinstance(value, list | dict) else value


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
