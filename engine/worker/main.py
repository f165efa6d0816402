"""A worker process: its main thread claims chunks ahead, its other threads fetch their jobs.

The main loop also wakes parked retries, makes work durable every few seconds, hands finished chunks on, takes over
what dead workers left, and watches its memory and its threads. A process works until it is told to drain, has grown
too much, or one of its threads hangs. Then what is in flight finishes within the grace, and the process ends with a
report. The supervisor starts the next one.
"""

from __future__ import annotations

import time
import traceback

from engine.errors import EngineError, Exit
from engine.output import stores
from engine.process import shortages, suspends
from engine.queue import claims, dead_workers
from engine.queue.directory import Queue
from engine.storage import disk
from engine.worker.context import Resources, rss_bytes
from engine.worker.control import WorkerControl, WorkerReport
from engine.worker.fetch_loop import FetchLoop
from engine.worker.held_chunks import HeldChunks
from engine.worker.results import ResultHandler
from engine.worker.scheduler import Scheduler
from engine.worker.work import Work

SYNC_S = 5.0
RECLAIM_S = 5.0
TICK_S = 0.05
IDLE_S = 0.25
PAUSE_S = 0.01  # at least, between two turns of the main loop: its work comes in batches
OPEN_CHUNKS = 96  # journals open at once, at most
HUNG_AFTER_S = 30.0  # beyond the deadline, which the sockets themselves should have kept
STEP_BACK = 0.75  # of the grace: an attempt still waiting for a permit then would not end in time
GROWTH_BYTES = 300 << 20


