"""Follows the journals of the chunks that are not filed, for the monitor and the counts.

`engine.verify.journal_reader` is the audit's own and shares no code with this."""

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

    A chunk whose token moves meanwhile may come twice. Deferred ones are listed first and last, because tokens move
    from there into a worker's directory and back.
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


def chunk_state(queue: Queue, chunk: Chunk, *, brief: bool = False) -> ChunkState:
    """The state of a chunk, from its journal. `brief`: see `engine.queue.journal.decode`."""
    return fold(journal.lines(queue.journal(chunk), brief=brief))


class JournalFollower:
    """One journal, read from some offset on as it grows."""

    def __init__(self, queue: Queue, chunk: Chunk, start: int = 0) -> None:
        self.chunk = chunk
        self.path = queue.journal(chunk)
        self.state = ChunkState(end=start)
        self.bad = 0
        self._dropped = 0

    def read(self) -> bool:
        """Apply the new complete lines; True when there were any."""
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            return False
        if size <= self.state.end:
            return False
        part = journal.read(self.path, self.state.end, brief=True)
        self.bad += part.bad
        fold(part.entries, self.state)
        moved = part.end > self.state.end or bool(part.entries)
        self.state.end = part.end
        return moved

    def drop_rows(self, upto: int) -> None:
        """Forget the rows before this offset, and remember only that their jobs are final.

        A batch may have thousands of open chunks, and a row has a few KB.
        """
        if upto > self._dropped:
            self._dropped = upto
            for state in self.state.jobs.values():
                if state.final is not None and state.final_end <= upto:
                    state.final, state.final_raw = _DROPPED, b""

    def waiting(self, now: float) -> dict[str, float]:
        """The deferred jobs, each with the time at which it is due."""
        return {
            video_id: state.not_before
            for video_id, state in self.state.jobs.items()
            if state.final is None and not state.due(now)
        }

    def reasons(self, video_ids: Iterable[str]) -> dict[str, str]:
        """After what kind of failure each of these jobs waits."""
        jobs = self.state.jobs
        return {video_id: why for video_id in video_ids if (why := jobs[video_id].why) is not None}

    def finals(self) -> Iterator[JobState]:
        """The final jobs. `final` has only a row's id, status and kind; `final_raw` is the row as it was written."""
        return (state for state in self.state.jobs.values() if state.final is not None)
