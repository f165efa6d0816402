"""The jobs at hand in a worker process, as values: a chunk, a job of it, and a job in flight in a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from engine.model import Job, Permit
from engine.queue.job_state import ChunkState, JobState
from engine.queue.journal import Journal
from engine.queue.segments import Chunk


@dataclass(slots=True)
class OpenChunk:
    """A chunk at hand: its journal, and how many of its jobs are in which state. The others are final."""

    chunk: Chunk
    journal: Journal
    state: ChunkState
    here: int = 0  # open jobs that are at hand, parked, in flight or unconfirmed
    away: dict[str, float] = field(default_factory=dict)  # open jobs whose wait is too long to be parked
    synced_end: int = 0
    name: str = ""  # the chunk's


@dataclass(slots=True, eq=False)
class Item:
    """A job at hand. Beside its state it has what only this process needs to know (monotonic clock, 0: never):

    refused_at  when it was refused the last time, or was claimed after that: it waits until others have passed since
    lost_at     when its connection was lost the last time and that was the egress's
    """

    home: OpenChunk
    job: Job
    state: JobState
    refused_at: float = 0.0
    lost_at: float = 0.0


@dataclass(slots=True, eq=False)
class Work:
    """A job in flight in a thread. Times are of the monotonic clock.

    permit      of its last request: should the thread hang, it is this egress that it hangs on
    since       when it got that permit; infinite while it waits for another
    answered    its egress answered, whatever it said
    concluding  whoever takes this lock concludes the job: its thread, or the main thread that gave up on it
    """

    item: Item
    thread: int
    permit: Permit
    started: float
    since: float
    was_refused: bool = False  # when it began
    answered: bool = False
    abandoned: bool = False  # by the main thread: its own must leave everything alone
    concluding: threading.Lock = field(default_factory=threading.Lock)

    def abandon(self) -> bool:
        """Give up on its thread. False when that has just come back: then it concludes the job itself."""
        self.abandoned = self.abandoned or self.concluding.acquire(blocking=False)
        return self.abandoned


@dataclass(frozen=True, slots=True)
class ControlDue:
    """Said to a thread in place of a job: its permit is for a control video. `probe`: of an egress that was blocked;
    else something has to pass before a refused job, and no other job is left."""

    probe: bool = False
