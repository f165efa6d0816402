"""Repairs what dead worker processes left in `workers/`: records deaths in the journals and frees the tokens.

Living worker processes do this within seconds, else the end of the run or the next run.

The lock of a directory goes last, so that nobody else starts on it meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from engine.queue import claims, journal
from engine.queue.directory import Queue, chunks_in, worker_ids
from engine.queue.job_state import fold
from engine.queue.segments import read_jobs
from engine.storage import disk
from engine.storage.locks import Lock

RemoveOutput = Callable[[str, tuple[dict[str, Any], ...], float | None], None]


def record_death(queue: Queue, worker_id: str) -> None:
    """Note that a worker died while its supervisor lived: its jobs in flight may have killed it.

    Without this note (everything was killed together) no job is blamed.
    """
    path = os.path.join(queue.workers, worker_id, "died")
    with contextlib.suppress(FileNotFoundError):
        disk.publish(path, b"sure", tmp_dir=queue.tmp, sync=False)  # earlier versions of the engine read it


def _is_recorded(path: str) -> bool:
    """Whether the supervisor noted the death of the worker that had this directory."""
    return os.path.exists(os.path.join(path, "died"))


def reclaim(queue: Queue, run_id: str, remove_output: RemoveOutput) -> int:
    """Take apart the directories of dead workers; returns how many.

    A dead worker of this very run waits until its death is recorded, so that its jobs in flight are blamed. For each
    job that was in flight and has no final, `remove_output(job, rows, since)` removes what it may have left in the
    output directory. `rows` are its rows in the journal that name files, `since` is when the worker's run began.
    """
    count = 0
    for worker_id in worker_ids(queue):
        path = os.path.join(queue.workers, worker_id)
        if worker_id.startswith(run_id + ".") and not _is_recorded(path):
            continue
        lock = Lock(os.path.join(path, "lock"))
        try:
            if not lock.take(create=False):
                continue
        except FileNotFoundError:
            # A directory has no lock only when its removal was interrupted or a power cut took the lock. No
            # process lives there; tokens and small files may be left.
            if chunks_in(path):
                _reclaim_one(queue, path, worker_id, recorded=False, remove_output=remove_output)
            claims.unlink(path, "inflight", "died")
            with contextlib.suppress(OSError):
                disk.rmdir(path)
            continue
        except NotADirectoryError:  # a stray file: `engine verify` names it
            continue
        try:
            _reclaim_one(queue, path, worker_id, recorded=_is_recorded(path), remove_output=remove_output)
            claims.remove(path, lock)
            count += 1
        finally:
            lock.release()
    return count


def _reclaim_one(
    queue: Queue, path: str, worker_id: str, *, recorded: bool, remove_output: RemoveOutput
) -> None:
    busy = claims.in_flight(path)
    for chunk in chunks_in(path):
        gathered = queue.gathering_under_way()
        if gathered is not None and gathered.counts and chunk.segment in gathered.of:
            disk.unlink_quietly(os.path.join(path, chunk.name))  # its jobs are in another segment by now
            continue
        state = fold(journal.lines(queue.journal(chunk)))
        mine = [video_id for in_chunk, video_id in busy if in_chunk == chunk]
        open_jobs = [
            video_id for video_id in mine if (s := state.jobs.get(video_id)) is None or s.final is None
        ]
        if open_jobs:  # of this chunk alone: `inflight` may be damaged and name a job of another
            known = {job.video_id for job in read_jobs(queue.segment(chunk.segment), chunk)}
            open_jobs = [video_id for video_id in open_jobs if video_id in known]
        for video_id in open_jobs:
            job = state.jobs.get(video_id)
            remove_output(video_id, job.earlier if job else (), claims.began_at(worker_id))
        if recorded and open_jobs:
            book = journal.Journal(queue.journal(chunk))
            for video_id in open_jobs:
                alone = len(busy) == 1
                book.write("died", {"job": video_id, "worker": worker_id, "alone": alone, "sure": True})
            book.close()
        touched = bool(state.end) or (recorded and bool(open_jobs))
        claims.release(queue, os.path.join(path, chunk.name), chunk, 0.0 if touched else None)
