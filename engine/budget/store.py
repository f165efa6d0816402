"""The budget file of a process: an egress is read without the lock, or changed under it in one transaction.

One descriptor a process, for a file lock belongs to the open file; a thread lock in front, because the file lock does
not tell the threads of a process apart. A record that cannot be believed (torn, damaged, of another boot) is judged
under the lock only, and repaired there and then: a wait that is read from a bad record could last for ever. What has
been believed once is believed again as long as its bytes are the same.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.budget.pacing import plausible
from engine.budget.records import enter, repaired, take_over
from engine.budget.settings import BudgetSettings
from engine.budget.state import (
    MAX_EGRESSES,
    RECORD_BYTES,
    EgressState,
    State,
    egress_key,
    egress_label,
    offset,
    pack,
    unpack,
)
from engine.errors import DiskError, EngineError, Interrupted, UsageError
from engine.model import EgressSpec
from engine.storage import disk
from engine.storage.flock import try_lock, unlock

STUCK_S, STUCK_AGAIN_S = 4.0, 60.0
SLICE_S = 0.25
POLL_S = 0.001
FOLLOW_TIMES = 8
READS = 3  # without the lock a record may be read while it is written
_ALL: weakref.WeakSet[Store] = weakref.WeakSet()


@dataclass(slots=True)
class Transaction:
    """An egress under the lock, and the time by both clocks. What is assigned to `state` is written."""

    state: EgressState
    now: float
    wall: float


class Store:
    """The records of a run's egresses, by their place in the run's list, and the file that they are in.

    Raises UsageError when the file cannot be opened, DiskError when it cannot be written. Whatever waits for the lock
    raises Interrupted when its `stop` is set. `on_stuck` is told when the lock's holder lives but does not run
    (stopped, suspended): after 4 s, then once a minute. `on_fork` is called in a forked child, `on_moved(egress,
    before, after, now)` after a transaction that took an egress to another state or epoch. `new_run` as in
    `Budget.open`.
    """

    def __init__(
        self,
        path: str,
        egresses: Sequence[EgressSpec],
        settings: BudgetSettings,
        on_stuck: Callable[[str], None] | None = None,
        *,
        new_run: bool = False,
        stop: threading.Event | None = None,
    ) -> None:
        self.path = path
        self.settings = settings  # records are judged and made by these
        self.on_fork: Callable[[], None] = lambda: None
        self.on_moved: Callable[[int, EgressState, EgressState, float], None] = lambda *_: None
        self._keys = [egress_key(spec) for spec in egresses]
        self._labels = [egress_label(spec) for spec in egresses]
        self._at: list[int] = []  # where each egress's record lies
        self._believed: list[tuple[bytes, EgressState] | None] = [None] * len(egresses)
        self._counts: dict[int, list[int]] = {}  # egress: requests (below 0: not sent after all), bytes
        self._counting = threading.Lock()
        self._on_stuck = on_stuck
        self._mutex = threading.Lock()
        self._fd = _open(path)
        self._inode = os.fstat(self._fd).st_ino
        _ALL.add(self)
        try:
            self.enter(new_run=new_run, stop=stop)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._keys)

    # ---- egresses ----------------------------------------------------------------------------------------
    def enter(self, *, new_run: bool = False, stop: threading.Event | None = None) -> None:
        """Find or make the records of all egresses. Raises UsageError, DiskError, Interrupted."""
        with self.locked(stop):
            self._enter(new_run)

    def peek(self, egress: int) -> EgressState | None:
        """An egress without the lock; None for a record that only the lock's holder may judge."""
        if not os.fstat(self._fd).st_nlink:
            return None  # the file was removed, so another may have what is true
        for _ in range(READS):
            state = self._judged(egress, os.pread(self._fd, RECORD_BYTES, self._at[egress]))
            if state is not None:
                return state
        return None

    def peek_all(self) -> list[EgressState | None]:
        """All egresses, by one read."""
        data = self._read_all() if os.fstat(self._fd).st_nlink else b""
        return [self._judged(egress, data[at : at + RECORD_BYTES]) for egress, at in enumerate(self._at)]

    def usable(self, egress: int) -> bool:
        """Whether this thread may hope for a permit of this egress soon: it is closed, or its probe is ours."""
        state = self.peek(egress)
        return state is None or state.state == State.CLOSED or state.holder == threading.get_native_id()

    def calm(self, egress: int) -> bool:
        """Whether an egress is closed: neither cooling down nor being probed."""
        state = self.peek(egress)
        return state is None or state.state == State.CLOSED

    @contextlib.contextmanager
    def transaction(self, egress: int, stop: threading.Event | None = None) -> Iterator[Transaction]:
        """An egress under the lock, repaired if need be. Its new state is written at the end, and with it what was
        counted in this process. Raises DiskError, Interrupted."""
        with self.locked(stop):
            before = self._judged(egress, os.pread(self._fd, RECORD_BYTES, self._at[egress]))
            if before is None:
                before = self._repair(egress)
            record = Transaction(before, time.monotonic(), time.time())
            yield record
            after = record.state
            if after is not before or egress in self._counts:
                self._write(egress, after)
        if (before.state, before.epoch) != (after.state, after.epoch):
            self.on_moved(egress, before, after, record.now)

    def add(self, egress: int, *, requests: int = 0, body_bytes: int = 0) -> None:
        """Count in this process; written with the egress's next state, or by `flush`."""
        with self._counting:
            counts = self._counts.setdefault(egress, [0, 0])
            counts[0] += requests
            counts[1] += body_bytes

    def flush(self) -> None:
        """Write what has been counted and not written. Raises DiskError."""
        with self._counting:
            egresses = list(self._counts)
        for egress in egresses:
            with self.transaction(egress):
                pass

    def _judged(self, egress: int, data: bytes) -> EgressState | None:
        """The state in a record of this egress, None when it cannot be believed."""
        believed = self._believed[egress]
        if believed is not None and data == believed[0]:
            return believed[1]  # time makes a record no less plausible
        state = unpack(data)
        if state is None or state.key != self._keys[egress]:
            return None
        if not plausible(state, time.monotonic(), self.settings):
            return None
        self._believed[egress] = (data, state)
        return state

    def _write(self, egress: int, state: EgressState) -> None:
        if egress in self._counts:
            with self._counting:
                requests, n = self._counts.pop(egress)
            state = state._replace(
                requests=max(state.requests + requests, 0), body_bytes=max(state.body_bytes + n, 0)
            )
        data = pack(state)
        self._put(self._at[egress], data)
        self._believed[egress] = (data, state)

    def _repair(self, egress: int) -> EgressState:
        """Under the lock: put an egress's record right."""
        state = unpack(os.pread(self._fd, RECORD_BYTES, self._at[egress]))
        if state is not None and state.key != self._keys[egress]:
            self._enter()  # another process made order after a damage: look where the record is now
        data = os.pread(self._fd, RECORD_BYTES, self._at[egress])
        state = self._judged(egress, data)
        if state is None:
            key, label = self._keys[egress], self._labels[egress]
            state = repaired(data, key, label, time.monotonic(), time.time(), self.settings)
            self._write(egress, state)
        return state

    def _enter(self, new_run: bool = False) -> None:
        now, wall = time.monotonic(), time.time()
        data = self._read_all()
        self._at, writes = enter(data, self._keys, self._labels, now, wall, self.settings, new_run=new_run)
        for at, record in writes:
            self._put(at, record)

    # ---- the file ----------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def locked(self, stop: threading.Event | None = None) -> Iterator[None]:
        """Hold both locks, on the file that has the name now. A dead holder's lock is free at once."""
        while not self._mutex.acquire(timeout=SLICE_S):
            if stop is not None and stop.is_set():
                raise Interrupted
        try:
            if not try_lock(self._fd):
                self._wait_for_lock(stop)
            if not os.fstat(self._fd).st_nlink:
                self._follow(stop)
            yield
        finally:
            try:
                unlock(self._fd)
            finally:
                self._mutex.release()

    def follow(self) -> None:
        """See that this is the file that the path leads to: it may have lost that name, and kept another."""
        if not self._replaced():
            return
        with self.locked():
            if self._replaced():  # else the lock has followed already
                self._follow(None)
            self._enter()

    def close(self) -> None:
        """Close the descriptor, and with it a lock that is held."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def after_fork(self) -> None:
        """In a forked child: the inherited descriptor shares its lock with the parent's, so use another. What is
        counted is the parent's to write."""
        if self._fd < 0:
            return
        self._mutex, self._counting, self._counts = threading.Lock(), threading.Lock(), {}
        try:
            self._reopen()
        except (OSError, EngineError):  # whoever uses it in the child gets an error, never a shared lock
            self.close()
        self.on_fork()

    def _replaced(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino != self._inode
        except OSError:
            return True

    def _follow(self, stop: threading.Event | None) -> None:
        """Under both locks: go over to the file that the path leads to now, with what is known from this one.

        Two processes with a file each would each grant the whole rate. Where the new one is removed in its turn, and
        again, this gives up following for now.
        """
        for _ in range(FOLLOW_TIMES):
            old = self._read_all()
            self._reopen()
            if not try_lock(self._fd):
                self._wait_for_lock(stop)
            for at, data in take_over(old, self._read_all(), time.monotonic()):
                self._put(at, data)
            if os.fstat(self._fd).st_nlink:
                break

    def _reopen(self) -> None:
        """Open what the path leads to now. The descriptor keeps its number, for other threads may be reading by it; a
        file lock that was held through it is gone."""
        fd = _open(self.path)
        try:
            os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)
        self._inode = os.fstat(self._fd).st_ino

    def _read_all(self) -> bytes:
        return os.pread(self._fd, offset(MAX_EGRESSES), 0)

    def _put(self, at: int, data: bytes) -> None:
        try:
            disk.pwrite(self._fd, data, at)
        except OSError as exc:
            raise _error(exc, f"writing {self.path}") from exc

    def _wait_for_lock(self, stop: threading.Event | None) -> None:
        tell_at = time.monotonic() + STUCK_S
        while True:
            time.sleep(POLL_S)
            if try_lock(self._fd):
                return
            if stop is not None and stop.is_set():
                raise Interrupted
            now = time.monotonic()
            if now >= tell_at:
                tell_at = now + STUCK_AGAIN_S
                if self._on_stuck is not None:
                    self._on_stuck(
                        f"the budget file {self.path} is locked: a process of this queue's runs seems to be stopped."
                        " Let it go on (kill -CONT) or end it; the others wait until then."
                    )


def _open(path: str) -> int:
    """Open the file, making an empty one if there is none: whoever locks it first fills it.

    In one step: somebody may be removing it as fast as it is made.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, disk.PRIVATE_FILE)
    except OSError as exc:
        raise _error(exc, f"opening {path}") from exc


def _error(exc: OSError, doing: str) -> DiskError | UsageError:
    if disk.is_disk_error(exc) or disk.is_shortage(exc):
        return disk.disk_error(exc, doing)
    return UsageError(f"{doing}: {exc.strerror or exc}. The queue directory must be there and writable.")


def _after_fork_in_child() -> None:
    for each in list(_ALL):
        each.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
