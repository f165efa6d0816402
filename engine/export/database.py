"""An SQLite database: a table `videos`, and a full-text index over title, channel and text that folds diacritics.

`datasette` opens it, and `engine search --db` searches it. The segments are JSON in a column. What is new goes into a
database that is there in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from engine.errors import UsageError
from engine.export.columns import TableColumns
from engine.export.row_filter import quoted, sql_value
from engine.storage import disk

_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
_INDEXED = ("title", "channel", "text")
_TOKENS = "unicode61 remove_diacritics 2"
_MAX_VARIABLES = 900  # older libraries take no more than 999


def to_tuple(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row's values as SQLite stores them."""
    return tuple(
        orjson.dumps(value).decode() if name == "segments" and value is not None else sql_value(name, value)
        for name, value in row.items()
    )


class VideoDatabase:
    """A database that is being written. What `add` was given is there after `finish`, all of it or nothing."""

    def __init__(self, path: str, columns: TableColumns, *, fresh: bool) -> None:
        """Raises UsageError when the file that is there is no such database."""
        self._path = path
        self._names = columns.names
        self._indexed = tuple(name for name in _INDEXED if name in self._names)
        self._fresh = fresh
        self._db = sqlite3.connect(path, isolation_level=None, timeout=60)
        try:
            if fresh:
                self._db.execute("PRAGMA journal_mode = OFF")
                self._db.execute("PRAGMA synchronous = OFF")
            self._db.execute("BEGIN IMMEDIATE")
            self._make(columns) if fresh else self._widen(columns)
        except sqlite3.Error as exc:
            self._db.close()
            raise UsageError(f"{path}: {exc}", path=path) from None
        marks = ", ".join("?" * len(self._names))
        self._insert = f"INSERT INTO videos ({self._list(self._names)}) VALUES ({marks})"  # noqa: S608

    @staticmethod
    def _list(names: Iterable[str]) -> str:
        return ", ".join(map(quoted, names))

    def _make(self, columns: TableColumns) -> None:
        taken = {name.casefold() for name in self._names}
        key = "n"  # keeps the row numbers, which the index refers to, through a VACUUM
        while key in taken:
            key += "_"
        defined = [f"{quoted(key)} INTEGER PRIMARY KEY"]
        defined += [
            f"{quoted(name)} {_TYPES.get(kind, 'TEXT')}{' UNIQUE NOT NULL' if name == 'id' else ''}"
            for name, kind in zip(columns.names, columns.types, strict=True)
        ]
        self._db.execute(f"CREATE TABLE videos ({', '.join(defined)})")
        self._db.execute(
            f"CREATE VIRTUAL TABLE videos_fts USING fts5({self._list(self._indexed)}, content='videos', "
            f"content_rowid={quoted(key)}, tokenize='{_TOKENS}')"
        )

    def _widen(self, columns: TableColumns) -> None:
        """Add the columns that are new."""
        there = {str(row[1]).casefold() for row in self._db.execute("PRAGMA table_info(videos)")}
        if "id" not in there:
            raise UsageError(f"{self._path}: it has no table `videos`: export it again without --new")
        indexed = [str(row[1]) for row in self._db.execute("PRAGMA table_info(videos_fts)")]
        self._indexed = tuple(name for name in indexed if name in self._names)
        for name, kind in zip(columns.names, columns.types, strict=True):
            if name.casefold() not in there:
                self._db.execute(f"ALTER TABLE videos ADD COLUMN {quoted(name)} {_TYPES.get(kind, 'TEXT')}")

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows; one whose video is there takes its place."""
        if not self._fresh:
            self._remove([row[self._names.index("id")] for row in rows])
        before = self._last()
        self._db.executemany(self._insert, rows)
        names = self._list(self._indexed)
        self._db.execute(
            f"INSERT INTO videos_fts (rowid, {names}) SELECT rowid, {names} FROM videos WHERE rowid > ?",  # noqa: S608
            (before,),
        )

    def _last(self) -> int:
        (last,) = self._db.execute("SELECT coalesce(max(rowid), 0) FROM videos").fetchone()
        return int(last)

    def _remove(self, ids: Sequence[str]) -> None:
        names = self._list(self._indexed)
        for at in range(0, len(ids), _MAX_VARIABLES):
            some = ids[at : at + _MAX_VARIABLES]
            which = f"id IN ({', '.join('?' * len(some))})"
            self._db.execute(
                f"INSERT INTO videos_fts (videos_fts, rowid, {names}) "  # noqa: S608
                f"SELECT 'delete', rowid, {names} FROM videos WHERE {which}",
                some,
            )
            self._db.execute(f"DELETE FROM videos WHERE {which}", some)  # noqa: S608

    def finish(self) -> None:
        """Make it complete and durable."""
        self._db.execute("INSERT INTO videos_fts (videos_fts) VALUES ('optimize')")
        self._db.execute("COMMIT")
        self._db.close()
        disk.sync_file(self._path)

    def close(self) -> None:
        """Leave it as it was before, if it is not finished."""
        self._db.close()
