"""The processes beside the workers, as the supervisor keeps them: the monitor and the lister.

Each is started, started again when it dies, and ended by the end of its standard input.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable

from engine import children, events
from engine.config import Settings
from engine.errors import EngineError, Exit
from engine.queue.layout import Queue
from engine.slot import signals_held

DEATHS_MAX = 6
FINISH_S = 60.0
END_S = 5.0
TICK_S = 0.025
_NO_USE = (Exit.DISK, Exit.USAGE, Exit.NO_QUEUE, Exit.NO_PROXY)  # starting it again would not help


class CompanionFailedError(EngineError):
    """One of them said what is wrong; the run ends with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = Exit(code) if code in set(Exit) else Exit.BUG


class Companion:
    """One `python -m engine.<name>`, and its successors."""

    def __init__(self, queue: Queue, name: str, letter: bytes = b"") -> None:
        self._queue = queue
        self._name = name
        self._letter = letter  # what it finds on its standard input
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        with signals_held():
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"engine.{self._name}", self._queue.root],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=children.environment(),
            )
        self._say(self._letter)

    def look(self) -> None:
        """Start it again if it died. Raises CompanionFailedError when it says that this would not help."""
        if self._process is None or self._process.poll() is None:
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
        self.start()

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
        if process.stderr:
            process.stderr.close()
        return code, said


class MonitorProcess(Companion):
    """The monitor, which is there as long as the run is."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue, "monitor")

    def finish(self, hurried: Callable[[], bool]) -> None:
        """Have the manifest brought up to the journals. A monitor that dies over it is started once more."""
        for _ in range(3):
            self.look()
            monitor = self._process
            if monitor is None or monitor.stdin is None:
                return
            self._say(b"finish\n")
            code = _wait(monitor, FINISH_S, hurried)
            if code == 0 or code is None:
                return
            if code > 0:
                raise CompanionFailedError(*self.end())


class ListerProcess(Companion):
    """The lister, which is there as long as a listing is open."""

    def __init__(self, queue: Queue, settings: Settings) -> None:
        super().__init__(queue, "lister", settings.pack())

    def _is_content(self, code: int) -> bool:
        return code == Exit.OK


def _wait(process: subprocess.Popen[bytes], within_s: float, hurried: Callable[[], bool]) -> int | None:
    """The exit code of a process that ends within the time, else None."""
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at and not hurried():
        code = process.poll()
        if code is not None:
            return code
        time.sleep(TICK_S)
    return None
