"""Several segments joined into one, in memory: its file, its journals, its tokens. Nothing is written."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import UsageError
from engine.process import cpus
from engine.queue import journal
from engine.queue.directory import Queue
from engine.queue.job_state import fold
from engine.queue.manifest import read_checkpoint
from engine.queue.segments import (
    Chunk,
    SegmentHeader,
    chunk_size,
    read_body,
    read_ids,
    split_chunks,
    with_header,
)

FILED_BYTES = 64 << 20  # of journals that are held in memory at once


class CannotJoin(Exception):
    """These segments stay as they are, until something else repairs or finishes them."""


@dataclass(frozen=True, slots=True)
class Joined:
    """One segment made of several, and their chunks."""

    head: SegmentHeader
    data: bytes
    ids: list[str]
    journals: dict[int, bytes]
    chunks: list[Chunk]

    def tokens(self) -> Iterator[str]:
        """The names of its tokens."""
        head, data = self.head, self.data
        lines = data.split(b"\n")
        at = len(lines[0]) + 1
        for k in range(head.chunks):
            mine = lines[1 + k * head.chunk : 1 + min((k + 1) * head.chunk, head.jobs)]
            yield Chunk(head.segment, k, at, len(mine)).token
            at += sum(len(line) + 1 for line in mine)


def join(queue: Queue, number: int, headers: list[SegmentHeader], *, filed: bool) -> Joined:
    """These segments as one of this number: either all are filed, or all are untouched and have no journals.

    Raises CannotJoin when they are not, or when something about them is wrong; OSError.
    """
    jobs = sum(header.jobs for header in headers)
    head = SegmentHeader(number, jobs, chunk_size(jobs, cpus.usable()))
    paths = [queue.segment(header.segment) for header in headers]
    try:
        body = b"".join(map(read_body, paths))
        ids = [video_id for path in paths for video_id in read_ids(path)]
        chunks = [chunk for path in paths for chunk in split_chunks(path)]
    except UsageError:
        raise CannotJoin from None
    _check(queue, headers, chunks, filed=filed)
    journals = _join_journals(queue, chunks, ids, head.chunk) if filed else {}
    return Joined(head, with_header(number, body, jobs, head.chunk), ids, journals, chunks)


def _check(queue: Queue, headers: list[SegmentHeader], chunks: list[Chunk], *, filed: bool) -> None:
    """Raise CannotJoin unless these segments have exactly their tokens and journals (empty ones if untouched)."""
    for header in headers:
        number = header.segment
        mine = {chunk for chunk in chunks if chunk.segment == number}
        tokens = {chunk.token for chunk in mine}
        places = {
            queue.pending(number): set() if filed else tokens,
            queue.filed(number): tokens if filed else set(),
            queue.done(number): set(),
        }
        for path, names in places.items():
            if _names(path) != names:
                raise CannotJoin
        journals = {f"{chunk.k}.jsonl": queue.journal(chunk) for chunk in mine}
        found = _names(queue.journal_dir(number))
        if not found <= journals.keys() or (filed and found != journals.keys()):
            raise CannotJoin
        if not filed and any(os.path.getsize(journals[name]) for name in found):
            raise CannotJoin


def _names(path: str) -> set[str]:
    try:
        return set(os.listdir(path))
    except OSError:
        raise CannotJoin from None


def _join_journals(queue: Queue, chunks: list[Chunk], ids: list[str], size: int) -> dict[int, bytes]:
    """The lines of these chunks' journals, as the journals of the new chunks, by number.

    Each line stays as it is. One `synced` at the end covers all of them, as theirs did.
    """
    checkpoint = read_checkpoint(queue)
    if checkpoint is None or any(chunk.name in checkpoint.open for chunk in chunks):
        raise CannotJoin  # the manifest will be derived again, or still depends on these journals
    number = {video_id: at // size for at, video_id in enumerate(ids)}
    journals: dict[int, bytearray] = defaultdict(bytearray)
    left = FILED_BYTES
    at = 0
    for chunk in chunks:
        path = queue.journal(chunk)
        length = os.path.getsize(path)
        left -= length
        if left < 0:
            raise CannotJoin
        part = journal.read(path, brief=True)
        state = fold(part.entries)
        mine = set(ids[at : at + chunk.jobs])
        at += chunk.jobs
        if part.bad or part.end != length or set(state.jobs) != mine or state.unsynced_finals():
            raise CannotJoin
        if state.finals() != chunk.jobs:
            raise CannotJoin
        for entry in part.entries:
            if entry.verb != "synced":
                journals[number[entry.job]] += journal.line(entry.verb, entry.raw)
    return {k: bytes(data + journal.encode("synced", {"end": len(data)})) for k, data in journals.items()}
