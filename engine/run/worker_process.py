"""A slot: one worker process, kept in being by the supervisor. The only place that knows loky.

Each slot has an executor of its own, because one dead worker of a shared loky pool takes all its siblings with
it. The lifeline is a pipe: a byte on it means stop claiming, another that the rate is a new one from now on. Its
end means that the supervisor is gone, and the process leaves at once, so that no orphan goes on fetching. By a second
pipe the process says each second that it is at work (`engine.process.heartbeat`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from loky import ProcessPoolExecutor, process_executor
from loky.backend.synchronize import SemLock

from engine.budget import parse_rate
from engine.process import environment, shortages
from engine.process.heartbeat import STARTING_S, Heart, Pulse, is_stopped
from engine.settings import Settings
from engine.storage import disk
from engine.storage.processes import SIGNALS, leave_signals_to_supervisor, namespace
from engine.worker.main import Report

ORPHANED, NO_MEMORY, NO_THREAD = 70, 71, 72
DRAIN, LEAVE_WAITING, RATE = b"S", b"A", b"R"
BACK_OFF_S, BACK_OFF_MAX_S = 0.05, 5.0
logging.getLogger("concurrent.futures").addHandler(
    logging.NullHandler()
)  # where loky tells what it raises as well
STOPPED_LOOK_S = 3.0  # silent for so long: look whether it is stopped


# ---- in the worker process -------------------------------------------------------------------------------
class _Process:
    """What this worker process is, set once when it starts."""

    settings: Settings
    stop = threading.Event()
    abort = threading.Event()
    resources: Any = None
    heart: Connection


def begin(settings: Settings, lifeline: Connection, heart: Connection) -> None:
    """Set the worker process up (loky's initializer)."""
    leave_signals_to_supervisor()
    _Process.settings = settings
    _Process.heart = heart
    # Between laps loky would read in /proc how much memory we use, and print a traceback when no descriptor is left
    # for that. The keeper looks after our memory.
    process_executor._USE_PSUTIL = False
    try:
        Heart(heart.fileno()).beat_by_itself()
        threading.Thread(target=_listen, args=(lifeline,), name="lifeline", daemon=True).start()
    except RuntimeError:  # no thread can be started
        os._exit(NO_THREAD)


def _listen(lifeline: Connection) -> None:
    try:
        while True:
            word = lifeline.recv_bytes()
            if word.startswith(RATE):
                _set_rate(word.removeprefix(RATE).decode())
                continue
            _Process.stop.set()
            if word == LEAVE_WAITING:
                _Process.abort.set()
    except (EOFError, OSError):
        os._exit(ORPHANED)


def _set_rate(text: str) -> None:
    """The keeper holds to it from its next look on; for what is only being opened see `lap`."""
    its = _Process.settings
    _Process.settings = replace(its, budget=replace(its.budget, rate=parse_rate(text)))
    if _Process.resources is not None:
        _Process.resources.wanted = _Process.settings.budget


def lap(worker_id: str) -> Report:
    """One lap of work in this process. A process that has no memory left ends, as if the kernel had ended it: the
    next one begins with little, and whose jobs they were that took it shows when they run alone."""
    from engine.errors import EngineError, Exit
    from engine.worker.context import Resources
    from engine.worker.main import run_lap

    if _Process.resources is None:
        try:
            _Process.resources = Resources(_Process.settings, _Process.stop, _Process.abort)
        except EngineError as exc:
            return Report("error", 0, str(exc), exc.exit_code)
        except OSError as exc:
            return Report("error", 0, str(disk.disk_error(exc, "opening the queue")), Exit.DISK)
        except MemoryError:
            os._exit(NO_MEMORY)
        except Exception as exc:  # noqa: BLE001 - foreign exceptions must not cross the process border
            short = shortages.raised(exc)
            if short is not None:
                return Report("error", 0, str(short), short.exit_code)
            return Report("error", 0, f"{type(exc).__name__}: {exc}", Exit.BUG)
    _Process.resources.wanted = _Process.settings.budget  # a word may have come while they were opened
    report = run_lap(_Process.settings, _Process.resources, worker_id, _Process.stop)
    if report.why == "memory":
        os._exit(NO_MEMORY)
    return report


# ---- in the supervisor -----------------------------------------------------------------------------------
@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold the three signals while a child is born: it has no handlers yet and would die of them.

    Both resource trackers are started first: the standard library's unblocks signals when it starts.
    """
    from multiprocessing import resource_tracker as own

    from loky.backend import resource_tracker as lokys

    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        own.ensure_running()
        with _quiet_tracker():
            lokys.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _quiet_tracker() -> Iterator[None]:
    """Have loky's resource tracker, which is born here, clean up without a word of it on the user's terminal."""
    name = "PYTHONWARNINGS"
    before = os.environ.get(name)
    os.environ[name] = ",".join(filter(None, [before, "ignore:resource_tracker:UserWarning"]))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class Slot:
    """One place for a worker process, and the lap it is running."""

    def __init__(self, number: int, settings: Settings, run_id: str) -> None:
        self.number = number
        self.worker_id = ""
        self.laps = 0
        self.settings = settings  # of the next process; the one at hand keeps its own
        self.threads = settings.threads  # of the process at hand
        self.drained = False  # the process at hand was told to drain: its next lap would be none
        self._run_id = run_id
        self._executor: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None
        self._heart: Connection | None = None
        self._pulse: Pulse | None = None
        self._future: Future[Report] | None = None
        self._quick_deaths = 0
        self._began_at = 0.0

    @property
    def running(self) -> bool:
        return self._future is not None

    def start(self) -> None:
        """Begin a lap, in the process at hand or in a new one. Raises ShortageError, OSError."""
        if self._executor is None:
            gone = shortages.package_gone()
            if gone is not None:
                raise gone
            reader, self._lifeline = Pipe(duplex=False)
            self._heart, writer = Pipe(duplex=False)
            self._pulse = Pulse(self._heart.fileno())
            self._executor = _executor(self.settings, reader, writer)
            self.threads, self.drained = self.settings.threads, False
        self.laps += 1
        self.worker_id = f"{self._run_id}.{self.number}.{self.laps}"
        self._began_at = time.monotonic()
        try:
            with signals_held():
                self._future = self._executor.submit(lap, self.worker_id)
        except UnboundLocalError as exc:  # how loky ends when it cannot make its pipes
            raise exc.__context__ if isinstance(exc.__context__, OSError) else exc from None
        except (RuntimeError, BlockingIOError) as exc:
            if not shortages.is_no_process(exc):
                raise
            raise shortages.no_process() from None

    def result(self) -> Report | BaseException | None:
        """What the lap came to: its report, the exception that says its process died, None while it runs."""
        if self._future is None or not self._future.done():
            return None
        future, self._future = self._future, None
        try:
            report = future.result()
        except BaseException as exc:  # noqa: BLE001 - loky's own, or a process that could not be started
            return exc
        self._quick_deaths = 0
        return report

    def back_off_s(self, did_something: bool) -> float:
        """How long to wait before the next start after a death: none, unless it dies before doing anything."""
        self._quick_deaths = 0 if did_something else self._quick_deaths + 1
        return min(BACK_OFF_MAX_S, BACK_OFF_S * 2**self._quick_deaths) if self._quick_deaths else 0.0

    @property
    def lap_age_s(self) -> float:
        return time.monotonic() - self._began_at

    @property
    def quick_deaths(self) -> int:
        return self._quick_deaths

    def say(self, word: bytes) -> None:
        """Tell the process to drain, or to step back from waits as well."""
        if self._lifeline is not None:
            with contextlib.suppress(OSError):
                self._lifeline.send_bytes(word)

    def drain(self) -> None:
        """Tell the process, once, to finish what is in flight."""
        if not self.drained:
            self.drained = True
            self.say(DRAIN)

    def silent_s(self) -> float:
        """For how long the process has said nothing. One that a user has stopped is not silent: it will go on."""
        if self._pulse is None or self._executor is None:
            return 0.0
        silent_s = self._pulse.silent_s()
        if silent_s > STOPPED_LOOK_S and any(map(is_stopped, self._executor._processes)):
            self._pulse.forgive()
            return 0.0
        if not self._pulse.begun:  # it is only starting, perhaps on a busy machine
            return max(0.0, silent_s - STARTING_S)
        return silent_s

    def kill(self) -> None:
        """Kill the process; that it died shows in `result`."""
        for pid in list(self._executor._processes) if self._executor is not None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """End the process at once, whatever it is doing."""
        executor, self._executor = self._executor, None
        lifeline, self._lifeline = self._lifeline, None
        if executor is not None:
            with contextlib.suppress(Exception):
                executor.shutdown(wait=True, kill_workers=True)
        for pipe in (lifeline, self._heart):
            if pipe is not None:
                pipe.close()
        self._heart = self._pulse = None
        self._future = None


def _executor(settings: Settings, lifeline: Connection, heart: Connection) -> ProcessPoolExecutor:
    """An executor of one process. Raises DiskError where there is no shared memory for its semaphores."""
    try:
        return ProcessPoolExecutor(
            max_workers=1,
            timeout=None,
            initializer=begin,
            initargs=(settings, lifeline, heart),
            env=environment.changes(),
        )
    except OSError as exc:
        if disk.is_shortage(exc):
            raise
        raise shortages.no_semaphores(exc) from None


def _semaphore_name() -> str:
    """loky's own name for a semaphore, and the pid namespace in which the number in it means something."""
    return f"/loky-{os.getpid()}-{namespace()}.{next(SemLock._rand)}"


if namespace() is not None:  # elsewhere names are short, and shared memory is no directory to sweep
    SemLock._make_name = staticmethod(_semaphore_name)


def sweep_semaphores(pids: Collection[int], path: str = "/dev/shm") -> None:  # noqa: S108 - where POSIX keeps them
    """Remove the semaphores that these processes, of our own pid namespace, left in shared memory, if they are gone.

    Other programs use loky, too, and containers may share that memory: what is not of a run of this queue stays, and
    of a process in another namespace nobody here knows whether it lives.
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
