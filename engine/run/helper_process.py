"""The helper processes of a run: the monitor, which keeps the manifest, and the lister, which reads channels.

Each is a `python -m MODULE QUEUE`. It finds its settings on its standard input and ends with that. Its standard
output is its heartbeat. Its exit code and its standard error say why it ended (`engine.process.child_side`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable

from engine.errors import Exit
from engine.process import environment, shortages
from engine.process.heartbeat import Pulse
from engine.queue import events, listings
from engine.queue.directory import Queue
from engine.run.child_process import DEATHS_MAX, POLL_S, ChildFailedError, ChildProcess, Ending
from engine.settings import Settings

SILENT_S = 20.0
FINISHES = 3  # monitors that are asked to bring the manifest up to the journals, one after the other
END_S = 5.0
LISTINGS_S = 1.0
_NO_USE = (Exit.DISK, Exit.USAGE, Exit.NO_QUEUE, Exit.NO_PROXY)  # starting it again would not help


class Subprocess:
    """A helper process that was started (`child_process.Launched`)."""

    def __init__(self, module: str, root: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment.environment(),
        )
        assert self._process.stdout is not None  # noqa: S101
        self.pulse = Pulse(self._process.stdout.fileno())

    @property
    def pids(self) -> list[int]:
        return [self._process.pid]

    def ending(self) -> Ending | None:
        return self.close() if self._process.poll() is not None else None

    def send(self, data: bytes) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died, which `ending` tells
                self._process.stdin.write(data)
                self._process.stdin.flush()

    def close(self) -> Ending:
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            code = process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        said = b""
        for pipe in (process.stdout, process.stderr):
            if pipe is not None and not pipe.closed:
                said = pipe.read() if pipe is process.stderr else said
                pipe.close()
        return Ending(code, said.decode("utf-8", "replace").strip())


class HelperProcess(ChildProcess):
    """A helper process and its successors; `name` is what messages and events call it."""

    name = ""
    module = ""

    def __init__(self, queue: Queue, stdin: bytes = b"") -> None:
        super().__init__()
        self.silent_after_s = SILENT_S
        self._queue = queue
        self._stdin = stdin  # what it finds there

    def launch(self) -> Subprocess:
        try:
            process = Subprocess(self.module, self._queue.root)
        except OSError as exc:
            raise shortages.raised(exc) or exc from None
        process.send(self._stdin)
        return process

    def report_silence(self, silent_s: float, pids: list[int]) -> None:
        reason = f"the {self.name} (pid {pids[0]}) has not answered for {silent_s:.0f} s: it is replaced"
        events.emit(self._queue, f"{self.name}_silent", reason)

    def keep(self, *, wanted: bool = True) -> Ending | None:
        """Keep one at work where it is wanted; return how one ended, once.

        Raises ChildFailedError when it says that a successor would not help, or when it keeps dying.
        """
        ending = self.check(wanted=wanted)
        if ending is None:
            return None
        self.end()
        if ending.code in _NO_USE:
            raise ChildFailedError(ending.code, ending.said)
        if not self.is_done(ending.code):
            self._died(ending)
        return ending

    def is_done(self, code: int) -> bool:
        """Whether it ended because there is nothing left to do."""
        return False

    def _died(self, ending: Ending) -> None:
        events.emit(self._queue, f"{self.name}_died", ending.said[-200:] or f"exit {ending.code}")
        self.start_later(did_something=False)
        if ending.code > 0 and self.deaths_in_a_row > DEATHS_MAX:
            raise ChildFailedError(Exit.BUG, f"the {self.name} cannot run: {ending.said}")


class MonitorProcess(HelperProcess):
    """The monitor, which is there as long as the run is."""

    name, module = "monitor", "engine.monitor.monitor"

    def finish(self, hurried: Callable[[], bool]) -> None:
        """Have the manifest brought up to the journals, however long that takes as long as the monitor answers.

        One that dies or falls silent over it is replaced. Raises ChildFailedError when the manifest stays behind.
        """
        for _ in range(FINISHES):
            if not self.at_work:
                self.start()
            self.send(b"finish\n")
            ending = None
            while ending is None and not hurried():
                ending = self.check()
                time.sleep(POLL_S)
            self.end()
            if ending is None or ending.code == 0:
                return
            if ending.code > 0:
                raise ChildFailedError(ending.code, ending.said)
        raise ChildFailedError(
            Exit.BUG, "the monitor does not answer, so the manifest lacks rows: run again, and it gets them"
        )


class ListerProcess(HelperProcess):
    """The lister, which is there as long as a listing is open."""

    name, module = "lister", "engine.run.lister"

    def __init__(self, queue: Queue, settings: Settings) -> None:
        super().__init__(queue, settings.pack())
        self._asked_at = float("-inf")

    def has_work(self) -> bool:
        """Whether a listing is open. The files are asked once a second at most, and not while one is at work."""
        if self.at_work or time.monotonic() - self._asked_at < LISTINGS_S:
            return False
        self._asked_at = time.monotonic()
        return bool(listings.summary(self._queue)[listings.OPEN])

    def is_done(self, code: int) -> bool:
        return code == Exit.OK
