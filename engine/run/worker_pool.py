"""The worker processes of a run: which are wanted, what their reports mean, and what follows when one dies.

A worker is wanted as long as the run is neither paused nor ending and has room for its number. One that no longer
fits the run's settings drains: it finishes what is in flight, and its successor begins with the new ones.
"""

from __future__ import annotations

import os
import time

from engine.errors import EngineError, ShortageError
from engine.monitor import status
from engine.process import shortages
from engine.queue import events
from engine.queue.control import RunState
from engine.queue.directory import Queue
from engine.run.child_process import BACK_OFF_MAX_S, BACK_OFF_S, DEATHS_MAX, ChildFailedError, Ending
from engine.run.crashes import CERTAIN_AFTER_S, Deaths
from engine.run.worker_process import EVENT_JOBS, NO_MEMORY, NO_THREAD, RATE, WorkerProcess
from engine.settings import Settings

MEMORY_DEATHS_MAX = 12  # in a row for want of memory, in which no job became final
QUICK_S = 2.0  # a worker that dies sooner, and without a directory, has done nothing


class WorkerPool:
    """All worker processes of a run."""

    def __init__(self, queue: Queue, settings: Settings, run_id: str, run_state: RunState) -> None:
        self.shortage: ShortageError | None = None  # met by a thread of loky's in this process
        self._queue = queue
        self._run_id = run_id
        self._run_state = run_state
        self._workers = [
            WorkerProcess(queue, number, settings, run_id) for number in range(run_state.processes)
        ]
        self._ending = False
        self._deaths = Deaths(queue)
        self._starved = 0  # deaths in a row for want of memory …
        self._finals = -1  # … since so many jobs are final

    @property
    def running(self) -> bool:
        """Whether any process is at work."""
        return any(worker.at_work for worker in self._workers)

    def apply_run_state(self, settings: Settings, run_state: RunState, *, rate: str | None) -> None:
        """Go by other settings from now on; `rate`: tell the processes at work this one too."""
        self._run_state = run_state
        for number in range(len(self._workers), run_state.processes):
            self._workers.append(WorkerProcess(self._queue, number, settings, self._run_id))
        for worker in self._workers:
            worker.settings = settings
            if rate is not None:
                worker.send(RATE + rate.encode())

    def drain(self) -> None:
        """Tell all processes to finish what is in flight; none is started any more."""
        self._ending = True
        for worker in self._workers:
            worker.drain()

    def check(self) -> None:
        """Start the workers that are wanted, drain those that fit no more, and see to those that have ended.

        Raises ChildFailedError, ShortageError and OSError when the run cannot go on.
        """
        self._deaths.record()
        for worker in self._workers:
            wanted = self._wanted(worker)
            ending = worker.check(wanted=wanted)
            if ending is not None:
                self._ended(worker, ending)
            elif worker.at_work and not (wanted and worker.threads == self._run_state.threads):
                worker.drain()

    def end(self) -> None:
        """End all processes at once, whatever they are doing."""
        for worker in self._workers:
            worker.end()

    def _wanted(self, worker: WorkerProcess) -> bool:
        """Whether this worker is to work now."""
        within = worker.number < self._run_state.processes
        return within and not self._ending and not self._run_state.paused

    def _ended(self, worker: WorkerProcess, ending: Ending) -> None:
        worker.end()
        report = worker.report
        if report is None:
            if not self._ending:
                self._died(worker, ending)
            return
        worker.start_later(did_something=True)
        if report.why == "error":
            self._ending = True
            raise ChildFailedError(report.exit_code, report.message)

    def _died(self, worker: WorkerProcess, ending: Ending) -> None:
        """Note the death of one worker; the others are left alone."""
        events.emit(
            self._queue,
            "slot_died",
            ending.said,
            slot=worker.number,
            worker=worker.worker_id,
            jobs=worker.jobs()[:EVENT_JOBS],
        )
        self._deaths.add(worker.worker_id)
        # How long it lived says nothing where it never began: a crowded machine takes its time to start one.
        lived_long = worker.age_s > QUICK_S and ending.code != NO_THREAD
        did_something = lived_long or os.path.isdir(worker.directory)
        wait_s = self._wait_for_memory_s() if ending.code == NO_MEMORY else 0.0
        worker.start_later(did_something=did_something, at_least_s=max(wait_s, CERTAIN_AFTER_S))
        if worker.deaths_in_a_row >= DEATHS_MAX or self._starved >= MEMORY_DEATHS_MAX:
            self._ending = True
            raise self._cannot_work(worker, ending)

    def _wait_for_memory_s(self) -> float:
        """How long to wait after another death for want of memory: longer each time, as long as nothing gets done."""
        finals = status.recount(self._queue, time.time()).counts.final
        self._starved = self._starved + 1 if finals == self._finals else 1
        self._finals = finals
        return min(BACK_OFF_MAX_S, BACK_OFF_S * float(2**self._starved))

    def _cannot_work(self, worker: WorkerProcess, ending: Ending) -> EngineError:
        """Why processes die as soon as they start, or again and again."""
        error = worker.error
        if self.shortage is not None or "can't start new thread" in str(error and error.__cause__):
            return self.shortage or shortages.no_process()
        if self._starved >= MEMORY_DEATHS_MAX or ending.code == NO_MEMORY:
            return shortages.no_memory("a worker process")
        if ending.code == NO_THREAD:
            return shortages.no_process()
        return ChildFailedError(
            1,
            f"worker processes die as soon as they start ({ending.said}). Is there enough memory, and can "
            "the engine package still be read? `engine doctor` looks at this machine",
        )
