"""Writers: what converted slices become, in the order of the manifest, in the process that does the export."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

from engine.errors import UsageError
from engine.export import delimited
from engine.export.columns import TableColumns
from engine.export.database import VideoDatabase
from engine.export.file_list import FileList
from engine.export.place import Place
from engine.export.request import SUFFIXES, TEXTS, ExportRequest
from engine.storage import disk

_MODE = 0o644
_STEMS = {"csv": "videos", "xlsx": "videos", "jsonl": "videos", "sqlite": "videos", "passages": "passages"}
_MAX_TEXT_FILES = 4096  # that are staged before they get their names: each time the file system is synced


class SliceWriter(Protocol):
    """Takes converted slices."""

    def add(self, data: Any, rows: int) -> None:
        """Write a slice."""

    def finish(self) -> None:
        """Complete the files and give them their names."""

    def close(self) -> None:
        """Let go of what is not finished."""


class Publishing:
    """Gives complete files their names, after they are listed, and notes them: (name, bytes)."""

    def __init__(self, place: Place, listed: FileList) -> None:
        self.place, self.listed = place, listed
        self.files: list[tuple[str, int]] = []
        self.count = self.bytes = 0

    def give(self, files: Sequence[tuple[str, str]], *, texts: bool = False) -> None:
        """Give these staged files, (path, name), their names. `texts` are not synced yet, and not noted."""
        if not files:
            return
        self.listed.add(name for _, name in files)
        if texts:
            self.place.settle_staged()
        sizes = [os.stat(staged).st_size for staged, _ in files]
        self.place.confirm()
        self.place.give(files)
        self.count += len(files)
        self.bytes += sum(sizes)
        if not texts:
            self.files += [(name, size) for (_, name), size in zip(files, sizes, strict=True)]


def writer_for(
    request: ExportRequest, columns: TableColumns, publishing: Publishing, *, part: int, rows: int
) -> SliceWriter:
    """The writer of a kind. `part` counts the exports to this place from 1; `rows` is how many rows will come."""
    if request.kind in TEXTS:
        return _TextFiles(publishing)
    if request.kind == "parquet":
        return _ParquetFiles(request, columns, publishing, part, rows)
    if request.kind == "sqlite":
        return _Database(request, columns, publishing, part)
    if request.kind == "xlsx":
        from engine.export.workbook_file import WorkbookWriter

        return WorkbookWriter(publishing, table_name(request, part), columns.without("segments"))
    header = delimited.header(columns.without("segments")) if request.kind == "csv" else b""
    return _OneFile(publishing, table_name(request, part), header)


def table_name(request: ExportRequest, part: int) -> str:
    """The name of a table's file: that of WHERE, or the usual one; of what came later, with its number."""
    if request.is_file:
        stem, suffix = os.path.splitext(os.path.basename(request.to))
    else:
        stem, suffix = _STEMS[request.kind], SUFFIXES[request.kind][0]
    return f"{stem}{suffix}" if part == 1 else f"{stem}-{part:04d}{suffix}"


class _OneFile:
    """Bytes, one after another."""

    def __init__(self, publishing: Publishing, name: str, header: bytes) -> None:
        self._publishing, self._name = publishing, name
        self._staged = os.path.join(publishing.place.staging, "table")
        self._fd = disk.open_append(self._staged, _MODE)
        disk.write_all(self._fd, header)

    def add(self, data: Any, rows: int) -> None:
        disk.write_all(self._fd, data)

    def finish(self) -> None:
        disk.sync_fd(self._fd)
        self._publishing.give([(self._staged, self._name)])

    def close(self) -> None:
        os.close(self._fd)


class _ParquetFiles:
    """Numbered files of so many rows. On this machine all get their names at the end, in a store each when it is
    complete, so that no more than one lies here."""

    def __init__(
        self, request: ExportRequest, columns: TableColumns, publishing: Publishing, part: int, rows: int
    ) -> None:
        from engine.export import parquet_files

        self._parquet = parquet_files
        self._request, self._columns, self._publishing, self._part = request, columns, publishing, part
        self._at_once = publishing.place.local_path("x") is None
        self._per_file = max(1, rows) if request.is_file else request.rows_per_file
        self._of = max(1, -(-rows // self._per_file))
        self._ready: list[tuple[str, str]] = []
        self._number = 0
        self._file = self._open()

    def _name(self) -> str:
        if self._request.is_file:
            return table_name(self._request, self._part)
        later = "" if self._part == 1 else f"{self._part:04d}-"
        return f"data/train-{later}{self._number:05d}-of-{self._of:05d}.parquet"

    def _open(self) -> Any:
        self._staged = os.path.join(self._publishing.place.staging, f"{self._number:05d}.parquet")
        return self._parquet.ParquetFile(self._staged, self._columns)

    def add(self, data: Any, rows: int) -> None:
        table = self._parquet.read_arrow(data)
        while table.num_rows:
            if self._file.rows == self._per_file:
                self._complete()
                self._number += 1
                self._file = self._open()
            some = table.slice(0, self._per_file - self._file.rows)
            self._file.add(some)
            table = table.slice(some.num_rows)

    def _complete(self) -> None:
        self._file.finish()
        self._ready.append((self._staged, self._name()))
        if self._at_once:
            self._publishing.give(self._ready)
            self._ready = []

    def finish(self) -> None:
        self._complete()
        self._publishing.give(self._ready)

    def close(self) -> None:
        self._file.close()


class _Database:
    """An SQLite database; with `--new` the one that is there."""

    def __init__(
        self, request: ExportRequest, columns: TableColumns, publishing: Publishing, part: int
    ) -> None:
        self._publishing = publishing
        self._name = table_name(request, 1)
        there = publishing.place.local_path(self._name)
        if part > 1 and there is None:
            raise UsageError("--new with sqlite needs a place on this machine: a store cannot change a file")
        self._fresh = part == 1 or not os.path.exists(there or "")
        self._staged = os.path.join(publishing.place.staging, "database")
        self._db = VideoDatabase(self._staged if self._fresh else str(there), columns, fresh=self._fresh)

    def add(self, data: Any, rows: int) -> None:
        self._db.add(data)

    def finish(self) -> None:
        self._db.finish()
        if self._fresh:
            self._publishing.give([(self._staged, self._name)])
        else:
            size = os.stat(str(self._publishing.place.local_path(self._name))).st_size
            self._publishing.listed.add([self._name])
            self._publishing.files.append((self._name, size))
            self._publishing.count, self._publishing.bytes = 1, size

    def close(self) -> None:
        self._db.close()


class _TextFiles:
    """One file a video, already staged; they get their names some hundred at a time."""

    def __init__(self, publishing: Publishing) -> None:
        self._publishing = publishing
        self._waiting: list[tuple[str, str]] = []

    def add(self, data: Any, rows: int) -> None:
        self._waiting += data
        if len(self._waiting) >= _MAX_TEXT_FILES:
            self.finish()

    def finish(self) -> None:
        self._publishing.give(self._waiting, texts=True)
        self._waiting = []

    def close(self) -> None:
        """The place removes what is staged."""
