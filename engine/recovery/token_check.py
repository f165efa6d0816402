"""Comparing the tokens with the segments, and repairing what differs.

Tokens carry no data, so a power cut that lost or doubled a rename costs nothing: a missing token is made again from
its segment and its journal, and of two copies the more advanced stays.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from engine.queue import journal
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.journal_follower import chunk_state
from engine.queue.manifest import read_checkpoint, read_rows
from engine.queue.segments import Chunk, SegmentHeader, split_chunks
from engine.storage import disk


class _Token(NamedTuple):
    """A token: its chunk, its path, and the directory of the queue in which it lies."""

    chunk: Chunk
    path: str
    where: str


def check_tokens(queue: Queue) -> list[str]:
    """Give every chunk exactly one token; returns sentences that say what was done. No worker lives."""
    found: dict[int, list[_Token]] = defaultdict(list)
    for token in _all_tokens(queue):
        found[token.chunk.segment].append(token)
    said: list[str] = []
    missing: list[Chunk] = []
    for segment in queue.segments():
        for path in (queue.journal_dir(segment), queue.done(segment), queue.filed(segment)):
            if disk.ensure_dir(path):
                disk.sync_dir(os.path.dirname(path))
                said.append(f"made {os.path.relpath(path, queue.root)}/ again")
        header = queue.header(segment)
        tokens = found.pop(segment, [])
        for token in _misplaced(queue, segment, tokens):
            disk.unlink_quietly(token.path)
            tokens.remove(token)
            said.append(f"removed the token {token.chunk.name} in pending/: work on its chunk has begun")
        if not _complete(header, [token.chunk for token in tokens]):
            said += _unite(queue, segment, tokens, missing)
    for token in (token for tokens in found.values() for token in tokens):
        disk.unlink_quietly(token.path)
        said.append(f"removed the token {token.chunk.name} in {token.where}/: there is no such segment")
    return said + _make_again(queue, missing)


def _all_tokens(queue: Queue) -> Iterator[_Token]:
    """Every token, the most advanced places first, and of the deferred ones the soonest first."""
    segments = queue.segments()
    for segment in segments:
        for chunk in chunks_in(queue.filed(segment), segment):
            yield _Token(chunk, queue.filed_token(chunk), "filed")
        for chunk in chunks_in(queue.done(segment), segment):
            yield _Token(chunk, queue.done_token(chunk), "done")
    for worker_id in worker_ids(queue):
        path = os.path.join(queue.workers, worker_id)
        for chunk in chunks_in(path):
            yield _Token(chunk, os.path.join(path, chunk.name), "workers")
    for _, chunk, name in deferred_chunks(queue):
        yield _Token(chunk, os.path.join(queue.deferred, name), "deferred")
    for segment in segments:
        for chunk in chunks_in(queue.pending(segment), segment):
            yield _Token(chunk, queue.pending_token(chunk), "pending")


def _misplaced(queue: Queue, segment: int, tokens: list[_Token]) -> list[_Token]:
    """Tokens in pending/ whose chunk has a journal: the journal and the manifest say where they belong.

    If a worker claimed a filed chunk from there, it would be filed a second time.
    """
    begun = set(os.listdir(queue.journal_dir(segment)))
    return [
        token
        for token in tokens
        if token.where == "pending" and f"{token.chunk.k}.jsonl" in begun and _touched(queue, token.chunk)
    ]


def _complete(header: SegmentHeader, chunks: list[Chunk]) -> bool:
    """Whether these are the segment's chunks, each once. Cheap, because every start asks."""
    numbers = {chunk.k for chunk in chunks}
    return (
        len(numbers) == len(chunks)
        and sum(chunk.jobs for chunk in chunks) == header.jobs
        and max(numbers, default=-1) == len(numbers) - 1
    )


def _unite(queue: Queue, segment: int, tokens: list[_Token], missing: list[Chunk]) -> list[str]:
    """Remove doubled and foreign tokens of a segment; chunks without a token are added to `missing`."""
    said: list[str] = []
    wanted = set(split_chunks(queue.segment(segment)))
    kept: dict[Chunk, _Token] = {}
    for token in tokens:
        chunk, name = token.chunk, token.chunk.name
        if chunk not in wanted:
            disk.unlink_quietly(token.path)
            said.append(f"removed the token {name} in {token.where}/: its segment has no such chunk")
        elif chunk in kept:
            # The more advanced one comes first and stays, except in filed/ without reason: nobody would do what the
            # chunk lacks, and the run would never end.
            spare = token
            if kept[chunk].where == "filed" and not _is_filed(queue, chunk):
                spare, kept[chunk] = kept[chunk], token
            disk.unlink_quietly(spare.path)
            said.append(f"removed a second token of chunk {name} in {spare.where}/")
        else:
            kept[chunk] = token
    missing += sorted(wanted - set(kept))
    return said


def _is_filed(queue: Queue, chunk: Chunk) -> bool:
    """Whether a chunk may be filed: its journal and the manifest hold all its jobs, and no row is still to come."""
    checkpoint = read_checkpoint(queue)
    if checkpoint is None:
        return True  # everything filed will be filed again
    ids = queue.chunk_ids(chunk)
    final = chunk_state(queue, chunk).finals() >= chunk.jobs
    return final and chunk.name not in checkpoint.open and ids <= _with_row(queue, ids, checkpoint.length)


def _make_again(queue: Queue, missing: list[Chunk]) -> list[str]:
    """Make lost tokens again, each where its journal and the manifest say that it belongs."""
    if not missing:
        return []
    checkpoint = read_checkpoint(queue)
    open_journals = checkpoint.open if checkpoint else {}
    touched = {chunk for chunk in missing if _touched(queue, chunk)}
    # The checkpoint forgets a journal when its chunk is filed. One that it does not name was either filed, or never
    # read by a monitor; the manifest tells which.
    unnamed = {chunk: queue.chunk_ids(chunk) for chunk in touched if chunk.name not in open_journals}
    rows: set[str] = set()
    if checkpoint and unnamed:
        rows = _with_row(queue, set().union(*unnamed.values()), checkpoint.length)
    said: list[str] = []
    for chunk in missing:
        ids = unnamed.get(chunk, set())
        if ids and ids <= rows:
            path, where = queue.filed_token(chunk), "filed"
        elif chunk in touched:
            path, where = queue.deferred_token(chunk), "deferred"
            if ids & rows:  # some rows and not all: the manifest is derived from the journals again
                disk.unlink_quietly(queue.checkpoint)
                said.append("the manifest does not fit the journals: it will be derived from them again")
        else:
            path, where = queue.pending_token(chunk), "pending"
        disk.create(path, b"", sync=False)
        disk.sync_dir(os.path.dirname(path))
        said.append(f"made the token of chunk {chunk.name} again in {where}/")
    return said


def _touched(queue: Queue, chunk: Chunk) -> bool:
    return next(journal.lines(queue.journal(chunk)), None) is not None


def _with_row(queue: Queue, ids: set[str], length: int) -> set[str]:
    """Which of these ids have a row within the manifest's first `length` bytes."""
    return {video_id for row in read_rows(queue, length) if (video_id := row["video_id"]) in ids}
