"""What a fetching thread passes between one video and the next: the hook that `walk.py` has in a run's processes.

`follow` makes every thread that is started from then on note the functions of the engine that it calls, and the
locks between processes that it takes. What comes between two calls of `Fetcher.fetch` in a thread is one video's
way. Each way is appended as a line of JSON to the file that WALKED names.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import engine

ENGINE = str(Path(engine.__file__).parent) + os.sep
_mine = threading.local()


class Way:
    """What one thread has passed since its last call of `fetch`."""

    def __init__(self, start: CodeType) -> None:
        self._start = start
        self._calls: list[tuple[str, str, str]] | None = None  # module, function, module of the caller
        self._locks: list[str] = []

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """For `sys.setprofile`."""
        if event != "call" or not frame.f_code.co_filename.startswith(ENGINE):
            return
        if frame.f_code is self._start:
            self.write()
            self._calls, self._locks = [], []
        if self._calls is not None:
            module = frame.f_code.co_filename[len(ENGINE) :]
            self._calls.append((module, frame.f_code.co_qualname, _caller(frame)))

    def locked(self, fd: int) -> None:
        self._locks.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))

    def write(self) -> None:
        if self._calls:
            line = json.dumps({"calls": self._calls, "locks": self._locks}) + "\n"
            with open(os.environ["WALKED"], "a", encoding="utf-8") as file:
                file.write(line)


def _caller(frame: FrameType) -> str:
    """The engine's module that a call came from, whatever other libraries lie between."""
    at = frame.f_back
    while at is not None:
        if at.f_code.co_filename.startswith(ENGINE):
            return at.f_code.co_filename[len(ENGINE) :]
        at = at.f_back
    return ""


def follow(fetch: Callable[..., Any]) -> None:
    """Follow every thread that is started from here on."""
    start = fetch.__code__

    def first(frame: FrameType, event: str, arg: object) -> None:
        _mine.way = way = Way(start)
        sys.setprofile(way.profile)
        way.profile(frame, event, arg)

    for name in ("flock", "lockf"):
        setattr(fcntl, name, _noting(getattr(fcntl, name)))
    threading.setprofile(first)


def _noting(real: Callable[..., Any]) -> Callable[..., Any]:
    def lock(fd: Any, operation: int, *more: Any) -> Any:
        result = real(fd, operation, *more)
        if operation & (fcntl.LOCK_EX | fcntl.LOCK_SH) and hasattr(_mine, "way"):
            _mine.way.locked(fd if isinstance(fd, int) else fd.fileno())
        return result

    return lock
