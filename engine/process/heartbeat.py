"""Heartbeats: how a supervisor notices from outside that a child process hangs.

The child writes one byte a second into a pipe, and the supervisor reads how long ago the last one came. A pipe is
memory only, so a slow disk delays no beat. A process falls silent when it is stopped, when one of its threads keeps
the interpreter to itself (a regular expression that does not end), or when its main loop hangs.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time

from engine.process import suspends
from engine.process.threads import start_thread

BEAT_S = 1.0
STARTING_S = 180.0  # a process may take this long before its first beat


class Heart:
    """The child's side. `beat` may be called as often as one likes; it writes once a second and never blocks."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._beat_at = float("-inf")

    @classmethod
    def on_stdout(cls) -> Heart:
        """The heartbeat of a helper process, whose standard output is the pipe; none when it was started by hand."""
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
        with contextlib.suppress(OSError, ValueError):  # the reader is gone, which is noticed elsewhere
            if select.select([], [self._fd], [], 0)[1]:  # full: the supervisor is stopped and reads later
                os.write(self._fd, b".")

    def beat_by_itself(self) -> None:
        """Beat from a thread, for a process whose main thread may wait for long with good reason."""
        start_thread(self._go_on, name="heartbeat")

    def _go_on(self) -> None:
        while True:
            self.beat()
            time.sleep(BEAT_S)


class Pulse:
    """The supervisor's side: for how long a child has been silent, in seconds in which the supervisor ran itself.

    `begun`: a beat has come. Until then the process may only be starting, which takes long on a busy machine.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._beat_at = time.monotonic()
        self.begun = False
        os.set_blocking(fd, False)

    def silent_s(self) -> float:
        """Read what came, and say for how long nothing has come."""
        with contextlib.suppress(OSError):  # nothing there, or the child is gone, which is noticed elsewhere
            while os.read(self._fd, 4096):
                self._beat_at, self.begun = time.monotonic(), True
        lost_s = suspends.lost_s(self._beat_at)
        return time.monotonic() - self._beat_at - lost_s

    def forgive(self) -> None:
        """Count from now on: the silence had a good reason."""
        self._beat_at = time.monotonic()


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (^Z, SIGSTOP) or a debugger: it goes on when its user wants it to."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False
