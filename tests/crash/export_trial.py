"""What the rows about exports share: a small batch, ways to export it, and what must hold in WHERE at any moment.

An export is `fresh` (into a new place), `again` (a full one over an earlier one), or `new` (`--new` after it). The
earlier one knows less: meanwhile videos came, and one was fetched again.
"""

from __future__ import annotations

import collections
import csv
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import canned_batch
from canned_batch import AT, Canned, some

from engine import Batch
from engine.export import slices
from engine.model import Kind
from engine.queue.directory import Queue

KINDS = ("csv", "jsonl", "parquet", "sqlite", "txt", "passages")
MODES = ("fresh", "again", "new")
FIRST, LATER, LAST = 9, 5, 3  # videos
OPTIONS: dict[str, dict[str, Any]] = {"parquet": {"rows_per_file": 4}}
EDITION = "topic"  # a column of the user's: which fetch of the video it is

Rows = collections.Counter[tuple[str, str]]  # (id, edition), or of a text file (id, digest)


def export(queue: str, kind: str, where: Path, *, new: bool) -> None:
    """One export, in this process, some rows a slice."""
    slices.LINES = 4
    Batch(queue).export(kind, where, new=new, processes=1, **OPTIONS.get(kind, {}))  # type: ignore[arg-type]


def edition(number: int, count: int, start: int) -> list[Canned]:
    return some(count, start, input={EDITION: f"e{number}"}, finished_at=AT.format(10 + number))


class Trial:
    """A batch, and what one kind of export of it may be at any moment."""

    def __init__(self, root: Path, kind: str, mode: str, at: str = "x") -> None:
        self.root, self.kind, self.mode = root, kind, mode
        self.queue = canned_batch.batch(root, [*edition(0, FIRST, 0), *some(2, 90, kind=Kind.PRIVATE)])
        self.where, self._before, self._after = root / at, root / "before", root / "after"
        self._known = list(self._rows(self.queue))
        if mode != "fresh":
            export(self.queue.root, kind, self._before, new=False)
            again = [
                Canned(
                    edition(0, 1, 0)[0].video_id,
                    title="Video 0",
                    input={EDITION: "e1"},
                    finished_at=AT.format(30),
                )
            ]
            canned_batch.grow(self.queue, [*edition(1, LATER, 20), *again], without=[again[0].video_id])
        self.lay()
        export(self.queue.root, kind, self.where, new=mode == "new")
        shutil.copytree(self.where, self._after)
        self._allowed = [
            {name: content(kind, path) for name, path in files(place).items()}
            for place in (self._before, self._after)
            if place.exists()
        ]
        self.meant = self.expected()
        assert rows_of(kind, self.where) == self.meant, "the undisturbed export is wrong"

    @property
    def new(self) -> bool:
        return self.mode == "new"

    @staticmethod
    def _rows(queue: Queue) -> list[tuple[str, str, str]]:
        lines = Path(queue.manifest).read_bytes().splitlines()
        rows = map(json.loads, lines)
        return [(row["video_id"], row["input"].get(EDITION, ""), row["status"]) for row in rows]

    def expected(self) -> Rows:
        """The rows that WHERE must hold after a complete export: all, each once. Tables of `--new` keep old ones."""
        now = self._rows(self.queue)
        if self.kind == "sqlite" or self.mode != "new" or self.kind == "txt":
            every = now
        else:
            every = [*self._known, *(row for row in now if row not in self._known)]
        if self.kind in ("txt", "passages"):
            every = [row for row in every if row[2] == "ok"]
        if self.kind in (
            "txt",
            "passages",
        ):  # neither says which edition it is of; all videos are one passage
            return collections.Counter((name, "") for name, _, _ in every)
        return collections.Counter((name, edition_) for name, edition_, _ in every)

    def lay(self) -> None:
        """Make WHERE what it was before the export."""
        shutil.rmtree(self.where, ignore_errors=True)
        self.where.parent.mkdir(exist_ok=True)
        if self._before.exists():
            shutil.copytree(self._before, self.where)

    def come_more(self) -> None:
        """Videos that come between an export that was interrupted and the next."""
        canned_batch.grow(self.queue, edition(2, LAST, 40))

    def check_now(self) -> None:
        """At any moment: each file under a name is whole, as it was before or as it is to be."""
        for name, path in files(self.where).items():
            found = content(self.kind, path)
            assert any(found == allowed.get(name) for allowed in self._allowed), f"{name} is half there"

    def check_end(self) -> None:
        """After the next export: all rows, each once, nothing else, nothing left of what was interrupted."""
        found = rows_of(self.kind, self.where)
        meant = self.expected()
        assert found == meant, f"lost {dict(meant - found)}, too many {dict(found - meant)}"
        own = self.where / ".engine-export"
        left = [name for name in os.listdir(own) if name.startswith("staged") or name.endswith(".new")]
        assert not left, f"left behind: {left}"
        header = json.loads((own / f"{self.kind}.json").read_bytes())
        assert header["complete"]
        listed = {json.loads(line) for line in (own / f"{self.kind}.files").read_bytes().splitlines()}
        assert files(self.where).keys() <= listed, "a file that is in no list"
        assert listed <= files(self.where).keys(), "a list of what is not there"


def files(where: Path) -> dict[str, Path]:
    """All files but our own and a database's journal."""
    return {
        path.relative_to(where).as_posix(): path
        for path in sorted(where.rglob("*"))
        if path.is_file()
        and not path.relative_to(where).as_posix().startswith(".engine-export")
        and not path.name.endswith("-journal")
    }


def content(kind: str, path: Path) -> object:
    """What a file holds, such that two with the same have the same rows and texts. Raises when it is no such file."""
    return CONTENT.get(path.suffix, lambda found: hashlib.sha256(found.read_bytes()).hexdigest())(path)


def _parquet(path: Path) -> object:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def _database(path: Path) -> object:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.execute("INSERT INTO videos_fts (videos_fts, rank) VALUES ('integrity-check', 1)")
        return db.execute("SELECT * FROM videos ORDER BY id").fetchall()
    finally:
        db.close()


CONTENT: dict[str, Callable[[Path], object]] = {".parquet": _parquet, ".db": _database}


def rows_of(kind: str, where: Path) -> Rows:
    """The rows in all files of an export, read by other programs' readers."""
    found: Rows = collections.Counter()
    for name, path in files(where).items():
        if kind == "csv":
            with open(path, encoding="utf-8-sig", newline="") as file:
                found.update((row["id"], row.get(EDITION) or "") for row in csv.DictReader(file))
        elif kind == "jsonl":
            values = map(json.loads, path.read_bytes().splitlines())
            found.update((row["id"], row.get(EDITION) or "") for row in values)
        elif kind == "passages":
            values = map(json.loads, path.read_bytes().splitlines())
            found.update((row["video_id"], "") for row in values)
        elif kind == "parquet" and path.suffix == ".parquet":
            rows: Any = _parquet(path)
            found.update((row["id"], row.get(EDITION) or "") for row in rows)
        elif kind == "sqlite":
            db = sqlite3.connect(path)
            found.update(
                (name, topic or "") for name, topic in db.execute(f"SELECT id, {EDITION} FROM videos")
            )
            db.close()
        elif kind == "txt":
            assert path.read_text(), name
            found.update([(name.rpartition("[")[2].removesuffix("].txt"), "")])
    return found
