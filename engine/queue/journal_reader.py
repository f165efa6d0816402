"""Following the journals of the chunks that are not filed: what the monitor and the counters read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from engine.queue import journal
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.job_state import ChunkState, JobState, fold
from engine.queue.segments import Chunk

_DROPPED: dict[str, Any] = {}  # stands for a row that is no longer needed


def touched_chunks(queue: Queue) -> Iterator[Chunk]:
    """The chunks that have or may have a journal and are not filed: held, deferred, done.

    One whose token moves meanwhile may be seen twice. Deferred ones are listed first and last, as tokens move
    from there into a worker's hands and back.
    """
    for _, chunk, _ in deferred_chunks(queue):
        yield chunk
    for worker_id in worker_ids(queue):
        yield from chunks_in(os.path.join(queue.workers, worker_id))
    yield from done_chunks(queue)
    for _, chunk, _ in deferred_chunks(queue):
        yield chunk


def done_chunks(queue: Queue) -> Iterator[Chunk]:
    """The chunks whose tokens lie in done/."""
    for segment in queue.segments():
        yield from chunks_in(queue.done(segment), segment)


class Tail:
    """One journal, read from some offset on as it grows."""

    def __init__(self, queue: Queue, chunk: Chunk, start: int = 0) -> None:
        self.chunk = chunk
        self.path = queue.journal(chunk)
        self.state = ChunkState(end=start)
        self.bad = 0
        self._dropped = 0

    def read(self) -> bool:
        """Take new complete lines into account; True when there were any."""
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            return False
        if size <= self.state.end:
            return False
        piece = journal.read(self.path, self.state.end, brief=True)
        self.bad += piece.bad
        fold(piece.entries, self.state)
        moved = piece.end > self.state.end or bool(piece.entries)
        self.state.end = piece.end
        return moved

    def drop_rows(self, upto: int) -> None:
        """Keep no rows that lie before this offset, only that their jobs are final: a batch may have thousands
        of open chunks, and each row is a few KB."""
        if upto > self._dropped:
            self._dropped = upto
            for state in self.state.jobs.values():
                if state.final is not None and state.final_end <= upto:
                    state.final, state.final_raw = _DROPPED, b""

    def waiting(self, now: float) -> dict[str, float]:
        """The open jobs that wait for a time, and for which."""
        return {
            video_id: state.not_before
            for video_id, state in self.state.jobs.items()
            if state.final is None and not state.due(now)
        }

    def reasons(self, names: Iterable[str]) -> dict[str, str]:
        """Of these jobs, the kinds of the failures they wait after."""
        jobs = self.state.jobs
        return {name: why for name in names if (why := jobs[name].why) is not None}

    def finals(self) -> Iterator[JobState]:
        """The final jobs. Of a row `final` tells its job and sort, and `final_raw` holds it as it was written."""
        return (state for state in self.state.jobs.values() if state.final is not None)
