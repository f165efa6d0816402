"""The desk of a worker process: which jobs are at hand, which wait, which are in flight. Memory only.

Threads ask the desk for work, the worker's keeper puts chunks on it and takes finished ones off. All state is
guarded by one condition. Rules:

- A thread first reserves a job (any), then waits for its permit, and only then takes the job: a job that
  nobody has a permit for is not in flight, and a drain has nothing to undo.
- A suspect (its process died while it was in flight) runs alone: others start again when it is through.
- A refused job gives way to others while its egress is being probed, and only one such job is out at a time:
  two that are refused together would look like a block.
- A job whose connection failed or hung by one egress goes by another if there is one.
- Retries of up to a minute are parked here without holding a thread; longer ones leave with their chunk.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engine.model import Job, Permit
from engine.queue.job_state import ChunkState, JobState
from engine.queue.journal import Journal
from engine.queue.segments import Chunk

FAR = 64  # so far into the jobs at hand one is looked for that suits an egress better


@dataclass(slots=True)
class OpenChunk:
    """A chunk on the desk: its journal, and how many of its jobs are in which state."""

    chunk: Chunk
    journal: Journal
    state: ChunkState
    open: int = 0  # jobs that are not final
    away: dict[str, float] = field(default_factory=dict)  # open jobs whose wait is too long for the desk
    synced_end: int = 0

    @property
    def idle(self) -> bool:
        """Nothing to do here now: every job is final or away."""
        return self.open == len(self.away)


@dataclass(slots=True, eq=False)
class Item:
    """A job on the desk."""

    home: OpenChunk
    job: Job
    state: JobState


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
    settling: bool = False  # its fetch is over: from here on it is the thread's to settle
    abandoned: bool = False  # the keeper gave up on it: the thread must leave everything alone

    def busy(self, now: float) -> float:
        return self.busy_s + (0.0 if self.waiting else now - self.since)


class Desk:
    """See the module's text."""

    def __init__(self, low_water: int = 1) -> None:
        self.changed = threading.Condition()
        self.attention = threading.Event()  # set when the keeper has something to do
        self._low_water = low_water  # fewer unstarted jobs than this are too few
        self.stopping = False
        self.in_flight: dict[int, Work] = {}
        self.chunks: dict[Chunk, OpenChunk] = {}
        self._ready: deque[Item] = deque()
        self._refused: deque[Item] = deque()
        self._refused_out = 0
        self._suspects: deque[Item] = deque()
        self._parked: list[tuple[float, int, Item]] = []
        self._order = itertools.count()
        self._reserved = 0
        self._alone = False

    # the keeper's side
    def put_chunk(self, home: OpenChunk, items: Iterable[tuple[Item, float]]) -> None:
        """Lay a chunk's open jobs on the desk, each with how long it waits (0: it is due)."""
        with self.changed:
            self.chunks[home.chunk] = home
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
        """Take off everything, at the end of a lap."""
        with self.changed:
            rest = list(self.chunks.values())
            self.chunks.clear()
            return rest

    def wake(self, now: float, aside: Callable[[Item], bool] = lambda _: False) -> None:
        """Lay parked jobs whose time has come on the desk, but for those that `aside` takes."""
        with self.changed:
            while self._parked and self._parked[0][0] <= now:
                item = heapq.heappop(self._parked)[2]
                if not aside(item):
                    self._lay(item)
                    self.changed.notify()

    def unstarted(self) -> int:
        """How many jobs at hand have not begun."""
        with self.changed:
            return self._unstarted()

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
    def reserve(self) -> bool:
        """Wait until there is a job for one more thread; False when the lap ends."""
        with self.changed:
            while not self.stopping:
                if self._reserved < self._startable():
                    self._reserved += 1
                    return True
                self.changed.wait()
            return False

    def cancel(self) -> None:
        """Give a reservation back."""
        with self.changed:
            self._reserved -= 1
            self.changed.notify()

    def begin(self, thread: int, *, probing: bool = False, egress: str = "") -> Work | None:
        """Turn a reservation into a job; None when the lap ends first. `probing`: the permit is a probe's,
        `egress`: it is this one's."""
        with self.changed:
            while not self.stopping:
                item = self._next(probing, egress)
                if item is not None:
                    self._reserved -= 1
                    now = time.monotonic()
                    work = Work(item, thread, started=now, since=now, was_refused=bool(item.state.refusals))
                    self.in_flight[thread] = work
                    self._refused_out += work.was_refused
                    if self._unstarted() < self._low_water:
                        self.attention.set()
                    return work
                self.changed.wait()
            self._reserved -= 1
            return None

    def _next(self, probing: bool, egress: str) -> Item | None:
        if self._alone:
            return None
        if self._suspects:
            if self.in_flight:
                return None
            self._alone = True
            return self._suspects.popleft()
        if self._refused and not self._refused_out and not (probing and self._ready):
            return self._refused.popleft()
        for at, item in enumerate(itertools.islice(self._ready, FAR)):
            if item.state.failed_by != egress or not egress:
                del self._ready[at]
                return item
        return self._ready.popleft() if self._ready else None

    def shunned(self) -> str | None:
        """The egress by which all jobs that could begin have failed before; None when there is none such."""
        with self.changed:
            if self._suspects or self._refused or not self._ready or len(self._ready) > FAR:
                return None
            names = {item.state.failed_by for item in self._ready}
            return names.pop() if len(names) == 1 else None

    def _unstarted(self) -> int:
        return len(self._ready) + len(self._refused) + len(self._suspects)

    def _startable(self) -> int:
        """How many jobs could begin now; a thread that reserved more would sit on its permit."""
        if self._alone:
            return 0
        if self._suspects:
            return 0 if self.in_flight else 1
        return len(self._ready) + bool(self._refused and not self._refused_out)

    def settle(self, work: Work) -> bool:
        """A thread's fetch is over; False when the keeper has given up on it meanwhile."""
        with self.changed:
            if work.abandoned:
                return False
            work.settling = True
            return True

    def end(self, work: Work, *, again_in_s: float | None, park_up_to_s: float) -> None:
        """A job leaves its thread: final (`again_in_s` None), or back here, parked, or away with its chunk."""
        with self.changed:
            self._leave(work)
            home = work.item.home
            if again_in_s is None:
                home.open -= 1
            elif again_in_s <= 0:
                self._lay(work.item, first=True)
            elif again_in_s <= park_up_to_s:
                self._park(work.item, again_in_s)
            else:
                home.away[work.item.job.video_id] = work.item.state.not_before
            if home.idle:
                self.attention.set()
            self.changed.notify_all()

    def put_down(self, work: Work) -> None:
        """A job leaves its thread and is decided later, by `end`; until then it is neither here nor in flight."""
        with self.changed:
            self._leave(work)
            self.changed.notify_all()

    def abandon(self, work: Work) -> bool:
        """Give up on a thread whose job does not come back; False when it just did."""
        with self.changed:
            if work.settling:
                return False
            work.abandoned = True
            return True

    def _leave(self, work: Work) -> None:
        if self.in_flight.get(work.thread) is work:
            del self.in_flight[work.thread]
            self._refused_out -= work.was_refused
            self._alone = False

    def _lay(self, item: Item, *, first: bool = False) -> None:
        if item.state.deaths:
            self._suspects.append(item)
        elif item.state.refusals and first:
            self._refused.appendleft(item)
        elif item.state.refusals:
            self._refused.append(item)
        elif first:
            self._ready.appendleft(item)
        else:
            self._ready.append(item)

    def _park(self, item: Item, wait_s: float) -> None:
        heapq.heappush(self._parked, (time.monotonic() + wait_s, next(self._order), item))
