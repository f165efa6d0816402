"""The slots of a run: when each begins its next lap, what becomes of one that died, and what steering makes of them.

    rests ── wanted ──> works a lap ── reports ──> rests, or works the next one
      ^                      │ dies
      └─── back-off, blame ──┘

A slot is wanted as long as the run is neither paused nor ending and has room for its number. What no longer fits the
course drains: it finishes what is in flight, and the lap after that one begins by the course.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from engine.errors import EngineError, ShortageError
from engine.monitor import status
from engine.process import shortages
from engine.queue import claims, events
from engine.queue.control import Course
from engine.queue.directory import Queue
from engine.run.crashes import Deaths
from engine.run.worker_process import BACK_OFF_MAX_S, BACK_OFF_S, NO_MEMORY, NO_THREAD, RATE, Slot
from engine.settings import Settings
from engine.worker.main import Report

BLAME_AFTER_S = 0.2  # if we still live this long after a worker died, it did not die with us
EVENT_JOBS = 64
START_LIMIT = 6  # deaths in a row before doing anything
MEMORY_LIMIT = 12  # deaths in a row for want of memory in which no job became final
SILENT_S = (
    30.0  # a process that has said nothing for so long stands still: its threads keep each other from running
)


class Slots:
    """All slots of a run. `end_run(exit code, message)` is called when one of them says that there is no going on."""

    def __init__(
        self,
        queue: Queue,
        settings: Settings,
        run_id: str,
        course: Course,
        end_run: Callable[[int, str], None],
    ) -> None:
        self._queue = queue
        self._run_id = run_id
        self._course = course
        self._end_run = end_run
        self._over = False  # one of them has ended the run: no further lap begins
        self._slots = [Slot(number, settings, run_id) for number in range(course.processes)]
        self._resting: set[int] = set()  # slots whose next lap waits until the course wants it
        self._restart_at: dict[int, float] = {}
        self._deaths = Deaths(queue)
        self._silenced: set[str] = set()  # workers that we killed because they stood still
        self.shortage: ShortageError | None = None  # what a thread of loky's met in this process
        self._starved = 0  # deaths in a row for want of memory …
        self._finals = -1  # … since so many jobs are final

    @property
    def running(self) -> bool:
        """Whether any process is at work."""
        return any(slot.running for slot in self._slots)

    def begin(self) -> None:
        """From now on they work, where the course wants it."""
        self._resting.update(slot.number for slot in self._slots)

    def follow(self, settings: Settings, course: Course, *, rate: str | None) -> None:
        """Go by another course from now on; `rate`: tell the processes at hand this one, too."""
        self._course = course
        for number in range(len(self._slots), course.processes):
            self._slots.append(Slot(number, settings, self._run_id))
            self._resting.add(number)
        for slot in self._slots:
            slot.settings = settings
            if rate is not None:
                slot.say(RATE + rate.encode())

    def look_after(self) -> None:
        """Begin the laps that are due, drain those that fit no more, and see to what has ended.

        Raises EngineError, OSError.
        """
        for slot in self._slots:
            self._look_after(slot)

    def say(self, word: bytes) -> None:
        """Tell all processes."""
        for slot in self._slots:
            slot.say(word)

    def errors(self) -> Iterator[Report]:
        """The reports of laps that ended in an error, while nothing new is begun."""
        for slot in self._slots:
            result = slot.result()
            if isinstance(result, Report) and result.why == "error":
                yield result

    def end(self) -> None:
        """End all processes at once, whatever they are doing."""
        for slot in self._slots:
            slot.end()

    def _wanted(self, slot: Slot) -> bool:
        """Whether this slot is to work now."""
        return not self._over and not self._course.paused and slot.number < self._course.processes

    def _end(self, code: int, message: str) -> None:
        self._over = True
        self._end_run(code, message)

    def _start(self, slot: Slot) -> None:
        """Begin the slot's next lap, or let it rest until the course wants it."""
        if self._wanted(slot):
            self._resting.discard(slot.number)
            slot.start()
        else:
            self._resting.add(slot.number)

    def _look_after(self, slot: Slot) -> None:
        if not slot.running:
            due = self._restart_at.get(slot.number)
            if due is not None and time.monotonic() >= due:
                del self._restart_at[slot.number]
                claims.blame(self._queue, slot.worker_id, sure=self._deaths.sure(slot.worker_id))
                self._start(slot)
            elif slot.number in self._resting:
                self._start(slot)
            return
        result = slot.result()
        if result is None:
            if not self._wanted(slot) or slot.threads != self._course.threads:
                slot.drain()
            self._end_if_silent(slot)
            return
        if isinstance(result, BaseException):
            self._died(slot, result)
        else:
            self._reported(slot, result)

    def _reported(self, slot: Slot, report: Report) -> None:
        if report.why == "error":
            self._end(report.exit_code, report.message)
        else:
            if report.why == "recycle" or slot.drained or not self._wanted(slot):
                slot.end()  # after a pause of an hour its idle connections would be good for nothing
            self._start(slot)

    def _end_if_silent(self, slot: Slot) -> None:
        """Kill a process in which nothing moves any more: no deadline of its own can end what it does."""
        silent_s = slot.silent_s()
        if silent_s < SILENT_S or slot.worker_id in self._silenced:
            return
        self._silenced.add(slot.worker_id)
        jobs = sorted({job for _, job in claims.in_flight(os.path.join(self._queue.workers, slot.worker_id))})
        events.emit(
            self._queue,
            "worker_silent",
            f"a worker process has stood still for {silent_s:.0f} s: it is replaced"
            + (f". It had {', '.join(jobs[:8])}" if jobs else ""),
            slot=slot.number,
            worker=slot.worker_id,
            jobs=jobs[:EVENT_JOBS],
        )
        slot.kill()

    def _died(self, slot: Slot, exc: BaseException) -> None:
        """Only this slot is touched. Whether its jobs are to blame shows in a moment, if we are still here."""
        path = os.path.join(self._queue.workers, slot.worker_id)
        began = slot.lap_age_s > 2.0 or os.path.isdir(path)
        wait_s = slot.back_off_s(began)
        slot.end()
        busy = {job for _, job in claims.in_flight(path)}
        silenced = slot.worker_id in self._silenced
        self._silenced.discard(slot.worker_id)
        self._deaths.add(slot.worker_id, busy, crashed=silenced or "SIGKILL" not in str(exc))
        reason = str(exc).rpartition("exit codes of the workers are ")[2].partition("\n")[0][:80]
        events.emit(
            self._queue,
            "slot_died",
            reason or type(exc).__name__,
            slot=slot.number,
            worker=slot.worker_id,
            jobs=sorted(busy)[:EVENT_JOBS],
        )
        if f"EXIT({NO_MEMORY})" in reason:
            wait_s = max(wait_s, self._back_off_starved())
        if slot.quick_deaths >= START_LIMIT or self._starved >= MEMORY_LIMIT:
            error = self._cannot_work(reason, exc)
            self._end(error.exit_code, str(error))
            return
        self._restart_at[slot.number] = time.monotonic() + max(wait_s, BLAME_AFTER_S)

    def _back_off_starved(self) -> float:
        """How long to wait after another death for want of memory: longer each time, as long as nothing gets done."""
        finals = status.tally(self._queue, time.time()).counts.final
        self._starved = self._starved + 1 if finals == self._finals else 1
        self._finals = finals
        return min(BACK_OFF_MAX_S, BACK_OFF_S * float(2**self._starved))

    def _cannot_work(self, reason: str, exc: BaseException) -> EngineError:
        """Why processes die as soon as they start, or for ever."""
        if self.shortage is not None or "can't start new thread" in str(exc.__cause__):
            return self.shortage or shortages.no_process()
        if self._starved >= MEMORY_LIMIT or f"EXIT({NO_MEMORY})" in reason:
            return shortages.no_memory("a worker process")
        if f"EXIT({NO_THREAD})" in reason:
            return shortages.no_process()
        said = str(exc).strip().partition("\n")[0] or type(exc).__name__
        return EngineError(
            f"worker processes die as soon as they start ({reason or said[:200]}). Is there enough memory, and can "
            "the engine package still be read? `engine doctor` looks at this machine"
        )