class MainLoop:
    """The work of one process. `worker_id` names its directory of claims."""

    def __init__(self, control: WorkerControl, resources: Resources, worker_id: str) -> None:
        settings = control.settings
        self.control = control
        self.settings = settings
        self.queue = Queue(settings.queue)
        self.resources = resources
        names = tuple(egress.name for egress in settings.egresses)
        self.scheduler = Scheduler(settings.threads, settings.limit, names, control.stop, settings.processes)
        self._output = stores.open_store(settings.frozen, worker_id, settings.batch, replace=settings.replace)
        self._worker = claims.Worker(self.queue, worker_id, settings.threads)
        rotating = settings.egresses[0].rotating
        results = ResultHandler(self._output, resources.budget, settings.attempts, names, rotating)
        self.chunks = HeldChunks(settings, self._worker, results)
        self.fetch_loop = FetchLoop(settings, resources, self.scheduler, self._worker, results, self.chunks)
        self._max_rss_bytes = resources.rss_bytes + GROWTH_BYTES
        self._worn = False  # a thread hangs or the process has grown: another one is better

    def run(self) -> WorkerReport:
        """Work until this process is to end. Never raises for what can be said in a report."""
        why = "error"
        try:
            self._reclaim()
            for number in range(self.settings.threads):
                self.fetch_loop.start(number)
            why = self._work()
            self._drain()
        except BaseException as exc:
            if exc is not self.chunks.error and not isinstance(exc, (EngineError, OSError)):
                raise
            self.chunks.fail(exc)
        self.scheduler.stop()
        if self.chunks.error is not None:  # the directory stays as it is and is taken over like a dead one's
            self.chunks.fail(self.chunks.error)
            return report_of(self.chunks.error, self.scheduler.finals)
        self._output.close()
        self._worker.close()
        return WorkerReport(why, self.scheduler.finals)

    def _work(self) -> str:
        """The main loop; returns why it ended."""
        synced_at = reclaimed_at = time.monotonic()
        idle_until = 0.0
        while self.chunks.error is None:
            now = time.monotonic()
            if self.control.stop.is_set():
                return "stop"
            if self._worn:
                return "recycle"
            self.resources.wanted = self.control.budget
            self.resources.apply_settings()
            self.scheduler.wake(now)
            if now >= idle_until and not self._fill():
                self.scheduler.exhausted = True
                idle_until = now + IDLE_S
                self._reclaim()
            self.fetch_loop.decide_unconfirmed()
            self._close_idle()
            if now - synced_at >= SYNC_S:
                self.chunks.sync(list(self.scheduler.chunks.values()))
                self.resources.budget.flush()
                self._worn = self._worn or rss_bytes() > self._max_rss_bytes
                synced_at = now
            if now - reclaimed_at >= RECLAIM_S:
                self._reclaim()
                reclaimed_at = now
            self._give_up_hung_threads(now)
            self._wait(now)
        return "error"

    def _wait(self, now: float) -> None:
        """Wait until there is something to do here, a parked job is due, or a while has passed."""
        due = self.scheduler.next_due()
        self.scheduler.attention.wait(IDLE_S if due is None else max(0.0, min(IDLE_S, due - now)))
        self.scheduler.attention.clear()
        self.control.stop.wait(PAUSE_S)

    def _fill(self) -> bool:
        """Claim ahead until every thread has an unstarted job at hand; False when there is nothing to claim."""
        while self.scheduler.unstarted() < self.settings.threads and len(self.scheduler.chunks) < OPEN_CHUNKS:
            claimed = self.chunks.claim()
            if claimed is None:
                return False
            self.scheduler.put_chunk(*claimed)
        return True

    def _close_idle(self) -> None:
        """Hand on the chunks that are finished or can only wait."""
        idle = self.scheduler.take_off()
        if idle:
            self.chunks.sync(idle)
            self.chunks.let_go(idle)

    def _reclaim(self) -> None:
        """Take over what dead workers left."""
        run_id = self._worker.id.partition(".")[0]
        frozen = self.settings.frozen
        sync_names = self._output.sync_names
        remover = stores.output_remover(
            frozen.output, self.settings.batch, frozen.formats, frozen.store, sync_names
        )
        dead_workers.reclaim(self.queue, run_id, remover)

    def _give_up_hung_threads(self, now: float) -> None:
        """End the attempts of threads that do not come back, as timeouts. This process is to be replaced then."""
        limit_s = self.settings.deadline_s + HUNG_AFTER_S
        for work in self._in_flight():
            busy_s = now - work.since
            if busy_s > limit_s and busy_s - suspends.lost_s(work.since) > limit_s:
                self._worn = self.fetch_loop.give_up_on(work) or self._worn

    def _drain(self) -> None:
        """Let what is in flight finish within the grace, then let go of everything."""
        self.scheduler.stop()
        began, grace_s = time.monotonic(), self.settings.grace_s
        while self._in_flight() and self.chunks.error is None:
            passed_s = time.monotonic() - began
            if passed_s >= STEP_BACK * grace_s:
                self.control.abort.set()
            if passed_s >= grace_s:
                for work in self._in_flight():
                    work.abandon()  # it stays what it was, and another process fetches it
            with self.scheduler.changed:
                self.scheduler.changed.wait(TICK_S)
        if self.chunks.error is None:
            self.fetch_loop.let_go()
            rest = self.scheduler.take_off(rest=True)
            self.chunks.sync(rest)
            self.chunks.let_go(rest)
            self.resources.budget.flush()

    def _in_flight(self) -> list[Work]:
        """The jobs in flight, without those that are given up."""
        with self.scheduler.changed:
            return [work for work in self.scheduler.in_flight.values() if not work.abandoned]


def work(control: WorkerControl, worker_id: str) -> WorkerReport:
    """The life of a worker process. No foreign exception leaves it: text crosses the process border."""
    try:
        resources = Resources(control.settings, control.stop, control.abort)
        return MainLoop(control, resources, worker_id).run()
    except Exception as exc:  # noqa: BLE001 - see above
        return report_of(exc)


def report_of(exc: BaseException, finals: int = 0) -> WorkerReport:
    """What to report when this ended a worker's work."""
    if isinstance(exc, MemoryError):
        return WorkerReport("memory", finals)
    error = exc if isinstance(exc, EngineError) else shortages.raised(exc)
    if error is None and isinstance(exc, OSError):
        error = disk.disk_error(exc, "writing the queue or the output")
    if error is not None:
        return WorkerReport("error", finals, str(error), error.exit_code)
    return WorkerReport("error", finals, "".join(traceback.format_exception(exc)), Exit.BUG)
