"""Lock files: who holds a queue, a claim or an output, as a lock that the kernel frees when its holder dies.

The file holds a note that says who has the lock. Onlookers read the note and look at the process table. They do not
try the lock, because that could cost a worker its claim. A note from another pid namespace (a container's, or its
host's) says nothing in our process table. Then onlookers try for a shared lock and give it back at once, and whoever
is refused a lock by that tries again for a moment. The lock of a claim is not even tried then, unless no run can want
it. Lock files are not unlinked while someone may wait for them (the waiters would split across inodes). The locks are
advisory and for local file systems. A stopped holder keeps its lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from engine.errors import HeldError
from engine.storage import disk, processes
from engine.storage.flock import try_lock, try_shared_lock, unlock

NOTE_S = 0.5
GLANCE_S = 0.25  # an onlooker's try is over within that, also on a busy machine


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
        fd = os.open(self.path, flags, disk.PRIVATE_FILE)
        give_up_at = time.monotonic() + wait_s
        try:
            while not try_lock(fd):
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
        disk.pwrite(self._fd, data, 0)

    @property
    def in_place(self) -> bool:
        """Whether the file that is locked is still the one that its path leads to."""
        try:
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Erase the note and let go."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        with contextlib.suppress(OSError):
            unlock(fd)
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take_or_say_who(path: str, what: str, *, wait_s: float = 0.0, note: dict[str, Any] | None = None) -> Lock:
    """Take a lock or raise HeldError naming who has it."""
    lock = Lock(path)
    if lock.take(wait_s=wait_s, note=note or {}):
        return lock
    # No visible process has it. It may have been an onlooker, which is gone in a moment.
    if not processes.alive(read_note(path)) and lock.take(wait_s=GLANCE_S, note=note or {}):
        return lock
    holder = _holder(path)
    named = f" ({who(holder)})" if holder else ""
    pid = holder.get("pid") if holder else None
    raise HeldError(
        f"another {what} holds this queue{named}: {path}",
        path=path,
        pid=pid if isinstance(pid, int) else None,
    )


def _holder(path: str) -> dict[str, Any] | None:
    """The holder's note; one who has just taken the lock gets a moment to write it."""
    give_up_at = time.monotonic() + NOTE_S
    while True:
        note = read_note(path)
        if note is not None and note.get("pid") is not None:
            return note
        if time.monotonic() >= give_up_at:
            return None
        time.sleep(0.005)


def who(note: dict[str, Any]) -> str:
    """A holder for people: `pid 12`, and where that number means something if it does not here."""
    text = f"pid {note.get('pid')}"
    if not processes.elsewhere(note):
        return text
    host = note.get("host")
    if not isinstance(host, str) or host in ("", os.uname().nodename):
        return f"{text} in another container"
    return f"{text} in another container, {host[:64]}"


def read_note(path: str) -> dict[str, Any] | None:
    """What the holder noted, without touching the lock; None when there is nothing readable."""
    try:
        with open(path, "rb") as file:
            note = json.loads(file.read(4096) or b"null")
    except (OSError, ValueError, RecursionError):
        return None
    return note if isinstance(note, dict) else None


def living_holder(path: str) -> dict[str, Any] | None:
    """The note of a holder that lives, or None. Tries the lock when the holder is in another pid namespace."""
    note = read_note(path)
    if note is None:
        return None
    lives = is_locked(path) if processes.elsewhere(note) else processes.alive(note)
    return note if lives else None


def living_claims(run_lock: str, claims: list[str]) -> Iterator[dict[str, Any]]:
    """The notes of those among these workers' locks whose holder lives, for an onlooker while no run is live.

    A worker in another container can be checked only by trying its lock, so no run can begin meanwhile.
    """
    with contextlib.ExitStack() as kept:
        if any(processes.elsewhere(read_note(path)) for path in claims) and not kept.enter_context(
            kept_free(run_lock)
        ):
            yield read_note(run_lock) or {}
            return
        for path in claims:
            holder = living_holder(path)
            if holder is not None:
                yield holder


def is_locked(path: str) -> bool:
    """Whether somebody has this lock, by trying for a shared one; two who look do not meet."""
    with kept_free(path) as free:
        return not free


@contextlib.contextmanager
def kept_free(path: str) -> Iterator[bool]:
    """Within the block nobody can take this lock; yields False, and keeps nothing, when somebody has it.

    A file that is not there is free. One that may not be read counts as taken.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        yield True
        return
    except OSError:
        yield False
        return
    try:
        free = try_shared_lock(fd)
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(fd)  # and with it the lock
