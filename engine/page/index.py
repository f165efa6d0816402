"""An index of the manifest's rows, so that millions of them can be filtered, searched and paged through.

It is an SQLite file in the cache directory, not in the queue, and may be deleted. It follows the manifest as far as
the checkpoint promises it, some thousand rows at a step; several pages may do so at once, one writes. A row itself is
read from the manifest, at the place that the index holds. Another manifest (a retry writes one) is noticed by its
inode, its length, or another line where the last one was read; then the index is made anew.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.page.index_file import ReadState, make, opened, read_state, remove, transaction
from engine.queue.directory import Queue
from engine.queue.manifest import parse_row, read_checkpoint
from engine.queue.manifest_row import ManifestRow
from engine.report.timeline import MAX_BINS, STEPS_S, Timeline
from engine.storage.timestamps import seconds

STEP_ROWS = 5_000
SCAN_ROWS = 100_000  # looked at for words in one query
MAX_WORDS = 400  # characters of a row that can be searched


@dataclass(frozen=True, slots=True)
class TableFilter:
    """Which rows: of a status, of a kind, with all of these words (in lower case); empty: any."""

    status: str = ""
    kind: str = ""
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, status: str = "", kind: str = "", text: str = "") -> TableFilter:
        return cls(status, kind, tuple(_text(text.casefold()[:MAX_WORDS]).split()))


@dataclass(frozen=True, slots=True)
class IndexedRow:
    """A row of the manifest and its number in it, from 1."""

    n: int
    row: ManifestRow


@dataclass(frozen=True, slots=True)
class RowPage:
    """Some rows, the newest first. `next_before` is where the next ones begin, None: there are none.

    `complete` is false when a search was ended before it had found as many as were asked for.
    """

    rows: tuple[IndexedRow, ...]
    next_before: int | None
    complete: bool = True


class RowIndex:
    """The index of one queue's manifest, in the file `path`. Its methods may be called from any thread."""

    def __init__(self, root: str, path: str) -> None:
        self.queue = Queue(root)
        self.path = path

    # ---- following the manifest --------------------------------------------------------------------------
    def follow(self) -> bool:
        """Read the next rows; whether more are waiting. What is damaged is made anew.

        Raises OSError, and sqlite3.OperationalError when the disk is full or another page holds the file.
        """
        try:
            return self._follow()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self.remove()
            return True

    def remove(self) -> None:
        """Delete the index."""
        remove(self.path)

    def progress(self) -> float:
        """Which share of the manifest has been read, by bytes."""
        checkpoint = read_checkpoint(self.queue)
        if checkpoint is None or not checkpoint.length:
            return 1.0
        with opened(self.path) as db:
            return min(1.0, read_state(db).position / checkpoint.length)

    def _follow(self) -> bool:
        checkpoint = read_checkpoint(self.queue)
        if checkpoint is None:
            return False
        try:
            file = open(self.queue.manifest, "rb")
        except FileNotFoundError:
            return False
        with file, opened(self.path) as db:
            known = read_state(db)
            if known.is_of(file.fileno(), checkpoint) and known.position == checkpoint.length:
                return False
            with transaction(db):
                known = read_state(db)  # another page may have written meanwhile
                if not known.is_of(file.fileno(), checkpoint):
                    make(db)
                    known = ReadState(os.fstat(file.fileno()).st_ino)
                file.seek(known.position)
                step = _Step(db, known)
                for line in file:
                    if not line.endswith(b"\n") or step.position + len(line) > checkpoint.length or step.full:
                        break
                    step.add(line)
                step.write()
            return step.full

    # ---- looking -----------------------------------------------------------------------------------------
    def counts(self) -> dict[tuple[str, str], int]:
        """How many rows there are by status and kind (empty for `ok`)."""
        with opened(self.path) as db:
            return {
                (status, kind): rows
                for status, kind, rows in db.execute("SELECT status, kind, rows FROM sorts")
            }

    def size(self) -> int:
        """How many rows the index holds."""
        with opened(self.path) as db:
            return read_state(db).rows

    def page(self, wanted: TableFilter, *, before: int | None = None, count: int = 25) -> RowPage:
        """The newest rows of a filter, or those before row `before`. Without words, an index answers it at once.

        With words, SCAN_ROWS rows at most are looked at: `complete` is false then, and `next_before` is set.
        """
        with opened(self.path) as db:
            known = read_state(db)
            top = known.rows + 1 if before is None else min(before, known.rows + 1)
            bottom = max(1, top - SCAN_ROWS) if wanted.words else 1
            found = list(_search(db, wanted, top, bottom, count + 1))
        more = len(found) > count
        found = found[:count]
        next_before = found[-1][0] if more else bottom if bottom > 1 else None
        return RowPage(tuple(self._read(known.inode, found)), next_before, more or bottom == 1)

    def get(self, n: int, video_id: str) -> ManifestRow | None:
        """Row `n`, if it is this video's."""
        with opened(self.path) as db:
            inode = read_state(db).inode
            found = db.execute("SELECT n, at, bytes FROM rows WHERE n = ?", (n,)).fetchall()
        rows = [each.row for each in self._read(inode, found) if each.row.video_id == video_id]
        return rows[0] if rows else None

    def oldest(self, kind: str) -> ManifestRow | None:
        """The first row of a kind in the manifest."""
        with opened(self.path) as db:
            inode = read_state(db).inode
            sorts = db.execute("SELECT sort FROM sorts WHERE kind = ? AND rows > 0", (kind,)).fetchall()
            query = "SELECT n, at, bytes FROM rows INDEXED BY by_sort WHERE sort = ? ORDER BY n LIMIT 1"
            found = sorted(place for sort in sorts for place in db.execute(query, sort))
        return next((each.row for each in self._read(inode, found[:1])), None)

    def finished(self) -> Timeline:
        """When rows became final, in bins that are no finer than a chart needs: they widen as rows come in."""
        with opened(self.path) as db:
            step = read_state(db).step
            return Timeline(Counter(dict(db.execute("SELECT at, rows FROM finished"))), step)

    def _read(self, inode: int, places: list[tuple[int, int, int]]) -> Iterator[IndexedRow]:
        """The rows at these places (number, offset, bytes) of the manifest; none when it is another one by now."""
        try:
            file = open(self.queue.manifest, "rb")
        except FileNotFoundError:
            return
        with file:
            if os.fstat(file.fileno()).st_ino != inode:
                return
            for _, at, n_bytes in places:  # they may lie far apart: the disk is asked for all of them at once
                os.posix_fadvise(file.fileno(), at, n_bytes, os.POSIX_FADV_WILLNEED)
            for n, at, n_bytes in places:
                row = parse_row(os.pread(file.fileno(), n_bytes, at))
                if row is not None and "status" in row:
                    yield IndexedRow(n, ManifestRow.from_json(row))


