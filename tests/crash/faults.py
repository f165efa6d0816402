"""Faults at a chosen step to disk, put into `engine.storage.disk` in a process of its own (nothing is ever undone).

A *step* is a call of one of the names by which `durable` reaches the system. Its number counts from 0, in
whichever thread it happens.
"""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import STEPS

from engine.storage import disk

KILLED = 9  # how a process ends that dies at a step
WRITES, SYNCS = ("_write", "_pwrite"), ("_fsync", "_fdatasync")
PAGE = (
    64  # bytes the modelled kernel writes or loses together; a real page would hide most of a small journal
)

Fault = Callable[[int, str, Callable[..., Any], tuple[Any, ...]], Any]


class Seam:
    """Every step of `durable`, counted, and left to `fault(number, name, real, args)`. Syncs cost nothing."""

    def __init__(self, fault: Fault | None = None, only: tuple[str, ...] = STEPS) -> None:
        self.steps = 0
        self._lock = threading.Lock()
        self._fault = fault
        for name in STEPS:
            real = (lambda fd: None) if name in SYNCS else getattr(disk, name)
            setattr(disk, name, self._wrapped(name, real) if name in only else real)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with self._lock:
                number, self.steps = self.steps, self.steps + 1
            return real(*args) if self._fault is None else self._fault(number, name, real, args)

        return call


def half(real: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Write the first half of what was to be written."""
    data = bytes(args[1])
    return int(real(args[0], data[: len(data) // 2], *args[2:]))


def dying(step: int, *, torn: bool) -> Fault:
    """kill -9 in place of this step; with `torn` half the bytes of a write still arrive."""

    def fault(number: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if number >= step:
            if torn and number == step and name in WRITES:
                half(real, args)
            os._exit(KILLED)
        return real(*args)

    return fault


def short(step: int) -> Fault:
    """This write takes half of what it is given, and says so."""

    def fault(number: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return half(real, args) if number == step and len(args[1]) > 1 else real(*args)

    return fault


def full(step: int) -> Fault:
    """From this step on there is no room: the first write still takes a half, then whatever needs a block fails."""
    first = itertools.count()

    def fault(number: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if number < step or name in (
            "_unlink",
            "_rmdir",
            "_truncate",
            "_rename",
            "_rename_noreplace",
            *SYNCS,
        ):
            return real(*args)
        if name == "_open" and not args[1] & os.O_CREAT:
            return real(*args)
        if name == "_pwrite" and args[2] + len(args[1]) <= os.fstat(args[0]).st_size:
            return real(*args)  # its blocks are there
        if name in WRITES and len(args[1]) > 1 and next(first) == 0:
            return half(real, args)
        said = (args[0],) if isinstance(args[0], str) else ()  # as the system does
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *said)

    return fault


class FailingSync:
    """The k-th sync fails, and the kernel does what kernels do: the pages stay readable, count as written, and
    are not on the disk. `lose` is the power cut that shows it.

    What it knows lies in a file, because it outlives processes; a file is known by its inode.
    """

    def __init__(self, memory: Path) -> None:
        self._path = memory
        self._lock = threading.RLock()
        self.failed = self.tried_again = False  # in this process
        self._failing: dict[int, set[int]] = {}
        known = pickle.loads(memory.read_bytes()) if memory.exists() else ({}, {})
        self.disk: dict[int, dict[int, bytes]] = known[0]  # by inode and page: what is on the disk
        self.lost: dict[int, set[int]] = known[1]  # pages that are clean and not on the disk
        self._dirty: dict[int, set[int]] = {}

    def save(self) -> None:
        """Whatever is still dirty will be written some day."""
        with self._lock:
            for inode, pages in self._dirty.items():
                self.lost.get(inode, set()).difference_update(pages)
            self._path.write_bytes(pickle.dumps((self.disk, self.lost)))

    def settle(self, root: Path) -> None:
        """What lies there now is on the disk."""
        for path in root.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                pages = {at // PAGE: data[at : at + PAGE] for at in range(0, len(data), PAGE)}
                self.disk[path.stat().st_ino] = pages
        self.save()

    def fault(self, step: int) -> Fault:
        syncs = itertools.count()

        def fault(number: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            with self._lock:
                if name in SYNCS:
                    return self._sync(args[0], next(syncs) == step)
                result = real(*args)
                if name == "_open" and args[1] & os.O_CREAT and not os.fstat(result).st_size:
                    for known in (self.disk, self.lost, self._dirty, self._failing):
                        known.pop(os.fstat(result).st_ino, None)  # a new file, be it with an old number
                elif name in WRITES:
                    self._wrote(name, args, result)
                return result

        return fault

    def _wrote(self, name: str, args: tuple[Any, ...], count: int) -> None:
        fd = args[0]
        end = args[2] + count if name == "_pwrite" else os.lseek(fd, 0, os.SEEK_CUR)
        pages = range((end - count) // PAGE, -(-end // PAGE))
        self._dirty.setdefault(os.fstat(fd).st_ino, set()).update(pages)

    def _sync(self, fd: int, fails: bool) -> None:
        about = os.fstat(fd)
        inode = about.st_ino
        dirty = set() if stat.S_ISDIR(about.st_mode) else self._dirty.pop(inode, set())
        self.tried_again |= inode in self._failing
        if fails:
            self.failed = True
            self._failing[inode] = set()
            self.lost.setdefault(inode, set()).update(dirty)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if dirty:
            path = f"/proc/self/fd/{fd}"
            with open(path, "rb") as file:
                data = file.read()
            pages = self.disk.setdefault(inode, {})
            pages.update({page: data[page * PAGE : (page + 1) * PAGE] for page in dirty})
            self.lost.get(inode, set()).difference_update(dirty)

    def not_on_disk(self, path: Path, upto: int) -> list[int]:
        """Offsets before `upto` of pages of a file that a power cut would show to be lost."""
        inode = path.stat().st_ino
        data = path.read_bytes()
        found = []
        for page in sorted(self.lost.get(inode, ())):
            now = data[page * PAGE : min((page + 1) * PAGE, upto)]
            if now and self.disk.get(inode, {}).get(page, b"")[: len(now)] != now:
                found.append(page * PAGE)
        return found

    def lose(self, root: Path) -> int:
        """The power fails: each file becomes what is on the disk. Returns how many pages were lost."""
        count = 0
        for path in root.rglob("*"):
            inode = path.stat().st_ino
            if not path.is_file() or not self.lost.get(inode):
                continue
            data = bytearray(path.read_bytes())
            for page in self.lost[inode]:
                piece = data[page * PAGE : (page + 1) * PAGE]
                old = self.disk.get(inode, {}).get(page, b"").ljust(len(piece), b"\0")[: len(piece)]
                count += old != piece
                data[page * PAGE : page * PAGE + len(piece)] = old
            path.write_bytes(data)
        self.lost.clear()
        return count
