"""Who is alive: an identity of a process that survives the reuse of its number; and what a process needs to end well.

A process number has a meaning only in its pid namespace (a container has its own) and within one boot. Our process
table says nothing about a process elsewhere. `elsewhere` recognises one, and then the lock that it holds decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import threading
import time
from functools import lru_cache
from typing import Any

NO_PIDFD_S = 0.2
SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})  # that end a run


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Which boot of the machine this is. Process numbers and monotonic times mean nothing in another one."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        import psutil  # not on Linux; the boot time is computed there and may be a second off

        return f"boot-{round(psutil.boot_time() / 10)}"


def boot_digest() -> bytes:
    """The same in 16 bytes, for records of a fixed size."""
    return hashlib.blake2b(boot_id().encode(), digest_size=16).digest()


def started(pid: int) -> str | None:
    """When a process started, in a form only good for comparing; None when there is no such process.

    A zombie counts as gone: it does nothing any more.
    """
    try:
        return _started_of(f"/proc/{pid}/stat")
    except FileNotFoundError:
        return None if os.path.exists("/proc/self/stat") else _started_without_proc(pid)
    except OSError:  # the process went away while we read
        return None


def _started_of(path: str) -> str | None:
    with open(path, "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _started_without_proc(pid: int) -> str | None:
    """The same where there is no /proc (macOS)."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None


def namespace() -> int | None:
    """The pid namespace of this process, as the number that the kernel gives it; None where there are none."""
    return _namespace(os.getpid())


@lru_cache(maxsize=1)
def _namespace(_pid: int) -> int | None:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


@lru_cache(maxsize=1)
def _table_is_ours(pid: int) -> bool:
    """Whether /proc shows the processes of our own namespace. One that was entered without mounting it again has
    its parent's, in which our number is another process."""
    try:
        return os.readlink("/proc/self") == str(pid)
    except OSError:
        return True  # no /proc: the table is asked for in another way


def identity() -> dict[str, object]:
    """What this process notes in the files it locks, so that an onlooker can tell whether it lives."""
    pid = os.getpid()
    began = started(pid) if _table_is_ours(pid) else _started_of("/proc/self/stat")
    note: dict[str, object] = {"pid": pid, "started": began, "boot": boot_id()}
    if namespace() is not None:
        note |= {"pid_namespace": namespace(), "host": os.uname().nodename}
    return note


def alive(note: object) -> bool:
    """Whether the process that wrote this `identity` is in our table of processes. False for one `elsewhere`."""
    if not isinstance(note, dict) or note.get("boot") != boot_id() or elsewhere(note):
        return False
    pid = note.get("pid")
    return isinstance(pid, int) and note.get("started") is not None and started(pid) == note.get("started")


def elsewhere(note: object) -> bool:
    """Whether this `identity` is of a process that our table does not show, living or dead.

    That is another pid namespace, or another boot: some containers have a boot id of their own under the same kernel.
    A note without a namespace (by an earlier version) counts as one of ours.
    """
    if not isinstance(note, dict) or not isinstance(note.get("pid"), int):
        return False
    if not isinstance(note.get("boot"), str) or not isinstance(note.get("started"), str):
        return False
    there = note.get("pid_namespace")
    if note["boot"] != boot_id():
        return True
    return there is not None and (there != namespace() or not _table_is_ours(os.getpid()))


def same_place(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two identities were noted in one namespace and boot."""
    return all(one.get(name) == other.get(name) for name in ("boot", "pid_namespace"))


def is_this(note: object) -> bool:
    """Whether this process itself wrote this `identity`."""
    mine = identity()
    names = ("pid", "started", "boot")
    if not isinstance(note, dict) or any(note.get(name) != mine[name] for name in names):
        return False
    return note.get("pid_namespace") in (None, namespace())


def wait_for_end(pid: int, within_s: float) -> None:
    """Wait until this process is gone, for this long at most; woken by its end where the system can."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not on this system, or no descriptor left
        time.sleep(min(within_s, NO_PIDFD_S))
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(within_s * 1000)
    finally:
        os.close(fd)


def leave_signals_to_supervisor() -> None:
    """Ignore the signals that end a run, which a terminal sends to the children too: the supervisor tells each what
    to do."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # they were born with them held


class SignalEvent(threading.Event):
    """An event that a signal handler may set.

    `threading.Event` has a lock. A handler runs in the main thread, between any two of its instructions. If that
    thread is inside `wait`, or in the handler of the signal before, the handler would wait for the lock for ever.
    """

    SLICE_S = 0.05

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Poll until it is set or the time (in seconds) is over."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left_s = self.SLICE_S if ends_at is None else ends_at - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(left_s, self.SLICE_S))
        return self._is_set


class Spare:
    """Some descriptors kept back: a process that has run out of them still has to open a few to end in good order.

    It keeps fewer where there are fewer. Whatever needs one later reports that itself.
    """

    def __init__(self, count: int = 4) -> None:
        self._fds: list[int] = []
        with contextlib.suppress(OSError):
            for _ in range(count):
                self._fds.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def free(self) -> None:
        """Let others have them. May be called twice."""
        while self._fds:
            with contextlib.suppress(OSError):
                os.close(self._fds.pop())
