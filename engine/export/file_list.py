"""The list of an export's files, kept with them in WHERE: what may be replaced, and what has been exported.

    .engine-export/csv.json        whose export it is, whether it is complete, its statistics
    .engine-export/csv.files       its files, a JSON text a line
    .engine-export/csv.new         the files of an export that has not ended yet
    .engine-export/csv.rows        a number for each row that it holds, sorted: the mark that `--new` begins at
    .engine-export/csv.rows-2      the same after the second part

A file is listed, durably, before it gets its name, and leaves the list after it is gone. So a file in WHERE that no
list names is not ours. The header says which mark counts: it is replaced last, in one step with the number of parts.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from array import array
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import DiskError, UsageError
from engine.export.numbers import SortedNumbers, number_of, sorted_bytes
from engine.export.place import OWN, Place
from engine.export.request import KINDS, TEXTS
from engine.storage import disk

SCHEMA_VERSION = 1
LINES_AT_ONCE = 4096
MAX_GONE = 1000  # that are named; the number of all is of no use
_GIVEN_AGAIN = TEXTS | {"sqlite"}  # by the next `--new` under the same names
_OUTSIDE = re.compile(rb'^"/|["/]\.\.["/]')


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """What `csv.json` says. `parts` counts the exports that made it: a full one, and those with `--new`.

    `left` are files of a part that was not completed: they go, unless the next `--new` gives their names again.
    """

    batch: str
    complete: bool = False
    full: bool = True
    parts: int = 0
    stats: dict[str, Any] = field(default_factory=dict)
    left: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        value = {
            "schema_version": SCHEMA_VERSION,
            "batch": self.batch,
            "queue": "",  # its path, once; earlier versions still ask for it
            "complete": self.complete,
            "full": self.full,
            "parts": self.parts,
            "stats": self.stats,
            **({"left": self.left} if self.left else {}),
        }
        return json.dumps(value, indent=1).encode() + b"\n"


class FileList:
    """The list of one kind in one place."""

    def __init__(self, place: Place, kind: str, batch: str, queue: str) -> None:
        """`queue` is its path: earlier versions had it for the id of a batch that has none.

        Raises UsageError when what lies in WHERE is not an export of this batch.
        """
        self.place, self.kind = place, kind
        self._batch, self._queue = batch, queue
        self._appended = 0
        self._given = array("Q")
        there = set(place.own_names())
        found = {
            name: header
            for name in KINDS
            if f"{name}.json" in there and (header := self._read_header(name)) is not None
        }
        self.old = found.get(kind)
        self._kinds = tuple(found)
        self._is_file = place.own != OWN  # then what lies beside it has not been looked at
        if self._is_file:
            self._kinds = tuple(name for name in found if name == kind)
        self._known = self._there = SortedNumbers(b"")
        self._to_go: tuple[str, ...] = ()

    def _read_header(self, kind: str) -> ExportHeader | None:
        data = self.place.fetch(self._own(f"{kind}.json"))
        if data is None:
            return None
        try:
            value = json.loads(data)
            names = ("batch", "complete", "full", "parts", "stats")
            header = ExportHeader(**{name: value[name] for name in names})
            header = replace(header, left=tuple(map(str, value.get("left", ()))))
            if value["schema_version"] != SCHEMA_VERSION or not isinstance(header.stats, dict):
                raise ValueError(value["schema_version"])
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self.place.shown}: its list of files ({self.place.own}/{kind}.json) cannot be read: "
                "give another place"
            ) from None
        if header.batch not in (self._batch, self._queue):
            raise UsageError(f"{self.place.shown} holds the export of another batch: give another place")
        return header

    def _own(self, name: str) -> str:
        return f"{self.place.own}/{name}"

    # ---- before ----------------------------------------------------------------------------------------
    def check(self) -> None:
        """Raise UsageError when a file in WHERE is in no list."""
        names = (name for kind in self._kinds for name in self._listed(kind))
        ours = SortedNumbers(sorted_bytes(map(number_of, names)))
        there = array("Q")
        for name in self.place.names():
            there.append(number_of(name))
            if there[-1] not in ours and not self._beside(name, ours):
                raise UsageError(
                    f"{self.place.shown} holds {name}, which is not of an export of this batch: nothing is written "
                    "there. Give another place, or move that file away"
                )
        self._known, self._there = ours, SortedNumbers(sorted_bytes(there))

    def gone(self) -> tuple[str, ...]:
        """Files of the last complete export that are not there any more, some of them if they are many."""
        if self.old is None or not self.old.complete:
            return ()
        names: Iterator[str] = map(json.loads, self._lines(f"{self.kind}.files"))
        return tuple(itertools.islice((name for name in names if not self._is_there(name)), MAX_GONE))

    def _is_there(self, name: str) -> bool:
        return self.place.has(name) if self._is_file else number_of(name) in self._there

    @staticmethod
    def _beside(name: str, ours: SortedNumbers) -> bool:
        """Whether it is what SQLite, desktops and the Hub leave beside a file."""
        for suffix in ("-journal", "-wal", "-shm"):
            if name.endswith(suffix) and number_of(name.removesuffix(suffix)) in ours:
                return True
        return name.rpartition("/")[2] in (".DS_Store", "Thumbs.db", "desktop.ini", ".gitattributes")

    def _listed(self, kind: str) -> Iterator[str]:
        for name in (f"{kind}.files", f"{kind}.new"):
            for line in self._lines(name):
                yield json.loads(line)
        if kind == self.kind and self.old is not None:
            yield from self.old.left

    def _lines(self, name: str) -> Iterator[bytes]:
        """The intact lines: a torn last one is of a file that has no name yet. Names that lead out of WHERE are no
        lines of ours."""
        for line in self.place.lines(self._own(name)):
            if line.startswith(b'"') and line.endswith(b'"\n') and not _OUTSIDE.search(line):
                yield line

    @property
    def can_go_on(self) -> bool:
        """Whether the mark of the last export can be gone on from."""
        return self.old is not None and (self.old.complete or not self.old.full)

    def rows_path(self) -> str | None:
        """The mark, as a file on this machine; None when there is none."""
        data = None
        if self.old is not None:
            data = self.place.fetch(self._rows(self.old.parts))
            data = self.place.fetch(self._rows(1)) if data is None else data  # as it was called before
        if data is None or len(data) % 8:
            return None
        path = f"{self.place.staging}/rows"  # a copy: the mark itself is replaced at the end
        disk.create(path, data, sync=False)
        return path

    # ---- while it goes on ------------------------------------------------------------------------------
    def begin(self, *, full: bool) -> None:
        """Say that an export is under way. What an interrupted one has listed counts as files of before."""
        header = self.old or ExportHeader(self._batch)
        if not (full or header.complete or self.kind in _GIVEN_AGAIN):
            self._to_go = self._left(header)
        else:
            self._merge(header.left)
        self._write(replace(header, complete=False, full=full, left=self._to_go))
        self.place.remove(self._own(f"{self.kind}.new"))

    def tidy(self) -> None:
        """Finish what a complete export that was killed at its end has left undone."""
        if f"{self.kind}.new" in self.place.own_names():
            self._merge()
            self.place.remove(self._own(f"{self.kind}.new"))

    def _left(self, header: ExportHeader) -> tuple[str, ...]:
        """The files of the part that was not completed."""
        complete = set(self._lines(f"{self.kind}.files"))
        new = (line for line in self._lines(f"{self.kind}.new") if line not in complete)
        return tuple(dict.fromkeys((*header.left, *map(json.loads, new))))

    def _merge(self, more: Iterable[str] = (), gone: Container[str] = ()) -> None:
        """Put the names that are new into the list of files, without those that are gone."""
        lines = itertools.chain(self._lines(f"{self.kind}.files"), self._lines(f"{self.kind}.new"))
        kept = (line for line in lines if not gone or json.loads(line) not in gone)
        self._write_lines("files", itertools.chain(kept, (f"{json.dumps(name)}\n".encode() for name in more)))

    def _rows(self, part: int) -> str:
        return self._own(f"{self.kind}.rows" if part == 1 else f"{self.kind}.rows-{part}")

    def add(self, names: Iterable[str]) -> None:
        """List files that are about to get their names. Raises UsageError when one is taken by another's file."""
        names = list(names)
        for name in names:
            # In a store that would be a request a file; there it was looked at before.
            looked_at = not self._is_file and self.place.local_path(name) is None
            if not looked_at and number_of(name) not in self._known and self.place.has(name):
                raise UsageError(
                    f"{self.place.shown}: there is a file {name} that is not of an export of this batch: "
                    "give another place, or move it away"
                )
        self._appended += 1
        self._given.extend(map(number_of, names))
        lines = "".join(json.dumps(name) + "\n" for name in names)
        self.place.append(self._own(f"{self.kind}.new"), self._appended, lines.encode())

    # ---- at its end ------------------------------------------------------------------------------------
    def finish(self, *, full: bool, rows: Iterable[int], stats: dict[str, Any]) -> None:
        """Remove files of before that are no more, then say that the export is complete.

        Only what was listed when this export began is removed. Raises DiskError when a file that it has put into a
        store is not there, HeldError when another export has taken the place over.
        """
        new, old = f"{self.kind}.new", f"{self.kind}.files"
        kept = SortedNumbers(sorted_bytes(self._given))
        self.place.confirm(again=True)
        self._check_given()
        gone = set()
        for name in map(json.loads, self._lines(old)) if full else self._to_go:
            if number_of(name) not in kept and (number_of(name) in self._known or not full):
                self.place.remove(name)
                if not full:
                    gone.add(name)
        if full:
            self._write_lines("files", self._lines(new))
        self.place.settle()
        parts = 1 if full or self.old is None else self.old.parts + 1
        self.place.write(self._rows(parts), bytes(sorted_bytes(rows)))
        self._write(ExportHeader(self._batch, True, full, parts, stats))
        if not full:  # before the header said so, they were not known to stay
            self._merge(gone=gone)
        self.place.remove(self._own(new))
        if self.old is not None and self.old.parts != parts:
            self.place.remove(self._rows(self.old.parts))

    def _check_given(self) -> None:
        """Raise DiskError when a file is not in the store that has taken it."""
        names = map(json.loads, self._lines(f"{self.kind}.new"))
        if self.place.local_path("") is not None:
            return
        if self._is_file:
            lost = [name for name in names if not self.place.has(name)]
        else:
            there = SortedNumbers(sorted_bytes(map(number_of, self.place.names())))
            if all(number in there for number in self._given):
                return
            lost = [name for name in names if number_of(name) not in there] or ["a file"]
        if lost:
            raise DiskError(
                f"{self.place.shown}: {lost[0]} was written there and is gone: does something else "
                "remove files there? Export again"
            )

    def _write_lines(self, what: str, lines: Iterator[bytes]) -> None:
        """Replace a list without holding it in memory."""
        staged = f"{self.place.staging}/{what}"
        fd = disk.open_append(staged, 0o644)
        try:
            while some := list(itertools.islice(lines, LINES_AT_ONCE)):
                disk.write_all(fd, b"".join(some))
            disk.sync_fd(fd)
        finally:
            os.close(fd)
        self.place.give([(staged, self._own(f"{self.kind}.{what}"))])

    def _write(self, header: ExportHeader) -> None:
        self.place.write(self._own(f"{self.kind}.json"), header.to_json())
