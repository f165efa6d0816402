"""A worker process: one lap of claiming chunks and fetching their jobs on threads.

The process's main thread is the *keeper*: it claims ahead, parks and wakes retries, makes work durable every
few seconds, hands finished chunks on, takes dead workers' chunks over, and watches the clock, the memory and
the threads. The threads fetch. A lap ends by time, by request, or because the process should be replaced.
"""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass

from engine.errors import EngineError, Exit
from engine.model import Cost, Failure, Kind, Refused
from engine.output import publisher
from engine.queue import claims
from engine.queue.directory import Queue
from engine.queue.job_state import fold
from engine.queue.journal import Entry, Journal, lines
from engine.queue.segments import Chunk, read_jobs
from engine.settings import Settings
from engine.storage import disk
from engine.worker.attempt import Attempts
from engine.worker.context import Resources, rss_bytes
from engine.worker.fetch_loop import FetchLoop
from engine.worker.retry_policy import is_poison
from engine.worker.scheduler import PARK_S, Item, OpenChunk, Scheduler

SYNC_S = 5.0
RECLAIM_S = 5.0
TICK_S = 0.05
IDLE_S = 0.25
BREATH_S = 0.01  # the keeper's work comes in batches at least so far apart
OPEN_CHUNKS = 96  # at most so many journals open at once
SUSPEND_GAP_S = 2.0
HUNG_AFTER_S = 5.0  # past the deadline, which the sockets themselves should have kept
LEAK_BYTES = 300 << 20


@dataclass(frozen=True, slots=True)
class Report:
    """What a lap came to: why it ended, how many jobs it made final, and a message when something is wrong."""

    why: str  # time | stop | recycle | memory (there is none) | error
    finals: int = 0
    message: str = ""
    exit_code: int = 0


