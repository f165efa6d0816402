"""What stops a command: exceptions with a message for people and an exit code.

A *failure* of one video is data (`engine.model.Failure`) and never an exception here.
Take any other exit code for a failure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum

from engine.model import RequestCost


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    BUG = 1
    USAGE = 2
    SOME_FAILED = 3
    WORK_REMAINS = 4
    ALL_BLOCKED = 5
    NO_QUEUE = 10
    HELD = 11
    NO_PROXY = 12
    DISK = 13
    DAMAGED = 14
    RUNNING = 20  # these four come from `status --exit-code` and `wait`
    PAUSED = 21
    STALLED = 22
    STOPPED = 23


class EngineError(Exception):
    """Ends the command with a message for a person: what is wrong, where, what to do next.

    Each argument is one line of the message, so that foreign text with a line feed cannot pass for a message of ours.
    `path` and `pid` name the file or directory and the process that the message is about, where there is one. `shell`
    is what to type next: the command line says it after the message, a program is not told.
    """

    exit_code: Exit = Exit.BUG

    def __init__(
        self, *lines: object, path: str | None = None, pid: int | None = None, shell: str | None = None
    ) -> None:
        super().__init__(*lines)
        self.path = path
        self.pid = pid
        self.shell = shell

    @property
    def lines(self) -> tuple[str, ...]:
        """The message, line by line."""
        return tuple(map(str, self.args))

    def __str__(self) -> str:
        return "\n".join(self.lines)


class UsageError(EngineError):
    """Wrong usage, input that cannot be read, or a queue that cannot be written or has a newer format."""

    exit_code = Exit.USAGE


class NoQueueError(EngineError):
    """There is no queue in this directory."""

    exit_code = Exit.NO_QUEUE


class NoRunError(UsageError):
    """No run is live here that could be asked for anything."""


class NoAnswerError(EngineError):
    """A live run has not done in time what it was asked; `pid` is its process."""


class NoRecordError(UsageError):
    """There is no record of this video; `path` is where it would be."""


class RunDiedError(EngineError):
    """A run ended by a bug or by a signal that nobody can catch; `code` is what the system says (-9: SIGKILL)."""

    def __init__(
        self, *lines: object, code: int = 1, path: str | None = None, pid: int | None = None
    ) -> None:
        super().__init__(*lines, path=path, pid=pid)
        self.code = code


class HeldError(EngineError):
    """Another run holds this queue."""

    exit_code = Exit.HELD


class NoProxyError(EngineError):
    """No proxy is left that can be used."""

    exit_code = Exit.NO_PROXY


class DiskError(EngineError):
    """The disk is full or failing; nothing that was reported as done is lost."""

    exit_code = Exit.DISK


class ShortageError(EngineError):
    """The machine has no more of what a run needs: processes, threads, memory, shared memory."""

    exit_code = Exit.DISK


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'rate'?` for a name that is nearly one of these, else nothing."""
    near = difflib.get_close_matches(name.lower(), list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


class Interrupted(Exception):
    """An attempt was aborted because the run ends or its egress is blocked; its job stays as it was.

    `cost` is what the attempt had used by then.
    """

    def __init__(self, cost: RequestCost | None = None) -> None:
        super().__init__()
        self.cost = cost or RequestCost()
