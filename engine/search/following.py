"""Brings an index up to date with the manifest, a few hundred rows a transaction.

Rows are only ever appended to a manifest, until a retry or a repair replaces it: then it is read from its beginning,
and what has not changed is not read again. Each transaction goes on where the last one ended, whoever made it, so
searches at the same time share the work.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from engine.output import json_record, stored
from engine.output.plain_text import spoken
from engine.queue.directory import Queue
from engine.queue.manifest import parse_row, read_checkpoint
from engine.search.index import Index, Position
from engine.search.query import whole
from engine.search.windows import Window, windows

ROWS = 500  # a transaction
TEXT_BYTES = 16 << 20  # a transaction ends after so many bytes of records
TAIL_BYTES = 1 << 16
WAIT_S = 1.0

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many videos, and of how many."""


@dataclass(slots=True)
class _Manifest:
    """A manifest as far as its checkpoint says that it counts."""

    file: BinaryIO
    length: int
    ok: int

    @property
    def inode(self) -> int:
        return os.fstat(self.file.fileno()).st_ino

    def tail(self, offset: int) -> int:
        """The CRC-32 of what lies before an offset: whether it still is what was read."""
        first = max(0, offset - TAIL_BYTES)
        self.file.seek(first)
        return zlib.crc32(self.file.read(offset - first))

    def holds(self, state: Position) -> bool:
        """Whether this is the manifest that was read so far."""
        return (
            state.inode == self.inode
            and state.offset <= self.length
            and state.tail == self.tail(state.offset)
        )

    def lines(self, offset: int) -> Iterator[bytes]:
        """The lines from an offset on that count."""
        self.file.seek(offset)
        while offset < self.length and (line := self.file.readline()):
            offset += len(line)
            yield line


def follow(index: Index, queue: Queue, output: str | None, on_progress: Progress) -> None:
    """Take in what the manifest has gained and take out what it has lost; `output` None: no record can be read."""
    while (manifest := _opened(queue)) is not None:
        with manifest.file:
            if _up_to_date(index, manifest):
                break
            with index.writing(WAIT_S) as mine:
                if mine:
                    _step(index, manifest, output)
            on_progress("indexed" if mine else "another search indexes:", index.videos(), manifest.ok)
    if output is not None and index.missing():
        with index.writing() as mine:
            if mine:
                _try_missing(index, output)


def _opened(queue: Queue) -> _Manifest | None:
    """The manifest, None when there is none yet."""
    checkpoint = read_checkpoint(queue)
    if checkpoint is None:
        return None
    try:
        file = open(queue.manifest, "rb")
    except FileNotFoundError:
        return None
    # A retry replaces the manifest first and the checkpoint then.
    return _Manifest(file, min(checkpoint.length, os.fstat(file.fileno()).st_size), checkpoint.counts.ok)


def _up_to_date(index: Index, manifest: _Manifest) -> bool:
    state = index.state()
    return state.swept and manifest.holds(state) and state.offset == manifest.length


def _step(index: Index, manifest: _Manifest, output: str | None) -> None:
    """One transaction's work."""
    state = index.state()
    if not manifest.holds(state):
        state = Position(manifest.inode, 0, 0, state.generation + 1, swept=False)
    offset, room = state.offset, TEXT_BYTES
    for number, line in enumerate(manifest.lines(offset)):
        if number == ROWS or room <= 0:
            break
        offset += len(line)
        row = parse_row(line)
        if row is not None:
            room -= _take(index, row, state.generation, output)
    if offset == state.offset:  # all of it is read
        gone = index.older(state.generation, ROWS)
        for video_id in gone:
            index.remove(video_id)
        state = replace(state, swept=len(gone) < ROWS)
    index.set_state(replace(state, offset=offset, tail=manifest.tail(offset)))


def _take(index: Index, row: dict[str, Any], generation: int, output: str | None) -> int:
    """Have the index hold what a row says; returns how many bytes were read for that."""
    video_id = row["video_id"]
    if row.get("status") != "ok":
        index.remove(video_id)
        return 0
    stamp = _stamp(row)
    if index.seen(video_id, stamp, generation):
        return 0
    about = [video_id, *(_text(row.get(key)) for key in ("title", "channel", "language"))]
    pieces, size = _read(output, _path(row)) if output else (None, 0)
    index.put(about, stamp, generation, pieces)
    return size


def _try_missing(index: Index, output: str) -> None:
    """Take in the records that could not be read before and now can."""
    generation = index.state().generation
    for *about, stamp in index.missing():
        pieces, _ = _read(output, stamp.partition(" ")[0])
        if pieces is not None:
            index.put(about, stamp, generation, pieces)


def _stamp(row: dict[str, Any]) -> str:
    """What changes whenever a video's record does; its path comes first."""
    sums = row.get("sha256")
    return f"{_path(row)} {sums.get('json') if isinstance(sums, dict) else ''} {row.get('finished_at')}"


def _path(row: dict[str, Any]) -> str:
    files = row.get("files")
    return str(files.get("json") or "") if isinstance(files, dict) else ""


def _read(output: str, path: str) -> tuple[Iterator[Window] | None, int]:
    """The windows of a record and its size; None when it cannot be read."""
    data = stored.read(output, path)
    if data is None:
        return None, 0
    try:
        return windows(spoken(json_record.from_json(data).transcript)), len(data)
    except ValueError:
        return None, 0


def _text(value: object) -> str | None:
    return whole(value) if isinstance(value, str) else None
