"""The index file: one SQLite database a queue in the user's cache directory.

    videos   a row for each video that is `ok` in the manifest
    windows  FTS5; the row id is the video's number and, in the last 24 bits, the second at which the window starts
             (0: the row of the title, which
             counts less)
    state    one row: how far the manifest is in the index

SQLite writes this file by itself, in whole transactions: what is killed leaves the index as it was before the last. A
damaged file is made anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from engine.errors import DiskError, EngineError, UsageError
from engine.search.hits import CLOSE, OPEN
from engine.search.windows import Window, separated
from engine.storage import disk
from engine.storage.user_cache import user_cache

LAYOUT = 1
BUSY_S = 60.0
START_BITS = 24
_CACHE_KIB = 64 << 10  # what one transaction writes fits into it, so nothing is written before its end
_SCHEMA = """
CREATE TABLE videos (number INTEGER PRIMARY KEY, video_id TEXT NOT NULL UNIQUE, title TEXT, channel TEXT,
    language TEXT, stamp TEXT NOT NULL, generation INTEGER NOT NULL, held INTEGER NOT NULL);
CREATE INDEX missing ON videos (number) WHERE NOT held;
CREATE TABLE state (inode INTEGER NOT NULL, offset INTEGER NOT NULL, tail INTEGER NOT NULL,
    generation INTEGER NOT NULL, swept INTEGER NOT NULL);
INSERT INTO state VALUES (0, 0, 0, 0, 1);
CREATE VIRTUAL TABLE windows USING fts5(text, title, starts UNINDEXED,
    tokenize = 'unicode61 remove_diacritics 2');
INSERT INTO windows (windows, rank) VALUES ('rank', 'bm25(1.0, 0.1)');
"""
_FIND = f"""
SELECT v.video_id, v.title, v.channel, v.language, starts,
    highlight(windows, 0, '{OPEN}', '{CLOSE}') || highlight(windows, 1, '{OPEN}', '{CLOSE}')
