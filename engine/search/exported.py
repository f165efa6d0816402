"""Searches an SQLite export: a table `videos`, and an FTS5 table over its texts with the same row ids.

What other columns there are is looked up, so an export of any version will do. Times come from the segments, if it
has them: a column of JSON in `videos`, or a table with `start` and `text`.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from engine.errors import UsageError
from engine.search.hits import CLOSE, OPEN, Marked, SearchHit, hit

_IDS = ("id", "video_id")


@dataclass(frozen=True, slots=True)
class _Layout:
    """What an export has: its full-text table with the columns there, and the columns of `videos`."""

    index: str
    indexed: tuple[str, ...]
    columns: tuple[str, ...]
    id: str
    segments: str  # an SQL expression for a video's segments as JSON

    def column(self, name: str) -> str:
        return f"v.{_quoted(name)}" if name in self.columns else "NULL"

    def marked(self, name: str) -> str:
        """An indexed column with the hits in it marked."""
        if name not in self.indexed:
            return "NULL"
        return f"highlight({_quoted(self.index)}, {self.indexed.index(name)}, '{OPEN}', '{CLOSE}')"


def find(path: str, query: str, choose: Callable[[Iterable[str]], list[str] | None]) -> Iterator[SearchHit]:
    """The best place of each video that matches. `choose` says which languages are wanted, None for all.

    Raises UsageError when the file is no such export, sqlite3.OperationalError for a query that FTS5 does not
    understand.
    """
    with closing(_opened(path)) as db:
        layout = _layout(db, path)
        where = ""
        more: tuple[str, ...] = ()
        if "language" in layout.columns:
            offered = [
                str(code)
                for (code,) in db.execute("SELECT DISTINCT language FROM videos WHERE language > ''")
            ]
            chosen = choose(offered)
            if chosen is not None:
                where, more = f" AND v.language IN ({','.join('?' * len(chosen))})", tuple(chosen)
        index = _quoted(layout.index)
        marked = ", ".join(map(layout.marked, ("text", "title", "channel")))
        rows = db.execute(
            f"SELECT v.{_quoted(layout.id)}, {layout.column('title')}, {layout.column('channel')}, "  # noqa: S608
            f"{layout.column('language')}, {marked}, {layout.segments} "
            f"FROM {index} CROSS JOIN videos v ON v.rowid = {index}.rowid WHERE {index} MATCH ?{where} ORDER BY rank",
            (query, *more),
        )
        for *about, highlighted, title, channel, segments in rows:
            others = (text for text in (title, channel) if text and OPEN in text)
            yield _hit(about, highlighted or "", segments, others)


def _hit(
    about: list[Any], highlighted: str, segments: object, title_and_channel: Iterable[str | None]
) -> SearchHit:
    found = Marked.parse(highlighted)
    if not found.marks:  # found in the title or the channel
        return hit(about, next(filter(None, title_and_channel), about[1] or ""), [None])
    begin, _ = found.densest()
    return hit(about, highlighted.replace("\n", " "), [_start(found.text, begin, segments)])


def _start(text: str, offset: int, segments: object) -> float | None:
    """When the segment starts that holds an offset of the text."""
    try:
        pieces = json.loads(segments) if isinstance(segments, str | bytes) else []
        found, at = None, 0
        for piece in pieces:
            said = piece["text"].replace("\n", " ")
            begin = text.find(said, at)
            if begin > offset:
                break
            if begin >= 0:
                found, at = float(piece["start"]), begin + len(said)
        return found
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _opened(path: str) -> sqlite3.Connection:
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as exc:
        raise UsageError(f"--db {path}: {exc.strerror}", path=path) from None
    if head != b"SQLite format 3\0":
        raise UsageError(
            f"--db {path}: this is no SQLite file. `engine export --to sqlite` makes one", path=path
        )
    return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=60)


def _layout(db: sqlite3.Connection, path: str) -> _Layout:
    tables = dict(db.execute("SELECT name, coalesce(sql, '') FROM sqlite_master WHERE type = 'table'"))
    columns = _columns(db, "videos") if "videos" in tables else ()
    id_column = next((name for name in _IDS if name in columns), None)
    if id_column is None:
        raise UsageError(f"--db {path}: there is no table `videos` with an `id` in it", path=path)
    for name, sql in tables.items():
        if re.search(r"\busing\s+fts5\b", sql, re.IGNORECASE) and "text" in (own := _columns(db, name)):
            segments = _segments(db, tables, columns, id_column)
            return _Layout(name, own, columns, id_column, segments)
    raise UsageError(
        f"--db {path}: it has no full-text index with a column `text`. Export it again, with texts", path=path
    )


def _segments(db: sqlite3.Connection, tables: Iterable[str], videos: tuple[str, ...], id_column: str) -> str:
    if "segments" in videos:
        return "v.segments"
    own = _columns(db, "segments") if "segments" in tables else ()
    key = next((name for name in ("video_id", "id") if name in own), None)
    if key is None or not {"start", "text"} <= set(own):
        return "NULL"
    return (
        "(SELECT json_group_array(json_object('start', s.start, 'text', s.text)) FROM "  # noqa: S608
        f"(SELECT start, text FROM segments WHERE {_quoted(key)} = v.{_quoted(id_column)} ORDER BY start) s)"
    )


def _columns(db: sqlite3.Connection, table: str) -> tuple[str, ...]:
    return tuple(str(row[1]) for row in db.execute(f"PRAGMA table_info({_quoted(table)})"))


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
