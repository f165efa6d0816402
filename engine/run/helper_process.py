"""The processes beside the workers, as the supervisor keeps them: the monitor and the lister.

Each is started, started again when it dies or says nothing any more (`engine.process.heartbeat`), and ended by the
end of its standard input. Restarts of one that keeps dying come later and later.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable

from engine.errors import EngineError, Exit
from engine.process import environment, shortages
from engine.process.heartbeat import STARTING_S, Pulse, is_stopped
from engine.queue import events
from engine.queue.directory import Queue
from engine.run.worker_process import signals_held
from engine.settings import Settings

DEATHS_MAX = 6
SILENT_S = 20.0  # who has said nothing for so long is replaced
FINISHES = 3  # monitors that are asked to bring the manifest up to the journals, one after the other
BACK_OFF_S, BACK_OFF_MAX_S = 0.05, 5.0
END_S = 5.0
TICK_S = 0.025
_NO_USE = (Exit.DISK, Exit.USAGE, Exit.NO_QUEUE, Exit.NO_PROXY)  # starting it again would not help


class CompanionFailedError(EngineError):
    """One of them said what is wrong; the run ends with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = Exit(code) if code in set(Exit) else Exit.BUG


class Companion:
    """One `python -m <module>`, and its successors; `name` is what messages and events call it."""

    def __init__(self, queue: Queue, name: str, module: str, letter: bytes = b"") -> None:
        self._queue = queue
        self._name = name
        self._module = module
        self._letter = letter  # what it finds on its standard input
        self._process: subprocess.Popen[bytes] | None = None
        self._pulse: Pulse | None = None
        self._deaths = 0
        self._restart_at: float | None = None

    @property
    def running(self) -> bool:
        return self._process is not None or self._restart_at is not None

    def start(self) -> None:
        """Start it. Raises ShortageError when the system has no process for it."""
        self._restart_at = None
        gone = shortages.package_gone()
        if gone is not None:
            raise gone
        try:
            with signals_held():
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self._module, self._queue.root],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,  # its heartbeat
                    stderr=subprocess.PIPE,
                    env=environment.environment(),
                )
        except OSError as exc:
            raise shortages.raised(exc) or exc from None
        if self._process.stdout is not None:
            self._pulse = Pulse(self._process.stdout.fileno())
        self._say(self._letter)

    def look(self) -> None:
        """Start it again if it died or does not answer. Raises CompanionFailedError when it says that this would not
        help."""
        if self._process is None:
            if self._restart_at is not None and time.monotonic() >= self._restart_at:
                self.start()
            return
        if self._process.poll() is None:
            self._end_if_silent()
            return
        code, said = self.end()
        if code in _NO_USE:
            raise CompanionFailedError(code, said)
        if self._is_content(code):
            return
        self._deaths += 1
        events.emit(self._queue, f"{self._name}_died", said[-200:] or f"exit {code}")
        if code > 0 and self._deaths > DEATHS_MAX:
            raise CompanionFailedError(Exit.BUG, f"the {self._name} cannot run: {said}")
        wait_s = min(BACK_OFF_MAX_S, BACK_OFF_S * 2**self._deaths) if self._deaths > 1 else 0.0
        self._restart_at = time.monotonic() + wait_s
        if not wait_s:
            self.start()

    def _end_if_silent(self) -> bool:
        """Kill it when it has said nothing for too long: stopped, or hung. The next look starts another."""
        if self._process is None or self._pulse is None:
            return False
        silent_s = self._pulse.silent_s()
        starting = not self._pulse.begun and not is_stopped(self._process.pid)
        if silent_s < (STARTING_S if starting else SILENT_S):
            return False
        reason = f"the {self._name} (pid {self._process.pid}) has not answered for {silent_s:.0f} s: it is replaced"
        events.emit(self._queue, f"{self._name}_silent", reason)
        self._process.kill()
        self._process.wait()
        return True

    def _is_content(self, code: int) -> bool:
        """Whether it ended because there is nothing left to do."""
        return False

    def _say(self, data: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died: `look` will see
                self._process.stdin.write(data)
                self._process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """End it; returns (exit code, what it said)."""
        process, self._process = self._process, None
        self._pulse = self._restart_at = None
        if process is None:
            return 0, ""
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            code = process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        said = process.stderr.read().decode("utf-8", "replace").strip() if process.stderr else ""
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return code, said


class MonitorProcess(Companion):
    """The monitor, which is there as long as the run is."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue, "monitor", "engine.monitor.monitor")

    def finish(self, hurried: Callable[[], bool]) -> None:
        """Have the manifest brought up to the journals, however long that takes as long as the monitor answers. One
        that dies or falls silent over it is replaced. Raises CompanionFailedError when the manifest stays behind."""
        for _ in range(FINISHES):
            if self._process is None:
                self.start()
            self._say(b"finish\n")
            code = self._ended(hurried)
            if code == 0 or hurried():
                return
            if code is not None and code > 0:
                raise CompanionFailedError(*self.end())
            self.end()
        raise CompanionFailedError(
            Exit.BUG, "the monitor does not answer, so the manifest lacks rows: run again, and it gets them"
        )

    def _ended(self, hurried: Callable[[], bool]) -> int | None:
        """The exit code of the monitor once it ends; None when it was killed for its silence, or there is hurry."""
        process = self._process
        while process is not None and not hurried():
            code = process.poll()
            if code is not None:
                return code
            if self._end_if_silent():
                return None
            time.sleep(TICK_S)
        return None


class ListerProcess(Companion):
    """The lister, which is there as long as a listing is open."""

    def __init__(self, queue: Queue, settings: Settings) -> None:
        super().__init__(queue, "lister", "engine.run.lister", settings.pack())

    def _is_content(self, code: int) -> bool:
        return code == Exit.OK
