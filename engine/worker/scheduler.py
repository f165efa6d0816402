"""The scheduler of a worker process: which jobs are at hand, which wait, which are in flight. Memory only.

Threads ask it for work, the worker's main thread lays chunks on it and takes finished ones off. All state is guarded
by one condition. Rules:

- A thread first waits until there is work for it (`wait_for_work`), then for its permit, and only then takes a job
  (`take`): a job that nobody has a permit for is not in flight, and a drain has nothing to undo. Between the two a
  place is reserved for it, so that no more threads wait for permits than jobs could begin.
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

from engine.model import Permit
from engine.queue.segments import Chunk
from engine.worker.results import JournalLine
from engine.worker.retry_policy import WAITS_S
from engine.worker.stuck_egresses import StuckEgresses
from engine.worker.work import ControlDue, Item, OpenChunk, Work

PARK_S = WAITS_S[-1] * 1.5  # longer waits leave with their chunk
FAR = 64  # how many jobs at hand are searched for one that suits an egress better


class Scheduler:
    """See the module's text. The main thread is told when fewer than `threads` jobs are unstarted. At most `limit`
    jobs may become final here. `egresses` are their names, as in the journals. `stopping` is set when nothing more is
    to begin, here or by whoever was told so."""

    def __init__(
        self,
        threads: int = 1,
        limit: int | None = None,
        egresses: tuple[str, ...] = ("",),
        stopping: threading.Event | None = None,
        processes: int = 1,
    ) -> None:
        self.changed = threading.Condition()
        self.attention = threading.Event()  # set when the main thread has something to do
        self.stopping = stopping or threading.Event()
        self.exhausted = False  # there was nothing more to claim at the last look
        self.finals = 0
        self.in_flight: dict[int, Work] = {}
        self.chunks: dict[Chunk, OpenChunk] = {}
        self._threads = threads
        self._limit = limit
        self._egresses = egresses
        self._stuck = (
            StuckEgresses(len(egresses), threads, processes=processes) if len(egresses) > 1 else None
        )
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

    def take_off(self, *, rest: bool = False) -> list[OpenChunk]:
        """Take off the chunks on which nothing is to be done now; at the end the `rest` as well."""
        with self.changed:
            off = [home for home in self.chunks.values() if rest or not home.here]
            for home in off:
                del self.chunks[home.chunk]
            return off

    def wake(self, now: float) -> None:
        """Lay parked jobs ready whose time has come."""
        with self.changed:
            while self._parked and self._parked[0][0] <= now:
                self._lay(heapq.heappop(self._parked)[2])
                self.changed.notify()

    def unstarted(self) -> int:
        """How many jobs at hand have not begun."""
        with self.changed:
            return len(self._ready) + len(self._refused) + len(self._suspects)

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
            self.stopping.set()
            self.attention.set()
            self.changed.notify_all()

    # the threads' side
    def wait_for_work(self) -> bool:
        """Wait until one more job may begin, and reserve it; `take` comes next. False: nothing begins any more."""
        with self.changed:
            while not self.stopping.is_set():
                if self._reserved < self._startable():
                    self._reserved += 1
                    return True
                self.changed.wait()
            return False

    def take(self, thread: int, permit: Permit) -> Work | ControlDue | None:
        """A job for a thread that has waited for one, and has a permit now. None: nothing begins any more."""
        with self.changed:
            while not (
                permit.probe or self.stopping.is_set() or self._startable() > 0
            ):  # a suspect has come since
                self.changed.wait()
            self._reserved -= 1
            if permit.probe:
                self.changed.notify()
                if self._stuck is not None:
                    self._stuck.begin(permit.egress)
                return ControlDue(probe=True)
            if self.stopping.is_set():
                return None
            item = self._next(self._egresses[permit.egress], permit.ok_at)
            if item is None:
                return ControlDue()
            now = time.monotonic()
            work = self.in_flight[thread] = Work(item, thread, permit, now, now, item.state.refused)
            self._refused_out += work.was_refused
            if self._stuck is not None:
                self._stuck.begin(permit.egress)
            if self.unstarted() < self._threads:
                self.attention.set()
            return work

    def finish(self, work: Work, line: JournalLine | None) -> None:
        """A job leaves its thread: it is final, or comes again here, or later with its chunk. None: another call
        decides. Until then it is neither here nor in flight."""
        with self.changed:
            if self.in_flight.get(work.thread) is work:
                del self.in_flight[work.thread]
                self._refused_out -= work.was_refused
                self._alone = False
                if self._stuck is not None:
                    took_s = time.monotonic() - work.started
                    self._stuck.end(work.permit.egress, took_s, answered=work.answered)
            else:
                self._undecided -= 1
            if line is None:
                self._undecided += 1
            elif line.again_in_s is None:
                work.item.home.here -= 1
                self.finals += 1
            else:
                self._put_back(work.item, line, line.again_in_s)
            if not work.item.home.here:
                self.attention.set()
            self.changed.notify_all()

    def probed(self, permit: Permit, took_s: float, *, answered: bool) -> None:
        """A probe is over."""
        with self.changed:
            if self._stuck is not None:
                self._stuck.end(permit.egress, took_s, answered=answered)

    def avoid(self, egress: int, asked_at: float) -> bool:
        """Whether an egress, which owes an answer since `asked_at` (0: it owes none), would better not be used for
        the next job, as long as others can."""
        with self.changed:
            stuck = self._stuck is not None and self._stuck.is_stuck(egress, asked_at)
            return stuck or self.shunned() == self._egresses[egress]

    def shunned(self) -> str | None:
        """The egress by which all jobs that could begin have failed before; None when there is none such."""
        with self.changed:
            if self._suspects or self._refused or not self._ready or len(self._ready) > FAR:
                return None
            name = self._ready[0].state.failed_by
            if name is None or any(item.state.failed_by != name for item in self._ready):
                return None
            return name

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

    def _next(self, egress: str, passed_at: float) -> Item | None:
        """The job to begin by an egress, by which something last passed at `passed_at` (monotonic clock). None when
        there are only refused ones, before which something else has to pass."""
        if self._suspects:
            self._alone = True
            return self._suspects.popleft()
        if self._refused and not self._refused_out and self._refused[0].refused_at < passed_at:
            return self._refused.popleft()
        if self._stuck is not None:  # there are several egresses
            for at, item in enumerate(itertools.islice(self._ready, FAR)):
                if item.state.failed_by != egress:
                    del self._ready[at]
                    return item
        return self._ready.popleft() if self._ready else None

    def _put_back(self, item: Item, line: JournalLine, again_in_s: float) -> None:
        now = time.monotonic()
        item.lost_at = now if line.lost else item.lost_at
        item.refused_at = now if line.blocked else item.refused_at
        if again_in_s <= 0:
            self._lay(item, first=True)
        elif again_in_s <= PARK_S:
            self._park(item, again_in_s)
        else:
            item.home.here -= 1
            item.home.away[item.job.video_id] = item.state.not_before

    def _lay(self, item: Item, *, first: bool = False) -> None:
        queue = self._suspects if item.state.deaths else self._refused if item.state.refused else self._ready
        if queue is self._refused:
            item.refused_at = item.refused_at or time.monotonic()
        if (
            first and queue is self._ready
        ):  # of refused ones the oldest goes first: something has passed since
            queue.appendleft(item)
        else:
            queue.append(item)

    def _park(self, item: Item, wait_s: float) -> None:
        heapq.heappush(self._parked, (time.monotonic() + wait_s, next(self._order), item))