FROM windows CROSS JOIN videos v ON v.number = windows.rowid >> {START_BITS}
WHERE windows MATCH ?{{where}} ORDER BY rank
"""  # noqa: S608 - all of it is our own


@dataclass(frozen=True, slots=True)
class Position:
    """How far the manifest is in the index: its inode, the bytes read, and the CRC-32 of the last of them.

    Rows seen since the manifest was last replaced are of this `generation`; when `swept`, there are no others.
    """

    inode: int
    offset: int
    tail: int
    generation: int
    swept: bool


def path_of(name: str) -> str:
    """The path of the index of this name. The layout is part of it: another engine may have another."""
    return user_cache("search", f"{name}.{LAYOUT}.sqlite3")


class Index:
    """An open index. One thread at a time. Use `reading` and `writing` around what belongs together."""

    def __init__(self, path: str) -> None:
        """Open the index, making it if it is missing or damaged.

        Raises UsageError or DiskError when it cannot be written.
        """
        self.path = path
        self._db = _opened(path)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def writing(self, wait_s: float = BUSY_S) -> Iterator[bool]:
        """A transaction that writes; False when another process still writes after `wait_s`."""
        self._db.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if not is_busy(exc):
                raise
            yield False
            return
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        try:
            yield True
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()

    # ---- what follows the manifest --------------------------------------------------------------------------
    def state(self) -> Position:
        inode, offset, tail, generation, swept = self._db.execute("SELECT * FROM state").fetchone()
        return Position(inode, offset, tail, generation, bool(swept))

    def set_state(self, state: Position) -> None:
        self._db.execute(
            "UPDATE state SET inode = ?, offset = ?, tail = ?, generation = ?, swept = ?", astuple(state)
        )

    def seen(self, video_id: str, stamp: str, generation: int) -> bool:
        """Whether the video is held just so; notes the generation if it is."""
        done = self._db.execute(
            "UPDATE videos SET generation = ? WHERE video_id = ? AND stamp = ? AND held",
            (generation, video_id, stamp),
        )
        return done.rowcount > 0

    def put(
        self,
        about: Sequence[str | None],
        stamp: str,
        generation: int,
        windows: Iterator[Window] | None,
    ) -> None:
        """Take a video in, in place of what was held of it. `about`: id, title, channel, language; `windows` None:
        it could not be read."""
        self.remove(str(about[0]))
        number = self._db.execute(
            "INSERT INTO videos (video_id, title, channel, language, stamp, generation, held) VALUES (?,?,?,?,?,?,?)",
            (*about, stamp, generation, windows is not None),
        ).lastrowid
        if number is None or windows is None:
            return
        row_id = number << START_BITS
        rows = [(row_id, "", separated(" ".join((about[1] or "").split())), "")]
        for window in windows:
            row_id = max(row_id + 1, (number << START_BITS) | int(window.starts[0]))
            text = "\n".join(map(separated, window.lines))
            rows.append((row_id, text, "", " ".join(f"{start:.2f}" for start in window.starts)))
        self._db.executemany("INSERT INTO windows (rowid, text, title, starts) VALUES (?, ?, ?, ?)", rows)

    def remove(self, video_id: str) -> None:
        """Take a video out; nothing when it is not there."""
        found = self._db.execute("SELECT number FROM videos WHERE video_id = ?", (video_id,)).fetchone()
        if found is not None:
            first = found[0] << START_BITS
            last = first + (1 << START_BITS) - 1
            self._db.execute("DELETE FROM windows WHERE rowid BETWEEN ? AND ?", (first, last))
            self._db.execute("DELETE FROM videos WHERE number = ?", (found[0],))

    def older(self, generation: int, limit: int) -> list[str]:
        """Some videos that the manifest no longer has."""
        query = "SELECT video_id FROM videos WHERE generation <> ? LIMIT ?"
        return [found for (found,) in self._db.execute(query, (generation, limit))]

    def missing(self) -> list[tuple[str, str | None, str | None, str | None, str]]:
        """Id, title, channel, language and stamp of each video whose record could not be read so far."""
        query = "SELECT video_id, title, channel, language, stamp FROM videos WHERE NOT held"
        return self._db.execute(query).fetchall()

    # ---- what is asked ----------------------------------------------------------------------------------------
    def videos(self) -> int:
        """How many videos can be searched."""
        return int(self._db.execute("SELECT count(*) FROM videos WHERE held").fetchone()[0])

    def languages(self) -> list[str]:
        """The languages of the videos held."""
        query = "SELECT DISTINCT language FROM videos WHERE language IS NOT NULL"
        return [found for (found,) in self._db.execute(query)]

    def find(self, query: str, languages: Sequence[str] | None) -> Iterator[tuple[str | None, ...]]:
        """Id, title, channel, language, starts and highlighted text of each window that matches, the best first.

        Raises sqlite3.OperationalError for a query that FTS5 does not understand.
        """
        where, more = "", tuple(languages or ())
        if languages is not None:
            where = f" AND v.language IN ({','.join('?' * len(languages))})"
        yield from self._db.execute(_FIND.format(where=where), (query, *more))


def is_busy(exc: sqlite3.Error) -> bool:
    """Whether another process has the file locked."""
    return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damaged(exc: sqlite3.Error) -> bool:
    """Whether the file is no database, or one that is damaged."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def failed(path: str, exc: sqlite3.Error) -> EngineError:
    """The error about an index that cannot be used: the disk, permissions, or a lock that is never released."""
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    advice = "set XDG_CACHE_HOME to a directory with room; the index may be deleted at any time"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return DiskError(f"the search index {path} cannot be written: {exc}: {advice}", path=path)
    if is_busy(exc):
        return UsageError(f"the search index {path} is locked by another process: try again", path=path)
    if "no such module: fts5" in str(exc):
        return UsageError("this Python's SQLite was built without FTS5, which `engine search` needs")
    return UsageError(f"the search index {path} cannot be used: {exc}: {advice}", path=path)


def delete(path: str) -> None:
    """Remove an index and what SQLite keeps beside it."""
    for name in (path, f"{path}-journal"):
        disk.unlink_quietly(name)


def _opened(path: str) -> sqlite3.Connection:
    try:
        disk.ensure_dirs(os.path.dirname(path))
        try:
            return _connected(path)
        except sqlite3.DatabaseError as exc:
            if not is_damaged(exc):
                raise
            delete(path)
            return _connected(path)
    except OSError as exc:
        if disk.is_disk_error(exc):
            raise
        raise UsageError(
            f"no search index can be made in {os.path.dirname(path)}: {exc.strerror}. Set XDG_CACHE_HOME to a "
            "directory that can be written",
            path=path,
        ) from None
    except sqlite3.Error as exc:
        raise failed(path, exc) from None


def _connected(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if db.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            db.execute("BEGIN IMMEDIATE")  # of two that start at once, one makes the tables
            if db.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
                for statement in filter(None, map(str.strip, _SCHEMA.split(";"))):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {LAYOUT}")
            db.commit()
        db.execute("SELECT generation FROM state").fetchone()
    except BaseException:
        db.close()
        raise
    return db