class Lap:
    """One stretch of work of this process."""

    def __init__(
        self, settings: Settings, resources: Resources, worker_id: str, stop: threading.Event
    ) -> None:
        self.settings = settings
        self.queue = Queue(settings.queue)
        self.resources = resources
        self.stop = stop
        self.desk = Scheduler(low_water=settings.threads, limit=settings.limit)
        self._error: BaseException | None = None
        self._hung = 0
        self._replace = False
        self._journal_lock = threading.Lock()
        self._output = publisher.Output(
            settings.frozen.output,
            settings.frozen.formats,
            worker_id,
            settings.batch,
            replace=settings.replace,
        )
        self._worker = claims.Worker(self.queue, worker_id, settings.threads)
        self._attempts = Attempts(
            self._output,
            resources.budget,
            settings.attempts,
            tuple(its.name for its in settings.egresses),
            rotating=settings.egresses[0].rotating,
        )
        self.hands = FetchLoop(settings, resources, self.desk, self._worker, self._attempts, self)
        self._rss_limit = resources.rss_bytes + LEAK_BYTES  # of the process: a leak may take many laps

    # ---- the keeper -------------------------------------------------------------------------------------
    def run(self) -> Report:
        """Work until the lap is over; never raises for what can be said in a report."""
        why = "error"
        try:
            self._reclaim()
            for number in range(self.settings.threads):
                self.hands.start(number)
            why = self._keep()
            self._wind_up()
        except BaseException as exc:
            if exc is not self._error and not isinstance(exc, (EngineError, OSError)):
                raise
            self._error = self._error or exc
            self.desk.attention.set()
        self.desk.stop()
        if self._error is not None:
            with self._journal_lock:  # a line that was being written is whole
                return self._said(self._error)
        self._output.close()
        self._worker.close()
        return Report("recycle" if self._replace else why, self.desk.finals)

    def _said(self, exc: BaseException) -> Report:
        """The process stops here; its directory stays as it is and is taken over like a dead one's."""
        if isinstance(exc, MemoryError):
            return Report("memory", self.desk.finals)
        if isinstance(exc, EngineError):
            return Report("error", self.desk.finals, str(exc), exc.exit_code)
        if isinstance(exc, OSError):
            error = disk.disk_error(exc, "writing the queue or the output")
            return Report("error", self.desk.finals, str(error), Exit.DISK)
        text = "".join(traceback.format_exception(exc))
        return Report("error", self.desk.finals, text, Exit.BUG)

    def _keep(self) -> str:
        now = time.monotonic()
        ends_at, synced_at, reclaimed_at, ticked_at = now + self.settings.lap_s, now, now, now
        idle_until = 0.0
        while self._error is None:
            now = time.monotonic()
            if now - ticked_at > SUSPEND_GAP_S:
                self._shift(now - ticked_at)
            ticked_at = now
            if self.stop.is_set():
                return "stop"
            if now >= ends_at or self._replace:
                return "time"
            self.resources.follow()
            self.desk.wake(now)
            if now >= idle_until and not self._fill():
                self.desk.exhausted = True
                idle_until = now + IDLE_S
                self._reclaim()
            self.hands.look()
            self._close_idle()
            if now - synced_at >= SYNC_S:
                self._sync(list(self.desk.chunks.values()))
                self.resources.budget.flush()
                self._replace = self._replace or rss_bytes() > self._rss_limit
                synced_at = now
            if now - reclaimed_at >= RECLAIM_S:
                self._reclaim()
                reclaimed_at = now
            self._watch(now)
            self._rest(now)
        return "error"

    def _rest(self, now: float) -> None:
        """Wait until something needs the keeper, a parked job is due, or a while has passed."""
        due = self.desk.next_due()
        wait_s = IDLE_S if due is None else max(0.0, min(IDLE_S, due - now))
        self.desk.attention.wait(wait_s)
        self.desk.attention.clear()
        self.stop.wait(BREATH_S)

    def _fill(self) -> bool:
        """Claim ahead until every thread has an unstarted job at hand; False when there is nothing to claim."""
        while self.desk.unstarted() < self.settings.threads and len(self.desk.chunks) < OPEN_CHUNKS:
            chunk = self._worker.claim(time.time())
            if chunk is None:
                return False
            self._open(chunk)
        return True

    def _open(self, chunk: Chunk) -> None:
        """Lay a claimed chunk on the desk, believing only what can be believed of its journal."""
        journal = Journal(self.queue.journal(chunk))
        state = fold(lines(journal.path))
        journal.write_again(state.synced_end)  # an fsync over it may have failed
        home = OpenChunk(chunk, journal, state, synced_end=state.synced_end)
        for video_id in state.unsynced_finals():
            row = state.jobs[video_id].final or {}
            if row.get("status") != "ok":
                continue
            if publisher.intact(self.settings.frozen.output, row):
                self._output.touch(video_id)  # whoever published them may not have come to sync their names
            else:
                self.write(
                    home, "reopen", {"job": video_id, "why": "its files are gone or not what the row says"}
                )
        now = time.time()
        items = []
        for job in read_jobs(self.queue.segment(chunk.segment), chunk):
            its = state.job(job.video_id)
            if its.final is not None:
                continue
            home.open += 1
            item = Item(home, job, its)
            if is_poison(its.deaths.values()):
                self._poison(item)
            elif its.due(now):
                items.append((item, 0.0))
            elif its.not_before - now <= PARK_S:
                items.append((item, its.not_before - now))
            else:
                home.away[job.video_id] = its.not_before
        self.desk.put_chunk(home, items)

    def _poison(self, item: Item) -> None:
        deaths = len(item.state.deaths)
        failure = Failure(Kind.POISON, f"its process died {deaths} times while it was in flight")
        recorded = self._attempts.final(item.job, item.state, Refused(failure, Cost()), deaths)
        self.write(item.home, recorded.verb, recorded.body)
        item.home.open -= 1

    def _close_idle(self) -> None:
        """Hand on the chunks that are finished or can only wait."""
        idle = self.desk.take_idle()
        if idle:
            self._sync(idle)
            self._let_go(idle)

    def _let_go(self, homes: list[OpenChunk]) -> None:
        for home in homes:
            home.journal.close()
            if not home.open:
                self._worker.finish(home.chunk)
            else:
                self._worker.give_back(home.chunk, self._earliest(home))

    def _earliest(self, home: OpenChunk) -> float | None:
        """When the first open job of a chunk is due; None when nothing has happened to the chunk."""
        if not home.journal.end:
            return None
        if len(home.away) < home.open:
            now = time.time()
            waits = [s.not_before for s in home.state.jobs.values() if s.final is None and not s.due(now)]
            return min(waits) if len(waits) == home.open else 0.0
        return min(home.away.values())

    def _sync(self, homes: list[OpenChunk]) -> None:
        """Make outputs' names and journals durable, and say so in the journals."""
        with self._journal_lock:
            touched = self._output.touched()
            ends = [(home, home.journal.end) for home in homes if home.journal.end > home.synced_end]
        if not ends:
            if touched:
                self._output.sync(touched)
            return
        self._output.sync(touched)
        for home, _ in ends:
            home.journal.sync()
        with self._journal_lock:
            self._go_on()
            for home, end in ends:
                grown = home.journal.end > end  # lines that came meanwhile are not promised by this one
                home.journal.write("synced", {"end": end})
                home.synced_end = end if grown else home.journal.end
                home.state.synced_end = end

    def _reclaim(self) -> None:
        run_id = self._worker.id.partition(".")[0]
        frozen = self.settings.frozen
        forget = publisher.forgetting(frozen.output, self.settings.batch, frozen.formats)
        claims.reclaim(self.queue, run_id, forget)

    def _shift(self, gap_s: float) -> None:
        """The process was suspended: nobody's deadline ran meanwhile."""
        with self.desk.changed:
            for work in self.desk.in_flight.values():
                work.since += gap_s
                work.suspended = True
        self.resources.door.extend(gap_s)

    def _watch(self, now: float) -> None:
        """Give up on threads that do not come back: the job times out, another thread takes the slot."""
        with self.desk.changed:
            late = [
                w
                for w in self.desk.in_flight.values()
                if w.busy(now) > self.settings.deadline_s + HUNG_AFTER_S
            ]
        for work in late:
            if self.hands.give_up_on(work):
                self._hung += 1
                self._replace = self._replace or self._hung >= max(2, self.settings.threads // 4)

    def _wind_up(self) -> None:
        """Finish what is in flight, then let go of everything."""
        self.desk.stop()
        while self.desk.in_flight and self._error is None:
            now = time.monotonic()
            self._watch(now)
            with self.desk.changed:
                self.desk.changed.wait(TICK_S)
        if self._error is None:
            self.hands.let_go()
            rest = self.desk.take_rest()
            self._sync(rest)
            self._let_go(rest)
            self.resources.budget.flush()

    def fail(self, exc: BaseException) -> None:
        """A thread met what the whole process must hear of."""
        self._error = self._error or exc
        self.desk.attention.set()

    def _go_on(self) -> None:
        """A process that met a failing disk writes no line more, whichever of its threads met it."""
        if self._error is not None:
            raise self._error

    def write(self, home: OpenChunk, verb: str, body: dict[str, object]) -> None:
        with self._journal_lock:
            self._go_on()
            home.journal.write(verb, body)
            home.state.apply(Entry(verb, body, home.journal.end, b""))


def run_lap(settings: Settings, resources: Resources, worker_id: str, stop: threading.Event) -> Report:
    """One lap, in which nothing foreign is raised: text crosses the process border, exceptions do not."""
    try:
        return Lap(settings, resources, worker_id, stop).run()
    except (EngineError, OSError) as exc:
        message = str(exc) if isinstance(exc, EngineError) else str(disk.disk_error(exc, "beginning a lap"))
        return Report("error", 0, message, exc.exit_code if isinstance(exc, EngineError) else Exit.DISK)
    except MemoryError:
        return Report("memory")
    except Exception:  # noqa: BLE001
        return Report("error", 0, traceback.format_exc(), Exit.BUG)
