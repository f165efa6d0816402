"""One worker process: how loky starts it, what runs in it, and how the supervisor talks to it.

Only this module starts processes by loky. Each worker process has an executor of its own, because one dead process of
a shared executor takes all others with it. The control pipe carries `DRAIN` or a new rate. When that pipe ends, the
supervisor is gone and the process leaves at once: no orphan goes on fetching. A second pipe carries the heartbeat.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from loky import ProcessPoolExecutor, process_executor
from loky.backend import popen_loky_posix
from loky.backend import process as loky_process
from loky.backend.context import LokyContext
from loky.backend.synchronize import SemLock

from engine.budget import parse_rate
from engine.process import environment, shortages
from engine.process.heartbeat import Heart, Pulse
from engine.process.threads import start_thread
from engine.queue import claims, events
from engine.queue.directory import Queue
from engine.run.child_process import ChildProcess, Ending
from engine.settings import Settings
from engine.storage import disk
from engine.storage.processes import leave_signals_to_supervisor, namespace
from engine.worker.control import WorkerControl, WorkerReport

ORPHANED, NO_MEMORY, NO_THREAD = 70, 71, 72  # exit codes
DRAIN, RATE = b"S", b"R"
SILENT_S = 30.0
NAMED_JOBS, EVENT_JOBS = 8, 64
_EXIT_CODES = re.compile(r"exit codes of the workers are (\{[^}\n]*\((-?[0-9]+)\)[^}\n]*\})")
# loky logs there what it also raises.
logging.getLogger("concurrent.futures").addHandler(logging.NullHandler())


# ---- in the worker process -------------------------------------------------------------------------------
class _Process:
    control: WorkerControl
    work: Callable[[WorkerControl, str], WorkerReport]
    heart: Connection  # kept open


def begin(settings: Settings, control_pipe: Connection, heart: Connection) -> None:
    """Set the worker process up (loky's initializer). Only here is imported what only a worker needs."""
    from engine.worker.main import work

    leave_signals_to_supervisor()
    _Process.control, _Process.work = WorkerControl(settings), staticmethod(work)
    _Process.heart = heart
    # loky would look in /proc for a leak, and print a traceback when no descriptor is left for that.
    process_executor._USE_PSUTIL = False
    try:
        Heart(heart.fileno()).beat_by_itself()
        start_thread(_listen, control_pipe, name="control")
    except RuntimeError:  # no thread can be started
        os._exit(NO_THREAD)
    except MemoryError:
        os._exit(NO_MEMORY)


def _listen(pipe: Connection) -> None:
    control = _Process.control
    try:
        while True:
            word = pipe.recv_bytes()
            if word.startswith(RATE):
                budget = control.settings.budget
                control.budget = replace(budget, rate=parse_rate(word.removeprefix(RATE).decode()))
            else:
                control.stop.set()
    except (EOFError, OSError):
        os._exit(ORPHANED)


def run(worker_id: str) -> WorkerReport:
    """The life of this process, up to its report.

    A process without memory ends as if the kernel had ended it. The next one begins with little, and a
    job that takes the memory is found when it runs alone.
    """
    report = _Process.work(_Process.control, worker_id)
    if report.why == "memory":
        os._exit(NO_MEMORY)
    return report


# ---- in the supervisor -----------------------------------------------------------------------------------
class LokyProcess:
    """A worker process that was started (`child_process.Launched`)."""

    def __init__(self, settings: Settings, worker_id: str) -> None:
        self.report: WorkerReport | None = None
        self.error: BaseException | None = None  # loky's: the process died or could not start
        reader, self._control = Pipe(duplex=False)
        self._heart, writer = Pipe(duplex=False)
        self.pulse = Pulse(self._heart.fileno())
        self._executor = _executor(settings, reader, writer)
        try:
            self._future: Future[WorkerReport] = _submitted(self._executor, worker_id)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        return list(self._executor._processes)

    def ending(self) -> Ending | None:
        if not self._future.done():
            return None
        try:
            self.report = self._future.result()
        except BaseException as exc:  # noqa: BLE001 - loky's own
            self.error = exc
            found = _EXIT_CODES.search(str(exc))
            if found:
                return Ending(int(found[2]), found[1][:80])
            return Ending(1, str(exc).strip().partition("\n")[0][:200] or type(exc).__name__)
        return Ending(0)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._control.send_bytes(data)

    def close(self) -> Ending:
        started = dict(self._executor._processes or {})
        with contextlib.suppress(Exception):
            self._executor.shutdown(wait=True, kill_workers=True)
        for pid, process in started.items():  # it ends them by a thread, which may never have started
            if process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                process.join()
        self._control.close()
        self._heart.close()
        return Ending(0)


class WorkerProcess(ChildProcess):
    """One of a run's worker processes, and its successors. `number` is its place in the run."""

    replaced_when_stopped = False

    def __init__(self, queue: Queue, number: int, settings: Settings, run_id: str) -> None:
        super().__init__()
        self.silent_after_s = SILENT_S
        self.number = number
        self.worker_id = ""
        self.settings = settings  # of the next process; the one at work keeps its own
        self.threads = settings.threads  # of the process at work
        self.draining = False
        self.report: WorkerReport | None = None
        self.error: BaseException | None = None
        self._queue = queue
        self._run_id = run_id
        self._launched = 0

    def launch(self) -> LokyProcess:
        self._launched += 1
        self.worker_id = f"{self._run_id}.{self.number}.{self._launched}"
        self.threads, self.draining = self.settings.threads, False
        return LokyProcess(self.settings, self.worker_id)

    def check(self, *, wanted: bool = True) -> Ending | None:
        """As for any child process; `report` or `error` is set with an ending."""
        ending = super().check(wanted=wanted)
        if ending is not None and isinstance(self._process, LokyProcess):
            self.report, self.error = self._process.report, self._process.error
        return ending

    def drain(self) -> None:
        """Tell the process, once, to finish what is in flight and end."""
        if not self.draining:
            self.draining = True
            self.send(DRAIN)

    @property
    def directory(self) -> str:
        """Of the claims that the last process had."""
        return os.path.join(self._queue.workers, self.worker_id)

    def jobs(self) -> list[str]:
        """What it has in flight, or had when it died."""
        return sorted({job for _, job in claims.in_flight(self.directory)})

    def report_silence(self, silent_s: float, pids: list[int]) -> None:
        jobs = self.jobs()
        events.emit(
            self._queue,
            "worker_silent",
            f"a worker process has stood still for {silent_s:.0f} s: it is replaced"
            + (f". It had {', '.join(jobs[:NAMED_JOBS])}" if jobs else ""),
            slot=self.number,
            worker=self.worker_id,
            jobs=jobs[:EVENT_JOBS],
        )


class _Popen(popen_loky_posix.Popen):  # type: ignore[misc] # loky has no types
    """Starts a process that runs the module of this name (loky goes by the class's)."""

    __module__ = "engine.run.popen_loky"


class _WorkerContext(LokyContext):  # type: ignore[misc]
    """How loky makes processes, but for the first module in them."""

    class Process(loky_process.LokyProcess):  # type: ignore[misc]
        """A process of loky's."""

        _Popen = staticmethod(_Popen)


def _executor(settings: Settings, control_pipe: Connection, heart: Connection) -> ProcessPoolExecutor:
    """An executor of one process. Raises ShortageError where there is no shared memory for its semaphores."""
    try:
        return ProcessPoolExecutor(
            max_workers=1,
            timeout=None,
            context=_WorkerContext(),
            initializer=begin,
            initargs=(settings, control_pipe, heart),
            env=environment.changes(),
        )
    except OSError as exc:
        if disk.is_shortage(exc):
            raise
        raise shortages.no_semaphores(exc) from None


def _submitted(executor: ProcessPoolExecutor, worker_id: str) -> Future[WorkerReport]:
    """Have the executor start its process. Raises ShortageError, OSError."""
    try:
        future: Future[WorkerReport] = executor.submit(run, worker_id)
        return future
    except UnboundLocalError as exc:  # how loky ends when it cannot make its pipes
        raise exc.__context__ if isinstance(exc.__context__, OSError) else exc from None
    except (RuntimeError, BlockingIOError) as exc:
        if not shortages.is_no_process(exc):
            raise
        raise shortages.no_process() from None


# ---- its semaphores in shared memory ---------------------------------------------------------------------
def _semaphore_name() -> str:
    """loky's own name for a semaphore, and the pid namespace in which the number in it means something."""
    return f"/loky-{os.getpid()}-{namespace()}.{next(SemLock._rand)}"


if namespace() is not None:  # elsewhere names are short, and shared memory is no directory to sweep
    SemLock._make_name = staticmethod(_semaphore_name)


def sweep_semaphores(pids: Collection[int], path: str = "/dev/shm") -> None:  # noqa: S108 - where POSIX keeps them
    """Remove the semaphores that these processes, of our own pid namespace, left in shared memory, if they are gone.

    Other programs use loky too, and containers may share that memory. What is not of a run of this queue stays.
    """
    ours = re.compile(rf"sem\.loky-([0-9]+)-{namespace()}\.[A-Za-z0-9_]+")
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            found = ours.fullmatch(name)
            if found and int(found[1]) in pids and not os.path.exists(f"/proc/{found[1]}"):
                with contextlib.suppress(OSError):
                    full = os.path.join(path, name)
                    if os.lstat(full).st_uid == os.geteuid():
                        os.unlink(full)
