"""Counting a queue's jobs from its files, at any time, without a lock.

The counts are the checkpoint's plus what the open journals hold after it. So they are as true after a crash as during
a run, and cost the same for ten thousand jobs as for ten million.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from engine.queue.directory import Queue, exists
from engine.queue.job_state import is_due
from engine.queue.journal_follower import JournalFollower, touched_chunks
from engine.queue.manifest import Checkpoint, Counts, OpenJournal, read_checkpoint
from engine.queue.segments import Chunk

_RETRIES = 20


@dataclass(slots=True)
class Recount:
    """Jobs by state, from the files. Which jobs are in flight is known only from living workers."""

    counts: Counts
    rows: int  # final jobs whose row is in the manifest for good
    all_filed: bool  # no chunk is held, deferred or done
    waiting: dict[str, float]  # deferred jobs, and until when each waits (wall clock)
    reasons: Counter[str]  # after what kinds of failure they wait
    bad_lines: int


def recount(queue: Queue, now: float) -> Recount:
    """Count the queue's final and deferred jobs."""
    for _ in range(_RETRIES):
        before = read_checkpoint(queue) or Checkpoint()
        result = _recount(queue, before, now)
        after = read_checkpoint(queue)
        # When a chunk was filed meanwhile, the sum mixed two moments.
        if after is None or after.length == before.length:
            break
    return result


def _recount(queue: Queue, checkpoint: Checkpoint, now: float) -> Recount:
    result = Recount(
        checkpoint.counts.copy(),
        durable_rows(queue, checkpoint),
        all_filed=True,
        waiting={},
        reasons=Counter(),
        bad_lines=checkpoint.bad_lines,
    )
    touched = set(touched_chunks(queue))
    result.all_filed = not touched
    named = {chunk for name in checkpoint.open if (chunk := Chunk.parse(name)) is not None}
    for chunk in named | touched:
        known = checkpoint.open.get(chunk.name) or OpenJournal()
        follower = JournalFollower(queue, chunk, known.offset)
        follower.read()
        result.bad_lines += max(follower.bad, known.bad_lines)
        for job in follower.finals():
            result.counts.add(job.final or {})
        jobs = follower.state.jobs
        open_jobs = {video_id: job for video_id, job in jobs.items() if job.final is None}
        times = {video_id: at for video_id, at in known.waiting.items() if video_id not in jobs}
        times |= {video_id: job.not_before for video_id, job in open_jobs.items()}
        late = {video_id: at for video_id, at in times.items() if not is_due(at, now)}
        reasons = {**known.reasons, **{video_id: job.why for video_id, job in open_jobs.items()}}
        result.waiting |= late
        result.reasons.update(why for video_id in late if (why := reasons.get(video_id)))
    return result


def durable_rows(queue: Queue, checkpoint: Checkpoint) -> int:
    """How many rows the manifest holds for good; none when it is missing or truncated: the next run derives it."""
    try:
        size = os.stat(queue.manifest).st_size
    except OSError:
        size = 0
    return checkpoint.counts.final if size >= checkpoint.length else 0


def finished(queue: Queue) -> bool:
    """Whether the row of every seeded job is in the manifest and every chunk is filed.

    The caller holds seed.lock, so nobody adds jobs meanwhile. Open listings are not considered.
    """
    checkpoint = read_checkpoint(queue)
    if checkpoint is None:
        return exists(queue.root) and queue.total() == 0
    return durable_rows(queue, checkpoint) >= queue.total() and next(touched_chunks(queue), None) is None
