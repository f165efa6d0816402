"""What the worker processes know together of captions shown and missing: one small file, one record an egress.

The file lives as long as a run; the supervisor lays it out anew. It is read without its lock and written under
it. A damaged record counts as an empty one: it costs an alarm or some requests, never a row.

A `no_captions` is not believed at once. It is *held* in memory by the worker that met it, until
- its egress shows captions to an attempt that began after it: believed (no alarm, the ordinary case);
- nothing is left to do that could show any, and there is no alarm: believed;
- the alarm (`engine.worker.doubt`) goes off for its egress: then only one process *vouches*, see
`engine.worker.unconfirmed`, and   its finding, written here as a time, holds for everything held from before that
time, in all processes:   `believed` or `again`.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from filelock import lock_descriptor, unlock_descriptor

from engine.model import Kind
from engine.queue.directory import Queue
from engine.queue.manifest import read_checkpoint
from engine.storage import disk
from engine.worker.doubt import WINDOW, History, Share

LEASE_S = 90.0  # a process that vouches and says nothing for so long is taken for dead
NAME = "captions"
_HEADER = struct.Struct("<dd")
_BITS = WINDOW // 8
_RECORD = struct.Struct(f"<{_BITS}sB6d")
_PLACE_BYTES = 128


class Word(Enum):
    """What becomes of a held `no_captions`."""

    HOLD = "hold"
    BELIEVE = "believe"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Egress:
    """One record. Times are the monotonic clock's, 0 is never.

    shown     when the latest attempt that was shown captions began
    alarm     since when there is an alarm, 0: there is none
    lease     until when somebody vouches
    believed  what is held from before this is believed
    again     what is held from before this is fetched again, after `wait_s`
    """

    history: History = field(default_factory=History)
    shown: float = 0.0
    alarm: float = 0.0
    lease: float = 0.0
    believed: float = 0.0
    again: float = 0.0
    wait_s: float = 0.0

    def word(self, at: float) -> Word:
        """What becomes of a `no_captions` that was met at this time."""
        if at <= self.again:
            return Word.AGAIN
        if at <= self.believed or (not self.alarm and at < self.shown):
            return Word.BELIEVE
        return Word.HOLD


class Witness:
    """A process's hold on the file. Safe for threads."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, disk.PRIVATE_FILE)
        self._threads = threading.Lock()

    def shown(self, egress: int, began_at: float) -> None:
        """An attempt that began then was shown captions."""
        with self._locked():
            its = self.read(egress)
            shown = max(its.shown, began_at)
            self._write(egress, replace(its, history=its.history.add(bare=False), shown=shown))
            self._count(bare=False)

    def bare(self, egress: int) -> tuple[float, tuple[int, int] | None]:
        """An attempt came back without captions; returns (now, the jump if this one sets off the alarm)."""
        with self._locked():
            now = time.monotonic()
            its = self.read(egress)
            history = its.history.add(bare=True)
            jump = None if its.alarm else history.jump(self._share().value)
            self._write(egress, replace(its, history=history, alarm=now if jump else its.alarm))
        return now, jump

    def sound(self, egress: int) -> None:
        """Sound the alarm whatever the share: what was put off for want of a witness has to be decided now."""
        with self._locked():
            its = self.read(egress)
            if not its.alarm:
                self._write(egress, replace(its, alarm=time.monotonic()))

    def settled(self) -> None:
        """A `no_captions` was believed: from now on it belongs to the share that is thought normal."""
        with self._locked():
            self._count(bare=True)

    def lease(self, egress: int) -> bool:
        """Whether the caller is the one to vouch now: there is an alarm, and nobody else does."""
        its = self.read(egress)
        if not its.alarm or its.lease > time.monotonic():
            return False
        with self._locked():
            its, now = self.read(egress), time.monotonic()
            mine = bool(its.alarm) and its.lease <= now
            if mine:
                self._write(egress, replace(its, lease=now + LEASE_S))
        return mine

    def put_off(self, egress: int, wait_s: float) -> None:
        """The caller could not find out: somebody shall try again after a while."""
        with self._locked():
            self._write(egress, replace(self.read(egress), lease=time.monotonic() + wait_s))

    def believe(self, egress: int) -> None:
        """The videos really have no captions; the alarm is over."""
        with self._locked():
            its = self.read(egress)
            self._write(egress, Egress(shown=its.shown, again=its.again, believed=time.monotonic()))

    def again(self, egress: int, wait_s: float) -> None:
        """Nothing held is to be believed; the alarm is over, and what is fetched again is judged anew."""
        with self._locked():
            its = self.read(egress)
            now = time.monotonic()
            self._write(egress, Egress(shown=its.shown, believed=its.believed, again=now, wait_s=wait_s))

    def read(self, egress: int) -> Egress:
        """The record of an egress, without the lock."""
        data = os.pread(self._fd, _RECORD.size, _PLACE_BYTES * (1 + egress))
        if len(data) < _RECORD.size:
            return Egress()
        bits, length, *times = _RECORD.unpack(data)
        if length > WINDOW or not all(0 <= its < 1e12 for its in times):
            return Egress()
        return Egress(History(int.from_bytes(bits, "little"), length), *times)

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, egress: int, its: Egress) -> None:
        bits = its.history.bits.to_bytes(_BITS, "little")
        times = (its.shown, its.alarm, its.lease, its.believed, its.again, its.wait_s)
        disk.pwrite(self._fd, _RECORD.pack(bits, its.history.length, *times), _PLACE_BYTES * (1 + egress))

    def _share(self) -> Share:
        data = os.pread(self._fd, _HEADER.size, 0)
        share = Share(*_HEADER.unpack(data)) if len(data) == _HEADER.size else Share()
        return share if 0 <= share.bare <= share.total < 1e12 else Share()

    def _count(self, *, bare: bool) -> None:
        share = self._share().add(bare=bare)
        disk.pwrite(self._fd, _HEADER.pack(share.bare, share.total), 0)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads:
            lock_descriptor(self._fd, poll_interval=0.001)
            try:
                yield
            finally:
                unlock_descriptor(self._fd)


def lay_out(queue: Queue) -> None:
    """Begin a run: nothing is known of any egress, and of captions what the manifest's counts say."""
    checkpoint = read_checkpoint(queue)
    share = Share()
    if checkpoint is not None:
        bare = max(0, checkpoint.counts.kinds[Kind.NO_CAPTIONS])
        share = Share.of(bare, bare + max(0, checkpoint.counts.ok))
    data = _HEADER.pack(share.bare, share.total)
    disk.publish(queue.path(NAME), data, tmp_dir=queue.tmp, sync=False)
