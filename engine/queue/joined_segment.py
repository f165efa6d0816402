"""What several segments come to as one: its file, its journals, its tokens. It reads, and changes nothing."""

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
from engine.queue.segments import Chunk, Header, chunk_size, cut, read_body, read_ids, with_header

FILED_BYTES = 64 << 20  # of journals that are read and written at once


class Unfit(Exception):
    """These segments stay as they are, until something else mends them."""


@dataclass(frozen=True, slots=True)
class Joined:
    """One segment made of several, and their chunks."""

    head: Header
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


def join(queue: Queue, number: int, headers: list[Header], *, filed: bool) -> Joined:
    """What these segments would be as one of this number: all filed ones, or all untouched ones, which have no
    journals. Raises Unfit when they are not, or when something about them is not right; OSError.
    """
    jobs = sum(header.jobs for header in headers)
    head = Header(number, jobs, chunk_size(jobs, cpus.usable()))
    paths = [queue.segment(header.segment) for header in headers]
    try:
        body = b"".join(map(read_body, paths))
        ids = [video_id for path in paths for video_id in read_ids(path)]
        chunks = [chunk for path in paths for chunk in cut(path)]
    except UsageError:
        raise Unfit from None
    _check(queue, headers, chunks, filed=filed)
    books = _journals(queue, chunks, ids, head.chunk) if filed else {}
    return Joined(head, with_header(number, body, jobs, head.chunk), ids, books, chunks)


def _check(queue: Queue, headers: list[Header], chunks: list[Chunk], *, filed: bool) -> None:
    """Raise Unfit unless these segments have their tokens, empty or whole journals, and nothing else."""
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
                raise Unfit
        books = {f"{chunk.k}.jsonl" for chunk in mine}
        there = _names(queue.journal_dir(number))
        if not there <= books or (filed and there != books):
            raise Unfit
        if not filed and any(
            os.path.getsize(queue.journal(its)) for its in mine if f"{its.k}.jsonl" in there
        ):
            raise Unfit


def _names(path: str) -> set[str]:
    try:
        return set(os.listdir(path))
    except OSError:
        raise Unfit from None


def _journals(queue: Queue, chunks: list[Chunk], ids: list[str], size: int) -> dict[int, bytes]:
    """What the journals of these chunks say, as the journals of the new ones, by number. Line by line it stays as it
    is; one last `synced` vouches for all of it, as theirs did."""
    checkpoint = read_checkpoint(queue)
    if checkpoint is None or any(chunk.name in checkpoint.open for chunk in chunks):
        raise Unfit  # the manifest will be derived anew; or it still reckons with these journals
    number = {video_id: at // size for at, video_id in enumerate(ids)}
    books: dict[int, bytearray] = defaultdict(bytearray)
    left = FILED_BYTES
    at = 0
    for chunk in chunks:
        path = queue.journal(chunk)
        left -= os.path.getsize(path)
        if left < 0:
            raise Unfit
        read = journal.read(path, brief=True)
        state = fold(read.entries)
        mine = set(ids[at : at + chunk.jobs])
        at += chunk.jobs
        torn = read.end != os.path.getsize(path)
        if read.bad or torn or set(state.jobs) != mine or state.unsynced_finals():
            raise Unfit
        if state.finals() != chunk.jobs:
            raise Unfit
        for entry in read.entries:
            if entry.verb != "synced":
                job = entry.body["video_id" if entry.verb == "final" else "job"]
                books[number[job]] += journal.line(entry.verb, entry.raw)
    return {k: bytes(book + journal.encode("synced", {"end": len(book)})) for k, book in books.items()}
