"""The processes of a run, as the supervisor keeps them: workers and helpers (monitor, lister) by the same rules.

    waits ── wanted, and its time has come ──> at work ── ends ──> `look` returns how ──> waits for its successor
                                                 └── silent for too long: killed, which is an end as well

What differs between the two sorts is how one is launched (`worker_process`, `helper_process`) and what an end means.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from engine.errors import EngineError, Exit
from engine.process import shortages
from engine.process.heartbeat import STARTING_S, Pulse, is_stopped
from engine.storage.processes import SIGNALS

BACK_OFF_S, BACK_OFF_MAX_S = 0.05, 5.0
DEATHS_MAX = 6  # in a row, before doing anything: then it cannot run at all
STOPPED_POLL_S = 3.0  # silent for this long: find out whether it is stopped
POLL_S = 0.025


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child process ended: its exit code, negative for a signal, and its last words."""

    code: int
    said: str = ""


class ChildFailedError(EngineError):
    """A child process said that the run cannot go on, or keeps dying; `exit_code` is the run's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = Exit(code) if code in set(Exit) else Exit.BUG


class Launched(Protocol):
    """A process that was started. The supervisor holds its heartbeat and a pipe to it."""

    pulse: Pulse

    @property
    def pids(self) -> list[int]: ...

    def ending(self) -> Ending | None:
        """How it ended; None while it lives."""

    def send(self, data: bytes) -> None:
        """Write to it, if anybody still reads there."""

    def close(self) -> Ending:
        """End it, now at the latest, and free what it took here."""


class ChildProcess(ABC):
    """One place for a child process, and the processes that take it one after the other."""

    silent_after_s = 30.0  # then it is replaced
    replaced_when_stopped = True  # or left alone until its user lets it go on

    def __init__(self) -> None:
        self._process: Launched | None = None
        self._killed = False  # for its silence
        self._started_at = 0.0
        self._start_at = float("-inf")  # not before
        self.deaths_in_a_row = 0

    @abstractmethod
    def launch(self) -> Launched:
        """Start a process. Raises ShortageError, OSError."""

    @abstractmethod
    def report_silence(self, silent_s: float, pids: list[int]) -> None:
        """Say that it is killed because nothing has come from it for so long."""

    @property
    def at_work(self) -> bool:
        """Whether there is a process whose end has not been seen."""
        return self._process is not None

    @property
    def age_s(self) -> float:
        """How long ago the process was started."""
        return time.monotonic() - self._started_at

    def check(self, *, wanted: bool = True) -> Ending | None:
        """Start a process where one is wanted and due; kill a silent one; return how it ended, once it has.

        Raises ShortageError and OSError when none can be started.
        """
        if self._process is None:
            if wanted and time.monotonic() >= self._start_at:
                self.start()
            return None
        ending = self._process.ending()
        if ending is None:
            self._kill_if_silent(self._process)
        return ending

    def start(self) -> None:
        """Start a process now. Raises ShortageError, OSError."""
        gone = shortages.package_gone()
        if gone is not None:
            raise gone
        self._started_at, self._killed = time.monotonic(), False
        with signals_held():
            self._process = self.launch()

    def start_later(self, *, did_something: bool, at_least_s: float = 0.0) -> None:
        """After a death: let the next one wait, the longer the more have died in a row before doing anything."""
        self.deaths_in_a_row = 0 if did_something else self.deaths_in_a_row + 1
        wait_s = min(BACK_OFF_MAX_S, BACK_OFF_S * 2**self.deaths_in_a_row) if self.deaths_in_a_row else 0.0
        self._start_at = time.monotonic() + max(wait_s, at_least_s)

    def send(self, data: bytes) -> None:
        """Write to the process, if there is one."""
        if self._process is not None:
            self._process.send(data)

    def end(self) -> Ending | None:
        """End the process, if there is one, whatever it is doing."""
        process, self._process = self._process, None
        return process.close() if process is not None else None

    def _kill_if_silent(self, process: Launched) -> None:
        silent_s = process.pulse.silent_s()
        if self._killed or silent_s < min(STOPPED_POLL_S, self.silent_after_s):
            return
        stopped = any(map(is_stopped, process.pids))
        if stopped and not self.replaced_when_stopped:
            process.pulse.forgive()
        elif silent_s >= (self.silent_after_s if process.pulse.begun or stopped else STARTING_S):
            self._killed = True
            self.report_silence(silent_s, process.pids)
            for pid in process.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold the signals that end a run while a child is born: it has no handlers yet and would die of them.

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
    """Let loky's resource tracker, which is started here, clean up without a word on the user's terminal."""
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
