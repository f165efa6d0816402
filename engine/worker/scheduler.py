"""The scheduler of a worker process: which jobs are at hand, which wait, which are in flight. Memory only.

Threads ask it for work, the worker's main thread lays chunks on it and takes finished ones off. All state is guarded
by one condition. Rules:

- A thread first waits until there is work for it, then for its permit, and only then takes a job: a job that
  nobody has a permit for is not in flight, and a drain has nothing to undo.
- A suspect (its process died while it was in flight) runs alone: others start again when it is through.
- A refused job goes again, before all others, when something else has passed by its egress since. Only one such
  job is out at a time: two that are refused together would look like a block. Where nothing else is left to pass, a
  control video goes first.
- A job whose connection failed or hung by one egress goes by another if there is one.
- Retries of up to a minute are parked here without holding a thread; longer ones leave with their chunk.
- Under a limit no more jobs are in flight than may still become final.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.model import Job, Permit
from engine.queue.job_state import ChunkState, JobState
from engine.queue.journal import Journal
from engine.queue.segments import Chunk
from engine.worker.retry_policy import WAITS_S

PARK_S = WAITS_S[-1] * 1.5  # longer waits leave with their chunk
FAR = 64  # so far into the jobs at hand one is looked for that suits an egress better


@dataclass(slots=True)
class OpenChunk:
    """A chunk at hand: its journal, and how many of its jobs are in which state."""

    chunk: Chunk
    journal: Journal
    state: ChunkState
    open: int = 0  # jobs that are not final
    away: dict[str, float] = field(default_factory=dict)  # open jobs whose wait is too long to be parked
    synced_end: int = 0

    @property
    def idle(self) -> bool:
        """Nothing to do here now: every job is final or away."""
        return self.open == len(self.away)


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
    """A job in flight in a thread. `busy_s` counts the time not spent waiting for permits."""

    item: Item
    thread: int
    started: float
    was_refused: bool = False  # when it began
    waiting: bool = False
    busy_s: float = 0.0
    since: float = 0.0
    permit: Permit | None = None  # of its last request
    returned: bool = False  # its fetch is over: from here on it is the thread's to conclude
    abandoned: bool = False  # the main thread gave up on it: its own must leave everything alone

    def busy(self, now: float) -> float:
        return self.busy_s + (0.0 if self.waiting else now - self.since)


class ControlDue:
    """Said to a thread in place of a job: something else has to pass first, and only a control video is left."""


class Scheduler:
    """See the module's text. `limit`: so many jobs at most may become final here."""

    def __init__(self, low_water: int = 1, limit: int | None = None) -> None:
        self.changed = threading.Condition()
        self.attention = threading.Event()  # set when the main thread has something to do
        self.stopping = False
        self.exhausted = False  # there was nothing more to claim at the last look
        self.finals = 0
        self.in_flight: dict[int, Work] = {}
        self.chunks: dict[Chunk, OpenChunk] = {}
        self._low_water = low_water  # fewer unstarted jobs than this are too few
        self._limit = limit
        self._ready: deque[Item] = deque()
        self._refused: deque[Item] = deque()
        self._refused_out = 0
        self._suspects: deque[Item] = deque()
        self._parked: list[tuple[float, int, Item]] = []
        self._order = itertools.count()
        self._reserved = 0
        self._undecided = 0  # neither at hand nor in flight nor final
        self._alone = False

    # the main thread's side
    def put_chunk(self, home: OpenChunk, items: Iterable[tuple[Item, float]]) -> None:
        """Lay a chunk's open jobs ready, each with how long it waits (0: it is due)."""
        with self.changed:
            self.chunks[home.chunk] = home
            self.exhausted = False
            for item, wait_s in items:
                if wait_s > 0:
                    self._park(item, wait_s)
                else:
                    self._lay(item)
            self.changed.notify_all()

    def take_idle(self) -> list[OpenChunk]:
        """Take off the chunks on which nothing is to be done now."""
        with self.changed:
            idle = [home for home in self.chunks.values() if home.idle]
            for home in idle:
                del self.chunks[home.chunk]
            return idle

    def take_rest(self) -> list[OpenChunk]:
        """Take off everything, at the end."""
        with self.changed:
            rest = list(self.chunks.values())
            self.chunks.clear()
            return rest

    def wake(self, now: float) -> None:
        """Lay parked jobs ready whose time has come."""
        with self.changed:
            while self._parked and self._parked[0][0] <= now:
                self._lay(heapq.heappop(self._parked)[2])
                self.changed.notify()

    def unstarted(self) -> int:
        """How many jobs at hand have not begun."""
        with self.changed:
            return self._unstarted()

    @property
    def quiet(self) -> bool:
        """Whether nothing is in flight, and nothing can begin."""
        with self.changed:
            return not self.in_flight and self._startable() <= 0

    def next_due(self) -> float | None:
        """When the next parked job is due (monotonic), None when none is parked."""
        with self.changed:
            return self._parked[0][0] if self._parked else None

    def stop(self) -> None:
        """Start nothing new."""
        with self.changed:
            self.stopping = True
            self.attention.set()
            self.changed.notify_all()

    # the threads' side
    def wait_for_work(self) -> bool:
        """Wait until there is a job for one more thread; False when nothing begins any more.

        What comes next is `take` or `pass_over`."""
        with self.changed:
            while not self.stopping:
                if self._reserved < self._startable():
                    self._reserved += 1
                    return True
                self.changed.wait()
            return False

    def pass_over(self) -> None:
        """Take nothing after all."""
        with self.changed:
            self._reserved -= 1
            self.changed.notify()

    def take(self, thread: int, *, egress: str = "", passed_at: float = 0.0) -> Work | ControlDue | None:
        """A job for a thread that has waited for one, and has a permit of this egress, by which something last
        passed at `passed_at` (monotonic clock). None: nothing begins any more."""
        with self.changed:
            while not self.stopping:
                if self._startable() > 0:
                    self._reserved -= 1
                    item = self._next(egress, passed_at)
                    return self._begin(item, thread) if item is not None else ControlDue()
                self.changed.wait()
            self._reserved -= 1
            return None

    def shunned(self) -> str | None:
        """The egress by which all jobs that could begin have failed before; None when there is none such."""
        with self.changed:
            if self._suspects or self._refused or not self._ready or len(self._ready) > FAR:
                return None
            names = {item.state.failed_by for item in self._ready}
            return names.pop() if len(names) == 1 else None

    def returned(self, work: Work) -> bool:
        """A thread's fetch is over; False when the main thread has given up on it meanwhile."""
        with self.changed:
            if work.abandoned:
                return False
            work.returned = True
            return True

    def abandon(self, work: Work) -> bool:
        """Give up on a thread whose job does not come back; False when it just did."""
        with self.changed:
            if work.returned:
                return False
            work.abandoned = True
            return True

    def finish(self, work: Work, again_in_s: float | None) -> None:
        """A job is decided: final (`again_in_s` None), or back here, parked, or away with its chunk."""
        with self.changed:
            if not self._leave(work):
                self._undecided -= 1
            home = work.item.home
            if again_in_s is None:
                home.open -= 1
                self.finals += 1
            elif again_in_s <= 0:
                self._lay(work.item, first=True)
            elif again_in_s <= PARK_S:
                self._park(work.item, again_in_s)
            else:
                home.away[work.item.job.video_id] = work.item.state.not_before
            if home.idle:
                self.attention.set()
            self.changed.notify_all()

    def put_down(self, work: Work) -> None:
        """A job leaves its thread and is decided later, by `finish`; until then it is neither here nor in flight."""
        with self.changed:
            self._leave(work)
            self._undecided += 1
            self.changed.notify_all()

    def _next(self, egress: str, passed_at: float) -> Item | None:
        """The job to begin; None when there are only refused ones, before which something else has to pass."""
        if self._suspects:
            self._alone = True
            return self._suspects.popleft()
        if self._refused and not self._refused_out and self._refused[0].refused_at < passed_at:
            return self._refused.popleft()
        for at, item in enumerate(itertools.islice(self._ready, FAR)):
            if item.state.failed_by != egress or not egress:
                del self._ready[at]
                return item
        return self._ready.popleft() if self._ready else None

    def _begin(self, item: Item, thread: int) -> Work:
        now = time.monotonic()
        work = Work(item, thread, started=now, since=now, was_refused=item.state.refused)
        self.in_flight[thread] = work
        self._refused_out += work.was_refused
        if self._unstarted() < self._low_water:
            self.attention.set()
        return work

    def _unstarted(self) -> int:
        return len(self._ready) + len(self._refused) + len(self._suspects)

    def _startable(self) -> int:
        """How many jobs could begin now; a thread that reserved more would sit on its permit."""
        if self._alone:
            return 0
        if self._suspects:
            return 0 if self.in_flight else 1
        count = len(self._ready) + bool(self._refused and not self._refused_out)
        if self._limit is None:
            return count
        return min(count, self._limit - self.finals - len(self.in_flight) - self._undecided)

    def _leave(self, work: Work) -> bool:
        """Take a job out of its thread; False when it has left it before."""
        if self.in_flight.get(work.thread) is not work:
            return False
        del self.in_flight[work.thread]
        self._refused_out -= work.was_refused
        self._alone = False
        return True

    def _lay(self, item: Item, *, first: bool = False) -> None:
        queue = self._ready
        if item.state.deaths:
            queue = self._suspects
        elif item.state.refused:
            queue = self._refused
            item.refused_at = item.refused_at or time.monotonic()
        if first and queue is not self._suspects:
            queue.appendleft(item)
        else:
            queue.append(item)

    def _park(self, item: Item, wait_s: float) -> None:
        heapq.heappush(self._parked, (time.monotonic() + wait_s, next(self._order), item))
