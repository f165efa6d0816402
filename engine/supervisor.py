"""The supervisor: slots, monitor, signals, and when to stop.

    engine run ── run.lock ──> recover ──> budget ──> monitor process
                                                 └──> slot 0 … slot N-1, one loky executor each, laps of 10 minutes

It does no fetching and counts nothing itself: it starts processes, hears how they end, and asks the files
whether the batch is finished. Its own death ends all others (their lifelines break), and the next run goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from engine import durable, events, output, status
from engine.budget import Budget, snapshot, totals
from engine.caps import Meter
from engine.clock import utc
from engine.config import Settings
from engine.errors import EngineError, Exit
from engine.queue import claim
from engine.queue.layout import Queue, worker_ids
from engine.queue.lock import Lock, take_or_say_who
from engine.slot import DRAIN, LEAVE_WAITING, SIGNALS, Slot, signals_held
from engine.steering import clear_request, read_request
from engine.tickets import issue
from engine.witness import lay_out
from engine.worker import Report

TICK_S = 0.05
LOOK_S = 0.25  # how often the files are asked how far the batch is
BLAME_AFTER_S = 0.2  # if we still live this long after a worker died, it did not die with us
EVENT_JOBS = 64
AMBIENT_S = 300.0  # deaths so long ago say nothing about a killer who is about now
START_LIMIT = 6  # deaths in a row before doing anything
BLOCKED_LOOKS = 4  # all egresses seen blocked so often in a row: then it is not a passing moment
MONITOR_WAIT_S = 60.0
NAMED = 5  # proxies in a message


class Supervisor:
    """One run. The caller holds run.lock through `lock` and has seeded and recovered the queue."""

    def __init__(
        self, queue: Queue, settings: Settings, run_id: str, on_tick: Callable[[], None] | None = None
    ) -> None:
        self.queue = queue
        self.settings = settings
        self.run_id = run_id
        self.message = ""
        self._on_tick = on_tick
        self._slots = [Slot(number, settings, run_id) for number in range(settings.processes)]
        self._restart_at: dict[int, float] = {}
        self._monitor: subprocess.Popen[bytes] | None = None
        self._monitor_deaths = 0
        self._heard: list[int] = []
        self._exit: int | None = None
        self._halted = False
        self._blocked_looks = 0
        self._looked_at = 0.0
        self._at_limit: set[int] = set()
        # (worker, when, its jobs in flight) of each death; what an earlier run left behind counts as one
        self._deaths: list[tuple[str, float, set[str]]] = [
            *_late_deaths(queue),
            *((worker_id, time.monotonic(), set()) for worker_id in worker_ids(queue)),
        ]
        self._crashes: set[str] = set()
        self._meter: Meter | None = None

    # ---- the run ----------------------------------------------------------------------------------------
    def run(self) -> int:
        """Work until every job is final or something ends the run; returns the exit code."""
        # `nohup` has HUP ignored, and means it.
        heard = [its for its in SIGNALS if its != signal.SIGHUP or signal.getsignal(its) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._hear) for number in heard}
        events.emit(
            self.queue, "start", f"{self.settings.processes} x {self.settings.threads}", run=self.run_id
        )
        try:
            self._open_budget()
            self._start_monitor()
            for slot in self._slots:
                self._start(slot)
            while self._exit is None:
                self._tick()
                if self._on_tick is not None:
                    self._on_tick()
                time.sleep(TICK_S)
            self._drain()
            self._take_apart()
            self._finish_monitor()
        finally:
            for slot in self._slots:
                slot.end()
            self._end_monitor()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._exit in (Exit.OK, Exit.SOME_FAILED):
            self._exit = Exit.SOME_FAILED if self._failed() else Exit.OK
        self._leave_word()
        events.emit(self.queue, "stop", self.message, exit_code=int(self._exit or 0), run=self.run_id)
        return int(self._exit or 0)

    def _tick(self) -> None:
        if self._heard:
            self._exit = 128 + self._heard[0]
            return
        request = read_request(self.queue)
        if request:
            clear_request(self.queue)
            self._exit = Exit.WORK_REMAINS
            self.message = "stopped by `engine stop`"
            if request.get("now"):
                self._heard.append(0)
            return
        for slot in self._slots:
            self._look_after(slot)
        self._look_after_monitor()
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = time.monotonic()
            self._look()

    def _look(self) -> None:
        """Ask the files whether there is anything left to do, or to do it with."""
        if status.finished(self.queue):
            lock = Lock(self.queue.seed_lock)
            if lock.take(note={"what": "finish"}):
                with lock:
                    if status.finished(self.queue):
                        self._exit = Exit.OK
                return
        capped = self._meter and self._meter.look(self.settings.caps, totals(self.queue.budget))
        if capped:
            self._end(Exit.WORK_REMAINS, capped)
        egresses = [its for its in snapshot(self.queue.budget) if its.state != "retired"]
        if not egresses:
            self._end(Exit.NO_PROXY, self._no_proxy())
        elif self.settings.on_block == "stop":
            # One that cannot be reached is no way out; if they all cannot, it is the network and no block.
            reached = [its for its in egresses if its.state != "unreachable"] or egresses
            blocked = all(its.state in ("blocked", "probing") for its in reached)
            self._blocked_looks = self._blocked_looks + 1 if blocked else 0
            if self._blocked_looks >= BLOCKED_LOOKS:
                self._halted = True
                self._end(Exit.ALL_BLOCKED, "every egress is blocked: run again later, or with other proxies")
        if self.settings.limit is not None and len(self._at_limit) == len(self._slots):
            self._end(Exit.WORK_REMAINS, f"stopped at the limit of {self.settings.limit:,} jobs")

    def _end(self, code: int, message: str) -> None:
        if self._exit is None or self._exit == Exit.OK:
            self._exit, self.message = code, message

    def _no_proxy(self) -> str:
        names = [its.name for its in self.settings.egresses]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return (
            f"no proxy is left that can be used: {', '.join(names[:NAMED])}{more} want another user or password"
            " (407). `engine proxies check` tries each with one request"
        )

    def _failed(self) -> bool:
        return status.tally(self.queue, time.time()).counts.failed > 0

    # ---- slots ------------------------------------------------------------------------------------------
    def _start(self, slot: Slot) -> None:
        self._restart_at.pop(slot.number, None)
        slot.start()

    def _look_after(self, slot: Slot) -> None:
        if not slot.running:
            due = self._restart_at.get(slot.number)
            if due is not None and time.monotonic() >= due:
                claim.blame(self.queue, slot.worker_id, sure=self._sure(slot.worker_id))
                self._start(slot)
            return
        result = slot.result()
        if result is None:
            return
        if isinstance(result, BaseException):
            self._died(slot, result)
        else:
            self._reported(slot, result)

    def _reported(self, slot: Slot, report: Report) -> None:
        if report.why == "error":
            self._end(
                report.exit_code, self._no_proxy() if report.exit_code == Exit.NO_PROXY else report.message
            )
        elif report.why == "limit":
            self._at_limit.add(slot.number)
        elif report.why == "recycle":
            slot.end()
            self._start(slot)
        elif self._exit is None:
            self._start(slot)

    def _died(self, slot: Slot, exc: BaseException) -> None:
        """Only this slot is touched. Whether its jobs are to blame shows in a moment, if we are still here."""
        did_something = slot.lap_age_s > 2.0 or self._wrote(slot.worker_id)
        wait_s = slot.back_off_s(did_something)
        slot.end()
        busy = claim.in_flight(os.path.join(self.queue.workers, slot.worker_id))
        self._deaths.append((slot.worker_id, time.monotonic(), {video_id for _, video_id in busy}))
        if "SIGKILL" not in str(exc):
            self._crashes.add(slot.worker_id)
        reason = str(exc).rpartition("exit codes of the workers are ")[2].partition("\n")[0][:80]
        events.emit(
            self.queue,
            "slot_died",
            reason or type(exc).__name__,
            slot=slot.number,
            worker=slot.worker_id,
            jobs=sorted({video_id for _, video_id in busy})[:EVENT_JOBS],
        )
        if slot.quick_deaths >= START_LIMIT:
            self._end(Exit.BUG, f"worker processes die as soon as they start: {exc}")
            return
        self._restart_at[slot.number] = time.monotonic() + max(wait_s, BLAME_AFTER_S)

    def _sure(self, worker_id: str) -> bool:
        """Whether nothing but its jobs explains a worker's death: it was not killed but crashed by itself, or
        no other process has died lately without these jobs."""
        now = time.monotonic()
        self._deaths = [its for its in self._deaths if now - its[1] < AMBIENT_S]
        mine = next((jobs for name, _, jobs in self._deaths if name == worker_id), set())
        return worker_id in self._crashes or all(mine & jobs for _, _, jobs in self._deaths)

    def _wrote(self, worker_id: str) -> bool:
        return os.path.isdir(os.path.join(self.queue.workers, worker_id))

    def _drain(self) -> None:
        """Let what is in flight finish within the grace time; a second signal, or its end, ends it now."""
        ends_at = time.monotonic() + (self.settings.grace_s if self._exit != Exit.DISK else 2.0)
        stepped_back = False
        for slot in self._slots:
            slot.say(DRAIN)
        while any(slot.running for slot in self._slots) and time.monotonic() < ends_at and not self._now():
            for slot in self._slots:
                result = slot.result()
                if isinstance(result, Report) and result.why == "error":
                    self._end(result.exit_code, result.message)
            if not stepped_back and ends_at - time.monotonic() < self.settings.grace_s * 0.25:
                stepped_back = True  # who waits for a permit by now would not make it
                for slot in self._slots:
                    slot.say(LEAVE_WAITING)
            if self._on_tick is not None:
                self._on_tick()
            time.sleep(TICK_S)

    def _take_apart(self) -> None:
        """End the processes and free what they still hold, so that a run leaves no dead worker behind.

        Nobody is blamed: whoever lived until now is ended by us.
        """
        for slot in self._slots:
            slot.end()
        if self._exit != Exit.DISK:
            with contextlib.suppress(OSError, EngineError):  # else the next run does it, or says why not
                claim.reclaim(
                    self.queue, "", lambda video_id: output.forget(self.settings.frozen.output, video_id)
                )

    def _now(self) -> bool:
        return len(self._heard) > 1 or 0 in self._heard

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard.append(number)

    # ---- monitor ----------------------------------------------------------------------------------------
    def _start_monitor(self) -> None:
        with signals_held():
            self._monitor = subprocess.Popen(
                [sys.executable, "-m", "engine.monitor", self.queue.root],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_python_path(),
            )

    def _look_after_monitor(self) -> None:
        if self._monitor is None or self._monitor.poll() is None:
            return
        said = self._end_monitor()
        if said[0] in (Exit.DISK, Exit.USAGE, Exit.NO_QUEUE):
            self._end(said[0], said[1])
            return
        self._monitor_deaths += 1
        events.emit(self.queue, "monitor_died", said[1][-200:] or f"exit {said[0]}")
        if said[0] > 0 and self._monitor_deaths > START_LIMIT:
            self._end(Exit.BUG, f"the monitor cannot run: {said[1]}")
            return
        self._start_monitor()

    def _finish_monitor(self) -> None:
        """Have the manifest brought up to the journals. A monitor that dies over it is started once more."""
        for _ in range(3):
            self._look_after_monitor()
            monitor = self._monitor
            if monitor is None or monitor.stdin is None:
                return
            with contextlib.suppress(OSError):
                monitor.stdin.write(b"finish\n")
                monitor.stdin.flush()
            code = _wait(monitor, MONITOR_WAIT_S, self._now)
            if code == 0 or code is None:
                return
            if code > 0:
                self._end(*self._end_monitor())
                return

    def _end_monitor(self) -> tuple[int, str]:
        """End the monitor; returns (exit code, what it said)."""
        monitor, self._monitor = self._monitor, None
        if monitor is None:
            return 0, ""
        if monitor.stdin is not None:
            with contextlib.suppress(OSError):
                monitor.stdin.close()
        try:
            code = monitor.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            monitor.kill()
            code = monitor.wait()
        said = monitor.stderr.read().decode("utf-8", "replace").strip() if monitor.stderr else ""
        if monitor.stderr:
            monitor.stderr.close()
        return code, said

    # ---- before and after -------------------------------------------------------------------------------
    def _open_budget(self) -> None:
        Budget.open(self.queue.budget, self.settings.egresses, self.settings.budget, new_run=True).close()
        lay_out(self.queue)
        self._meter = Meter.start(totals(self.queue.budget))
        if self.settings.limit is not None:
            issue(self.queue, self.settings.limit)

    def _leave_word(self) -> None:
        """Leave the last snapshot, with how the run ended."""
        with contextlib.suppress(OSError, EngineError):
            value = status.collect(self.queue.root)
            value["history"] = status.read_snapshot(self.queue).get("history") or []
            value["halted"] = self._halted
            data = (status.dumps(value) + "\n").encode()
            durable.publish(self.queue.status, data, tmp_dir=self.queue.tmp, sync=False)
        with contextlib.suppress(OSError):
            if not worker_ids(self.queue):
                output.sweep(self.settings.frozen.output)


def _late_deaths(queue: Queue) -> Iterator[tuple[str, float, set[str]]]:
    """The workers' deaths of the last minutes, of this run's predecessors: a killer may outlive a run."""
    for event in events.late(queue, AMBIENT_S):
        if event.get("event") == "slot_died":
            jobs = event.get("jobs")
            named = {its for its in jobs if isinstance(its, str)} if isinstance(jobs, list) else set()
            yield str(event.get("worker")), time.monotonic(), named


def _python_path() -> dict[str, str]:
    """Our environment, in which this very package is found."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _wait(process: subprocess.Popen[bytes], within_s: float, hurried: Callable[[], bool]) -> int | None:
    """The exit code of a process that ends within the time, else None."""
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at and not hurried():
        code = process.poll()
        if code is not None:
            return code
        time.sleep(TICK_S / 2)
    return None


def hold(queue: Queue) -> Lock:
    """Take run.lock, or raise HeldError naming the run that has it."""
    return take_or_say_who(queue.run_lock, "run", note={"since": utc(ms=True)})


def sweep_semaphores(path: str = "/dev/shm") -> None:  # noqa: S108 - where POSIX keeps them
    """Remove the named semaphores that loky left in shared memory under processes that are gone."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            parts = name.split("-")
            if (
                name.startswith("sem.loky-")
                and parts[1].isdigit()
                and not os.path.exists(f"/proc/{parts[1]}")
            ):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(path, name))
