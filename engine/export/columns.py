"""The columns of the tables: ours, then the user's own, whose names and types are found in a first reading.

A row of a table is a list of values in the order of the columns. Times are text in ISO 8601, UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.export.spoken_text import text_and_words
from engine.output.plain_text import one_line, replaced

# name: type. The order is that of the columns.
OURS = {
    "id": "text",
    "url": "text",
    "status": "text",
    "kind": "text",
    "message": "text",
    "title": "text",
    "channel": "text",
    "channel_id": "text",
    "published": "text",
    "duration_s": "int",
    "views": "int",
    "language": "text",
    "is_generated": "bool",
    "words": "int",
    "text": "text",
    "segments": "segments",
    "paths": "list",
    "requests": "int",
    "bytes": "int",
    "way": "text",
    "finished_at": "time",
    "input_order": "int",
}
PREFIX = "input_"  # in front of a user's column that has the name of another
MAX_USER_COLUMNS = 1000  # SQLite and spreadsheets end at 2,000 and 16,384
OTHERS = "other_columns"  # what is beyond them, as JSON
_MAX_NAME_CHARS = 200
_MAX_INT = 2**63
_EXACT_FLOAT = 2**53


@dataclass(slots=True)
class FoundColumns:
    """The user's columns in some rows: the types of the values of each, in the order they first came."""

    types: dict[str, set[str]] = field(default_factory=dict)
    more: bool = False  # there were others

    def add(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            known = self.types.get(name)
            if known is None:
                if len(self.types) >= MAX_USER_COLUMNS:
                    self.more = True
                    continue
                known = self.types[name] = set()
            known.add(_type_of(value))

    def merge(self, other: FoundColumns) -> None:
        """Add what was found in later rows."""
        self.more = self.more or other.more
        for name, types in other.types.items():
            if name in self.types:
                self.types[name] |= types
            elif len(self.types) < MAX_USER_COLUMNS:
                self.types[name] = set(types)
            else:
                self.more = True


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) < _EXACT_FLOAT else "bigint" if -_MAX_INT <= value < _MAX_INT else "text"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) else "json"


def _common_type(found: set[str]) -> str:
    """The narrowest type that holds all values."""
    types = found - {"null"}
    if types <= {"int", "bigint"}:
        return "int" if types else "text"
    if types <= {"int", "float"}:
        return "float"
    return types.pop() if len(types) == 1 else "text"


@dataclass(frozen=True, slots=True)
class UserColumn:
    """A column of the user's: `key` in the input, `name` in the table, and the type of its values."""

    key: str
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class TableColumns:
    """All columns of one table. `text` and `segments` are left out of some."""

    ours: tuple[str, ...]
    users: tuple[UserColumn, ...]
    others: str | None = None  # the name of the column for what is beyond the limit

    @property
    def names(self) -> tuple[str, ...]:
        more = (self.others,) if self.others else ()
        return (*self.ours, *(column.name for column in self.users), *more)

    @property
    def types(self) -> tuple[str, ...]:
        more = ("json",) if self.others else ()
        return (*(OURS[name] for name in self.ours), *(column.type for column in self.users), *more)

    @property
    def by_name(self) -> dict[str, str]:
        """The type of each column."""
        return dict(zip(self.names, self.types, strict=True))

    def without(self, *names: str) -> TableColumns:
        return TableColumns(tuple(name for name in self.ours if name not in names), self.users, self.others)


def table_columns(found: FoundColumns) -> TableColumns:
    """Our columns and the user's. No two names are the same, whatever case they are in: databases fold it."""
    taken = set(OURS)
    users = []
    for key, types in found.types.items():
        name = _free_name(key, taken)
        users.append(UserColumn(key, name, _common_type(types)))
    return TableColumns(tuple(OURS), tuple(users), _free_name(OTHERS, taken) if found.more else None)


def _free_name(key: str, taken: set[str]) -> str:
    base = name = one_line(key)[:_MAX_NAME_CHARS].strip() or "column"
    number = 1
    while name.casefold() in taken:
        name = f"{PREFIX}{base}" if number == 1 else f"{PREFIX}{base}_{number}"
        number += 1
    taken.add(name.casefold())
    return name


def table_row(
    row: Mapping[str, Any], record: Mapping[str, Any] | None, columns: TableColumns
) -> dict[str, Any]:
    """A row's values by column; those that need the record are None without one."""
    values = {name: _checked(row.get(name), OURS[name]) for name in columns.ours}
    values |= dict.fromkeys(columns.names[len(columns.ours) :])
    video_id = replaced(str(row["video_id"]))
    values["id"] = video_id
    values["url"] = f"https://www.youtube.com/watch?v={video_id}"
    values["paths"] = _paths(row.get("files"))
    if "text" in values:
        values["text"] = None
    if record is not None:
        _fill_from_record(values, record)
    _fill_users(values, row.get("input"), columns)
    return values


def needs_record(row: Mapping[str, Any], columns: Iterable[str]) -> bool:
    """Whether the record of an `ok` row has to be read for these columns."""
    if row.get("status") != "ok":
        return False
    return any(
        name in ("text", "segments") or (name in ("published", "views", "words") and row.get(name) is None)
        for name in columns
    )


def _fill_from_record(values: dict[str, Any], record: Mapping[str, Any]) -> None:
    """Add what only the record has, and what rows of earlier versions lack."""
    about = record["metadata"]
    if values.get("published") is None:
        dates = (about.get(name) for name in ("published", "publish_date", "upload_date"))
        values["published"] = _checked(next(filter(None, dates), None), "text")
    if values.get("views") is None:
        values["views"] = _checked(about.get("view_count"), "int")
    if "segments" in values:
        values["segments"] = record["transcript"]["segments"]
    if "text" in values or values["words"] is None:
        text, words = text_and_words(record["transcript"])
        if "text" in values:
            values["text"] = text
        if values["words"] is None:
            values["words"] = words


def _fill_users(values: dict[str, Any], given: object, columns: TableColumns) -> None:
    if not isinstance(given, dict) or not given:
        return
    known = set()
    for column in columns.users:
        if column.key in given:
            known.add(column.key)
            values[column.name] = _checked(given[column.key], column.type)
    if columns.others and (rest := {key: given[key] for key in given if key not in known}):
        values[columns.others] = _checked(rest, "json")


def _paths(files: object) -> list[str]:
    return [replaced(str(path)) for path in files.values()] if isinstance(files, dict) else []


def _checked(value: Any, kind: str) -> Any:
    """The value as this type has it; None when it cannot be that. JSON stays as it is."""
    if value is None or kind == "json":
        return value
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if kind == "int":
        whole = isinstance(value, int) and not isinstance(value, bool) and -_MAX_INT <= value < _MAX_INT
        return value if whole else None
    if kind == "float":
        return float(value) if isinstance(value, int | float) else None
    if kind in ("segments", "list"):
        return None
    return replaced(value) if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """A value as JSON text, for where only text can be."""
    return replaced(json.dumps(value, ensure_ascii=False))
