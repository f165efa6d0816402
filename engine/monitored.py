"""The monitor's process, as the supervisor keeps it: started, started again when it dies, asked to finish."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable

from engine import events
from engine.errors import EngineError, Exit
from engine.queue.layout import Queue
from engine.slot import signals_held

DEATHS_MAX = 6
FINISH_S = 60.0
END_S = 5.0
TICK_S = 0.025


class MonitorFailedError(EngineError):
    """The monitor said what is wrong; the run ends with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = Exit(code) if code in set(Exit) else Exit.BUG


class MonitorProcess:
    """One `python -m engine.monitor`, and its successors."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0

    def start(self) -> None:
        with signals_held():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "engine.monitor", self._queue.root],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_python_path(),
            )

    def look(self) -> None:
        """Start it again if it died. Raises MonitorFailedError when it says that this would not help."""
        if self._process is None or self._process.poll() is None:
            return
        code, said = self.end()
        if code in (Exit.DISK, Exit.USAGE, Exit.NO_QUEUE):
            raise MonitorFailedError(code, said)
        self._deaths += 1
        events.emit(self._queue, "monitor_died", said[-200:] or f"exit {code}")
        if code > 0 and self._deaths > DEATHS_MAX:
            raise MonitorFailedError(Exit.BUG, f"the monitor cannot run: {said}")
        self.start()

    def finish(self, hurried: Callable[[], bool]) -> None:
        """Have the manifest brought up to the journals. A monitor that dies over it is started once more."""
        for _ in range(3):
            self.look()
            monitor = self._process
            if monitor is None or monitor.stdin is None:
                return
            with contextlib.suppress(OSError):
                monitor.stdin.write(b"finish\n")
                monitor.stdin.flush()
            code = _wait(monitor, FINISH_S, hurried)
            if code == 0 or code is None:
                return
            if code > 0:
                raise MonitorFailedError(*self.end())

    def end(self) -> tuple[int, str]:
        """End it; returns (exit code, what it said)."""
        monitor, self._process = self._process, None
        if monitor is None:
            return 0, ""
        if monitor.stdin is not None:
            with contextlib.suppress(OSError):
                monitor.stdin.close()
        try:
            code = monitor.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            monitor.kill()
            code = monitor.wait()
        said = monitor.stderr.read().decode("utf-8", "replace").strip() if monitor.stderr else ""
        if monitor.stderr:
            monitor.stderr.close()
        return code, said


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
        time.sleep(TICK_S)
    return None
