"""Where queue and output will lie: free space, and whether locks, fsync and rename work there."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator

from engine.doctor.finding import Finding, Level, ok, problem
from engine.errors import UsageError
from engine.output import destination, folding
from engine.output.placement import refuse_output_place
from engine.process import environment
from engine.queue import marker
from engine.queue.admission import DirectoryState, inspect
from engine.queue.directory import Queue, exists
from engine.queue.mounts import file_system, refuse_remote
from engine.storage import disk
from engine.storage.locks import Lock
from engine.units import size

LOW_BYTES, FEW_BYTES = 1 << 30, 100 << 20
FEW_INODES, NO_INODES = 20_000, 1_000
_TRY_LOCK = (
    "import fcntl, sys\n"
    "try: fcntl.flock(open(sys.argv[1], 'rb+'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "except BlockingIOError: sys.exit(7)"
)
_REFUSED = 7


def queue_place(path: str) -> Iterator[Finding]:
    """The queue's directory: that it is one, or may become one, and all that `place` looks at."""
    found = inspect(path)
    if found.state is DirectoryState.FOREIGN:  # nothing is tried out there
        yield problem("queue", f"{path}: {found.why}", "give a new or an empty directory with -q")
        return
    yield from place("queue", path)


def output_place(path: str, queue: str) -> Iterator[Finding]:
    """The output directory: that it lies apart from the queue's own files, and all that `place` looks at."""
    try:
        refuse_output_place(queue, path)
    except UsageError as exc:
        yield problem("output", str(exc), "see there")
        return
    yield from place("output", path)


def place(about: str, path: str) -> Iterator[Finding]:
    """A directory, or the nearest one above it that is there: room, file system, locks, fsync, rename."""
    shown, there = path, _nearest(os.path.abspath(path))
    option = "-q" if about == "queue" else "-o"
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        yield problem(
            about, f"{there} is no directory that you may write to", f"give another place with {option}"
        )
        return
    try:
        refuse_remote(there, about)
    except UsageError as exc:
        yield problem(about, str(exc), f"give a place on a local disk with {option}")
        return
    total, _, free = shutil.disk_usage(there)
    if not total:  # such as /proc
        yield problem(
            about,
            f"{there} lies on {file_system(there)}, which holds no files",
            f"give another place with {option}",
        )
        return
    yield from _inodes(about, there)
    room = f"{shown}: {file_system(there)}, {size(free)} free"
    if free < LOW_BYTES:
        level = Level.PROBLEM if free < FEW_BYTES else Level.WARNING
        yield Finding(level, about, room, "make room: 100,000 transcripts take some 5 GB")
        if level is Level.PROBLEM:
            return
    else:
        yield ok(about, room)
    wrong = try_out(there)
    if wrong:
        yield problem(about, f"{there}: {wrong}", f"give a place on a local disk with {option}")
    else:
        yield ok(about, "locks between processes, fsync and rename work there")


def _inodes(about: str, path: str) -> Iterator[Finding]:
    """How many more files the file system takes, where it has a limit. A transcript takes two of them."""
    known = os.statvfs(path)
    if known.f_files and known.f_favail < FEW_INODES:
        level = Level.PROBLEM if known.f_favail < NO_INODES else Level.WARNING
        seen = f"{path}: only {known.f_favail:,} more files can be made there (free inodes)"
        yield Finding(
            level, about, seen, "remove small files there, or give a file system that was made for more"
        )


def names(path: str) -> Iterator[Finding]:
    """The output's file system keeps names that differ in case apart."""
    there = _nearest(os.path.abspath(path))
    usable = os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK) and shutil.disk_usage(there).total
    if usable and not folding.kept(there):
        yield Finding(
            Level.WARNING if sys.platform == "darwin" else Level.PROBLEM,
            "output",
            f"{there}: {file_system(there)} takes names that differ only in upper and lower case for the same",
            "give a directory on another file system with -o (ext4, xfs and btrfs keep case)",
        )


def belongs(root: str) -> Iterator[Finding]:
    """The output directory that the queue was begun with is there, and is that queue's."""
    if exists(root):
        queue = Queue(root)
        try:
            destination.check(queue, marker.output_of(queue))
        except UsageError as exc:
            yield problem("output", str(exc), "a run would end with this")


def try_out(directory: str) -> str:
    """Do on a small scale what a run does to a disk; returns what did not work, empty when all did."""
    mine = os.path.join(directory, f".engine-doctor-{secrets.token_hex(4)}")
    first, second = os.path.join(mine, "first"), os.path.join(mine, "second")
    try:
        disk.mkdir(mine)
        disk.create(first, b"first\n")
        disk.create(second, b"second\n")
        disk.sync_dir(mine)
        disk.rename(first, second)
        with open(second, "rb") as file:
            if file.read() != b"first\n" or os.path.exists(first):
                return "a rename does not replace a file whole"
        return _lock_holds(second)
    except OSError as exc:
        return f"{exc.strerror} ({os.path.basename(str(exc.filename or mine))})"
    finally:
        for path in (first, second):
            with contextlib.suppress(OSError):
                disk.unlink_quietly(path)
        with contextlib.suppress(OSError):
            disk.rmdir(mine)


def _lock_holds(path: str) -> str:
    """Whether another process is kept out while we hold a lock, and let in afterwards."""
    lock = Lock(path)
    if not lock.take():
        return "a lock on a new file cannot be had"
    with lock:
        if _other_tries(path) != _REFUSED:
            return "a lock that one process holds does not keep another out"
    return "" if _other_tries(path) == 0 else "a lock is not free after its holder let go"


def _other_tries(path: str) -> int:
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TRY_LOCK, path],
        stderr=subprocess.DEVNULL,
        env=environment.environment(),
        timeout=30,
        check=False,
    ).returncode


def _nearest(path: str) -> str:
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
