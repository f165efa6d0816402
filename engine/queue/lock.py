"""Locks that the kernel frees when their holder dies, however it dies.

`flock` on a descriptor, by way of filelock's `lock_descriptor`. The file holds a note saying who has it, for
onlookers: they read the note and look at the process table, and never try the lock, lest a look cost a worker
its claim. Lock files are never unlinked while someone may wait for them (the waiters would split across
inodes). Advisory; local file systems only; a stopped but living holder keeps its lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from types import TracebackType
from typing import Any, Self

from filelock import lock_descriptor, unlock_descriptor

from engine import durable, processes
from engine.errors import HeldError

NOTE_S = 0.5


class Lock:
    """An exclusive lock on a file, held from a successful `take` until `release` or the end of the process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def take(self, *, wait_s: float = 0.0, create: bool = True, note: dict[str, Any] | None = None) -> bool:
        """Take the lock within `wait_s` seconds; False when another has it.

        With a `note` the file then says who has it. Raises FileNotFoundError when the file is missing and
        `create` is not set.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        fd = os.open(self.path, flags, durable.PRIVATE_FILE)
        give_up_at = time.monotonic() + wait_s
        try:
            while not lock_descriptor(fd, blocking=False):
                if time.monotonic() >= give_up_at:
                    os.close(fd)
                    return False
                time.sleep(0.005)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
        self._fd = fd
        if note is not None:
            try:
                self.write_note({**processes.identity(), **note})
            except BaseException:  # a full disk: nobody would ever let go of it
                self._close()
                raise
        return True

    def write_note(self, note: dict[str, Any]) -> None:
        """Say in the file who has it. Shorter than a block: readers see the old note or the new."""
        data = (json.dumps(note) + "\n").encode()
        os.ftruncate(self._fd, 0)
        durable.pwrite(self._fd, data, 0)

    def release(self) -> None:
        """Erase the note and let go."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        with contextlib.suppress(OSError):
            unlock_descriptor(fd)
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take_or_say_who(path: str, what: str, *, wait_s: float = 0.0, note: dict[str, Any] | None = None) -> Lock:
    """Take a lock or raise HeldError naming the pid that has it."""
    lock = Lock(path)
    if not lock.take(wait_s=wait_s, note=note or {}):
        pid = _holder_pid(path)
        raise HeldError(f"another {what} holds this queue" + (f" (pid {pid})" if pid else "") + f": {path}")
    return lock


def _holder_pid(path: str) -> object:
    """The pid in the holder's note; one who has just taken the lock gets a moment to write it."""
    give_up_at = time.monotonic() + NOTE_S
    while True:
        pid = (read_note(path) or {}).get("pid")
        if pid is not None or time.monotonic() >= give_up_at:
            return pid
        time.sleep(0.005)


def read_note(path: str) -> dict[str, Any] | None:
    """What the holder noted, without touching the lock; None when there is nothing readable."""
    try:
        with open(path, "rb") as file:
            note = json.loads(file.read(4096) or b"null")
    except (OSError, ValueError, RecursionError):
        return None
    return note if isinstance(note, dict) else None


def living_holder(path: str) -> dict[str, Any] | None:
    """The note of a holder that lives, or None."""
    note = read_note(path)
    return note if processes.alive(note) else None
