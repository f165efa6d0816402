"""Tables that hold a row for each of many videos and are no text: what `engine export` makes, or data sets like it.

| file                      | a row's number      | times |
|---------------------------|---------------------|-------|
| `.parquet`                | its place, from 0   | yes   |
| `.db .sqlite .sqlite3`    | the rowid of SQLite | yes   |
| `.xlsx`                   | its line            | no    |

A row counts if it names a video and its status is `ok`; in a table without a column `status`, if it has captions.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple
from urllib.parse import quote

from engine.errors import UsageError
from engine.inputs.many_transcripts import EXPORT_COLUMNS
from engine.inputs.video_ids import video_id

PARQUET = frozenset({"parquet"})
DATABASES = frozenset({"db", "sqlite", "sqlite3"})
WORKBOOKS = frozenset({"xlsx"})
_IDS = ("video_id", "id")
_CAPTIONS = ("segments", "snippets", "transcript")
_HEAD = b"SQLite format 3\0"
_SURVEY_ROWS = 4096
_MAX_GROUP_BYTES = 1 << 30
_GROUPS_KEPT = 4


class TableRow(NamedTuple):
    """A row of a table: whose it is, where it is, and whether it has captions with times."""

    video_id: str
    number: int
    timed: bool


def is_table(path: str) -> bool:
    """Whether a name is that of such a table."""
    return _ending(path) in PARQUET | DATABASES | WORKBOOKS


def rows(path: str) -> Iterator[TableRow]:
    """The rows that count; none where it is a table of something else.

    Raises UsageError for a file that cannot be read, also because a package is missing, and OSError.
    """
    ending = _ending(path)
    found = _of_parquet if ending in PARQUET else _of_database if ending in DATABASES else _of_workbook
    return found(path)


def row(path: str, number: int) -> dict[str, Any]:
    """One row as a JSON object, its captions as a list. Raises ValueError in words, and OSError."""
    if _ending(path) in PARQUET:
        about = os.stat(path)
        return _opened(path, about.st_mtime_ns, about.st_size).row(number)
    return _database_row(path, number)


def check_packages(path: str) -> None:
    """Raise UsageError, which names the extra, where reading this table takes a package that is not installed."""
    if _ending(path) in PARQUET:
        _pyarrow(path)
    elif _ending(path) in WORKBOOKS:
        from engine.inputs.workbook import check_package

        check_package(path)


def database_ids(path: str) -> Iterator[str] | None:
    """All ids in a database of `engine export`, whatever became of them; None where it is no database."""
    if _ending(path) not in DATABASES or not os.path.isfile(path):  # a pipe is read only once
        return None
    with open(path, "rb") as file:
        if file.read(len(_HEAD)) != _HEAD:
            return None
    return _database_ids(path)


def _database_ids(path: str) -> Iterator[str]:
    with _database(path) as (db, _, key):
        for (name,) in db.execute(f"SELECT {key} FROM videos"):  # noqa: S608
            if isinstance(name, str) and video_id(name) == name:
                yield name


def _ending(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _counts(name: object, status: object, *, captions: bool, has_status: bool) -> bool:
    if not isinstance(name, str) or video_id(name) != name:
        return False
    return status == "ok" if has_status else captions


# ---- Parquet --------------------------------------------------------------------------------------------
def _pyarrow(path: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            f"{path}: a Parquet file: pip install '.[parquet]' in engine's directory to read it"
        ) from None
    return parquet


def _of_parquet(path: str) -> Iterator[TableRow]:
    parquet = _pyarrow(path)
    import pyarrow

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            key = next((name for name in _IDS if name in schema.names), None)
            said = next((name for name in _CAPTIONS if _is_list(schema, name)), None)
            if key is None or not ("status" in schema.names or said):
                return
            wanted = [key, *(["status"] if "status" in schema.names else []), *([said] if said else [])]
            number = 0
            for batch in file.iter_batches(batch_size=_SURVEY_ROWS, columns=wanted):
                table = pyarrow.Table.from_batches([batch])
                names = table[key].to_pylist()
                blank = [None] * len(names)
                statuses = table["status"].to_pylist() if "status" in wanted else blank
                timed = table[said].is_valid().to_pylist() if said else [False] * len(names)
                for name, status, captions in zip(names, statuses, timed, strict=True):
                    if _counts(name, status, captions=captions, has_status="status" in wanted):
                        yield TableRow(name, number, captions)
                    number += 1
    except (pyarrow.ArrowException, ValueError) as exc:
        raise UsageError(f"{path}: not a Parquet file that can be read ({_first(exc)})") from None


def _is_list(schema: Any, name: str) -> bool:
    from pyarrow import types

    return name in schema.names and any(
        check(schema.field(name).type) for check in (types.is_list, types.is_large_list)
    )


@functools.lru_cache(maxsize=4)
def _opened(path: str, mtime_ns: int, size: int) -> _ParquetRows:
    """The rows of a file as it is now."""
    return _ParquetRows(path)


class _ParquetRows:
    """Single rows of a Parquet file; the row groups that were read last are kept, as rows are asked for in turn."""

    def __init__(self, path: str) -> None:
        """Raises ValueError for what is no Parquet file."""
        import pyarrow

        self._broken = pyarrow.ArrowException
        try:
            self._file = _pyarrow(path).ParquetFile(path)
        except self._broken as exc:
            raise ValueError(f"not a Parquet file that can be read ({_first(exc)})") from None
        about = self._file.metadata
        self._groups = [about.row_group(at) for at in range(about.num_row_groups)]
        self._starts = [0, *accumulate(group.num_rows for group in self._groups)]
        self._group = functools.lru_cache(maxsize=_GROUPS_KEPT)(self._read)

    def _read(self, at: int) -> Any:
        if self._groups[at].total_byte_size > _MAX_GROUP_BYTES:
            raise ValueError(f"a row group of more than {_MAX_GROUP_BYTES >> 30} GiB")
        return self._file.read_row_group(at)

    def row(self, number: int) -> dict[str, Any]:
        at = bisect_right(self._starts, number) - 1
        try:
            found = self._group(at).slice(number - self._starts[at], 1).to_pylist()
        except (self._broken, IndexError) as exc:
            raise ValueError(f"row {number} cannot be read ({_first(exc)})") from None
        return dict(found[0])


# ---- SQLite ---------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _database(path: str) -> Iterator[tuple[sqlite3.Connection, list[str], str]]:
    """A database, opened to be read, the columns of its table `videos`, and which one has the ids (`` if none)."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True)
        ) as db:
            names = [str(each[1]) for each in db.execute("PRAGMA table_info(videos)")]
            yield db, names, next((name for name in _IDS if name in names), "")
    except sqlite3.Error as exc:
        raise UsageError(f"{path}: not a database that can be read ({exc})") from None


