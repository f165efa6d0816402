"""The SQLite file of `engine.page.index`: its tables, and how several pages open and write it at once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from engine.queue.manifest import Checkpoint
from engine.storage import disk

VERSION = 2
BUSY_S = 60.0  # another page may write for long where the machine is crowded
BUSY_AGAIN_S = 0.02

_SCHEMA = """
CREATE TABLE read (
    inode INTEGER, position INTEGER, last_bytes INTEGER, last_crc32 INTEGER, rows INTEGER, step INTEGER
);
INSERT INTO read VALUES (0, 0, 0, 0, 0, 0);
CREATE TABLE sorts (sort INTEGER PRIMARY KEY, status TEXT, kind TEXT, rows INTEGER, UNIQUE (status, kind));
CREATE TABLE rows (n INTEGER PRIMARY KEY, at INTEGER, bytes INTEGER, sort INTEGER);
CREATE INDEX by_sort ON rows (sort, n, at, bytes);
CREATE TABLE words (n INTEGER PRIMARY KEY, words TEXT);
CREATE TABLE finished (at INTEGER PRIMARY KEY, rows INTEGER);
"""
_TABLES = ("read", "sorts", "rows", "words", "finished")


@dataclass(frozen=True, slots=True)
class ReadState:
    """Which manifest was read, how far, and the last line of that."""

    inode: int
    position: int = 0
    last_bytes: int = 0
    last_crc32: int = 0
    rows: int = 0
    step: int = 0  # of the bins in `finished`: which of STEPS_S

    def is_of(self, fd: int, checkpoint: Checkpoint) -> bool:
        """Whether what was read is the beginning of this manifest: whatever was taken out of it moved this line."""
        if os.fstat(fd).st_ino != self.inode or self.position > checkpoint.length:
            return False
        return zlib.crc32(os.pread(fd, self.last_bytes, self.position - self.last_bytes)) == self.last_crc32


@contextlib.contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """The index, made if it is missing, damaged or of another version.

    Raises sqlite3.OperationalError when the disk is full or another page holds the file for a minute.
    """
    with contextlib.closing(_connect(path)) as db:
        yield db


def remove(path: str) -> None:
    """Delete the index."""
    for end in ("", "-wal", "-shm"):
        disk.unlink_quietly(path + end)


def _connect(path: str) -> sqlite3.Connection:
    deadline = time.monotonic() + BUSY_S
    damaged = False
    while True:
        try:
            return _connect_once(path)
        except sqlite3.OperationalError as exc:
            # SQLite waits for a lock by itself, but not always while another connection makes the file a WAL
            # one, recovers it, or closes it as the last (sqlite.org/wal.html, "SQLITE_BUSY in WAL mode").
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_AGAIN_S)
        except (sqlite3.DatabaseError, TypeError):
            if damaged:
                raise
            damaged = True
            remove(path)


def _connect_once(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            db.execute("PRAGMA journal_mode = WAL")
            with transaction(db):
                if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                    make(db)
        db.execute("PRAGMA synchronous = NORMAL")
        read_state(db)
    except BaseException:
        db.close()
        raise
    return db


def read_state(db: sqlite3.Connection) -> ReadState:
    """How far the manifest has been read."""
    return ReadState(
        *db.execute("SELECT inode, position, last_bytes, last_crc32, rows, step FROM read").fetchone()
    )


def make(db: sqlite3.Connection) -> None:
    """Empty tables."""
    for table in _TABLES:
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing; whoever else writes is waited for."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