class _Step:
    """Some rows on their way into the index."""

    def __init__(self, db: sqlite3.Connection, known: ReadState) -> None:
        self.position, self._inode, self._last, self._n = known.position, known.inode, b"", known.rows
        self._db = db
        self._sorts = {
            (status, kind): sort for sort, status, kind in db.execute("SELECT sort, status, kind FROM sorts")
        }
        self._step = known.step
        self._rows: list[tuple[int, int, int, int]] = []
        self._words: list[tuple[int, str]] = []
        self._counts: Counter[int] = Counter()
        self._finished: Counter[int] = Counter()
        self._lines = 0

    @property
    def full(self) -> bool:
        return self._lines >= STEP_ROWS

    def add(self, line: bytes) -> None:
        """Take the next line of the manifest; one that is damaged is no row."""
        at, self._last = self.position, line
        self.position += len(line)
        self._lines += 1
        row = parse_row(line)
        if row is None or "status" not in row:
            return
        self._n += 1
        sort = self._sort(_text(row["status"]), _text(row.get("kind") or ""))
        self._counts[sort] += 1
        finished = seconds(row.get("finished_at"))
        if finished is not None and 0 < finished < 1 << 40:
            self._finished[int(finished) // STEPS_S[self._step]] += 1
        self._rows.append((self._n, at, len(line), sort))
        self._words.append((self._n, searched(row)))

    def write(self) -> None:
        if not self._lines:
            return
        self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", self._rows)
        self._db.executemany("INSERT INTO words VALUES (?, ?)", self._words)
        self._db.executemany(
            "UPDATE sorts SET rows = rows + ? WHERE sort = ?",
            [(rows, sort) for sort, rows in self._counts.items()],
        )
        self._add_finished(self._finished)
        while self._step + 1 < len(STEPS_S) and self._bins() > MAX_BINS:
            self._widen()
        self._db.execute(
            "UPDATE read SET inode = ?, position = ?, last_bytes = ?, last_crc32 = ?, rows = ?, step = ?",
            (self._inode, self.position, len(self._last), zlib.crc32(self._last), self._n, self._step),
        )

    def _bins(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM finished").fetchone()[0])

    def _add_finished(self, bins: Counter[int]) -> None:
        self._db.executemany(
            "INSERT INTO finished VALUES (?, ?) ON CONFLICT (at) DO UPDATE SET rows = rows + excluded.rows",
            bins.items(),
        )

    def _widen(self) -> None:
        """Have the next longer step, as a Timeline does."""
        ratio = STEPS_S[self._step + 1] // STEPS_S[self._step]
        wider: Counter[int] = Counter()
        for at, rows in self._db.execute("SELECT at, rows FROM finished").fetchall():
            wider[at // ratio] += rows
        self._db.execute("DELETE FROM finished")
        self._add_finished(wider)
        self._step += 1

    def _sort(self, status: str, kind: str) -> int:
        if (status, kind) not in self._sorts:
            added = self._db.execute(
                "INSERT INTO sorts (status, kind, rows) VALUES (?, ?, 0)", (status, kind)
            )
            self._sorts[status, kind] = int(added.lastrowid or 0)
        return int(self._sorts[status, kind])


def searched(row: dict[str, Any]) -> str:
    """The text of a row that a search looks at: id, title, channel, message, and the user's columns."""
    parts = [row.get(name) for name in ("video_id", "title", "channel", "message")]
    own = row.get("input")
    parts += own.values() if isinstance(own, dict) else []
    text = " ".join(part if isinstance(part, str) else json.dumps(part) for part in parts if part is not None)
    return _text(text[:MAX_WORDS].casefold())


def _text(value: object) -> str:
    """As SQLite takes it: without halves of surrogate pairs."""
    return str(value).encode("utf-8", "replace").decode()


def _search(
    db: sqlite3.Connection, wanted: TableFilter, top: int, bottom: int, count: int
) -> Iterator[tuple[int, int, int]]:
    """(number, offset, bytes) of rows below `top` and not below `bottom`, the newest first."""
    words = "".join(" AND instr(words, ?)" for _ in wanted.words)
    joined = " JOIN words USING (n)" if wanted.words else ""
    ends = f"n < ? AND n >= ?{words} ORDER BY n DESC LIMIT ?"
    if not wanted.status and not wanted.kind:
        query = f"SELECT n, at, bytes FROM rows{joined} WHERE {ends}"  # noqa: S608 - no value in it
        yield from db.execute(query, (top, bottom, *wanted.words, count))
        return
    query = f"SELECT n, at, bytes FROM rows INDEXED BY by_sort{joined} WHERE sort = ? AND {ends}"  # noqa: S608
    found = [
        db.execute(query, (sort, top, bottom, *wanted.words, count))
        for sort, status, kind in db.execute("SELECT sort, status, kind FROM sorts").fetchall()
        if wanted.status in ("", status) and wanted.kind in ("", kind)
    ]
    yield from itertools.islice(heapq.merge(*found, reverse=True), count)