def _of_database(path: str) -> Iterator[TableRow]:
    with open(path, "rb") as file:
        if file.read(len(_HEAD)) != _HEAD:  # thumbs.db, for one
            return
    with _database(path) as (db, names, key):
        if not key or not {"status", "segments"} & set(names):
            return
        has_status, said = "status" in names, "segments IS NOT NULL" if "segments" in names else "0"
        status = "status" if has_status else "NULL"
        for name, number, state, timed in db.execute(
            f"SELECT {key}, rowid, {status}, {said} FROM videos ORDER BY rowid"  # noqa: S608
        ):
            if _counts(name, state, captions=bool(timed), has_status=has_status):
                yield TableRow(name, number, bool(timed))


def _database_row(path: str, number: int) -> dict[str, Any]:
    try:
        with _database(path) as (db, names, _):
            found = db.execute("SELECT * FROM videos WHERE rowid = ?", (number,)).fetchone()
    except UsageError as exc:
        raise ValueError(str(exc)) from None
    if found is None:
        raise ValueError(f"row {number} is not there any more")
    values = dict(zip(names, found, strict=True))
    if isinstance(values.get("segments"), str):
        values["segments"] = json.loads(values["segments"])
    if isinstance(values.get("is_generated"), int):
        values["is_generated"] = bool(values["is_generated"])
    return values


# ---- workbooks ------------------------------------------------------------------------------------------
def _of_workbook(path: str) -> Iterator[TableRow]:
    """The rows of a workbook that `engine export` made; of any other none, as it may be a list of what is wanted."""
    from engine.inputs.workbook import read_workbook

    for line in read_workbook(path):
        if not line.input.keys() >= EXPORT_COLUMNS - {"id"}:
            return
        if line.video_id is not None and line.input["status"] == "ok":
            yield TableRow(line.video_id, line.line, False)


def _first(exc: BaseException) -> str:
    return str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__
