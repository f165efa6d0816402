"""Which jobs a retry puts back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from engine.queue.directory import Queue
from engine.queue.journal_follower import chunk_state, touched_chunks
from engine.queue.manifest import Checkpoint, read_checkpoint, read_rows
from engine.queue.segments import Chunk, read_ids, split_chunks
from engine.storage.timestamps import seconds

Wanted = Callable[[dict[str, Any]], bool]
"""Whether the job of this row is to be put back."""


def wants(kinds: set[str] | None, absent: bool, older_than_s: float | None) -> Wanted:
    """The choice that the options of `engine retry` make: see `engine.recovery.requeue.retry`."""
    before = None if older_than_s is None else time.time() - older_than_s

    def wanted(row: dict[str, Any]) -> bool:
        status, kind = row.get("status"), row.get("kind")
        if status == "ok" or (kinds is not None and kind not in kinds):
            return False
        if status == "absent" and not absent and kinds is None:
            return False
        return before is None or (seconds(row.get("finished_at")) or 0.0) <= before

    return wanted


def choose(queue: Queue, wanted: Wanted) -> dict[Chunk, list[str]]:
    """The jobs to put back, by chunk: from the manifest, and from journals whose rows are not there yet."""
    checkpoint = read_checkpoint(queue) or Checkpoint()
    names = {row["video_id"] for row in read_rows(queue, checkpoint.length) if wanted(row)}
    chunks: dict[Chunk, list[str]] = {}
    for segment in queue.segments() if names else ():
        chunks |= _by_chunk(queue.segment(segment), names)
    for chunk in set(touched_chunks(queue)):
        jobs = chunk_state(queue, chunk).jobs
        chosen = [video_id for video_id, job in jobs.items() if job.final is not None and wanted(job.final)]
        if chosen:
            chunks[chunk] = chosen
    return chunks


def _by_chunk(path: str, names: set[str]) -> dict[Chunk, list[str]]:
    found: dict[Chunk, list[str]] = {}
    ids = read_ids(path)
    for chunk in split_chunks(path):
        chosen = [video_id for video_id in (next(ids) for _ in range(chunk.jobs)) if video_id in names]
        if chosen:
            found[chunk] = chosen
    return found
