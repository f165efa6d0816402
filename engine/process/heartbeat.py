"""Heartbeats: how a supervisor notices from outside that a child process stands still.

The child writes one byte a second into a pipe, and the supervisor reads how long ago the last one came. A pipe holds
memory only, so a slow disk silences nobody. What silences a process: it is stopped, or one of its threads keeps the
interpreter to itself (a regular expression that does not end), or its main loop hangs.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
import time

BEAT_S = 1.0
STARTING_S = 180.0  # so long a process may take before its first beat
SUSPEND_GAP_S = 2.0  # the supervisor itself did not run for so long: nobody was silent for that time


class Heart:
    """The child's side. `beat` may be called as often as one likes; it writes once a second and never blocks."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._beat_at = float("-inf")

    @classmethod
    def on_stdout(cls) -> Heart:
        """The heart of a helper process, whose standard output is the pipe. Started by hand it has none."""
        piped = False
        with contextlib.suppress(OSError):
            piped = stat.S_ISFIFO(os.fstat(1).st_mode)
        return cls(1 if piped else -1)

    def beat(self) -> None:
        """Say that this process is still at work."""
        now = time.monotonic()
        if self._fd < 0 or now - self._beat_at < BEAT_S:
            return
        self._beat_at = now
        with contextlib.suppress(
            OSError, ValueError
        ):  # nobody listens any more, and we hear of that elsewhere
            if select.select([], [self._fd], [], 0)[1]:  # full: the supervisor is stopped and reads later
                os.write(self._fd, b".")

    def beat_by_itself(self) -> None:
        """Beat from a thread, for a process whose main thread may wait for long with good reason."""
        threading.Thread(target=self._go_on, name="heartbeat", daemon=True).start()

    def _go_on(self) -> None:
        while True:
            self.beat()
            time.sleep(BEAT_S)


class Pulse:
    """The supervisor's side: for how long a child has been silent, in seconds of the supervisor's own time.

    A time in which the supervisor did not run either (the machine slept, all were stopped) does not count. `begun`:
    something has come; until then the process may only be starting, which takes long on a busy machine.
    """

    def __init__(self, fd: int, now: float | None = None) -> None:
        self._fd = fd
        self._heard_at = self._looked_at = time.monotonic() if now is None else now
        self.begun = False
        os.set_blocking(fd, False)

    def silent_s(self, now: float | None = None) -> float:
        """Read what came, and say for how long nothing has come."""
        now = time.monotonic() if now is None else now
        gap_s = now - self._looked_at
        if gap_s > SUSPEND_GAP_S:
            self._heard_at += gap_s
        self._looked_at = now
        with contextlib.suppress(OSError):  # nothing there, or the child is gone, which shows elsewhere
            while os.read(self._fd, 4096):
                self._heard_at, self.begun = now, True
        return now - self._heard_at

    def forgive(self) -> None:
        """Count from now on: the silence had a good reason."""
        self._heard_at = self._looked_at


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (^Z, SIGSTOP) or a debugger: it goes on when its user wants it to."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False
