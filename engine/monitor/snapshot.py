"""The monitor's `status.json`: the status with the history behind the rates, written twice a second, or as often as
keeps that cheap: with a thousand egresses it is 150 KB."""

from __future__ import annotations

import json
import os
import time

from engine.monitor import eta, status
from engine.queue import events
from engine.queue.directory import Queue
from engine.storage import disk
from engine.storage.locks import read_note

STATUS_S, MAX_STATUS_S = 0.5, 5.0
STATUS_SHARE = 0.02  # of a core, at most, as long as MAX_STATUS_S allows
HISTORY_S = 5.0
LOW_DISK_BYTES = 1 << 30
CLOCK_SET_S = (
    60.0  # when wall clock and monotonic clock differ by so much, the clock was set or the machine slept
)


class SnapshotWriter:
    """Keeps `status.json` and its history, and warns when the disk is almost full."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        last = status.read_snapshot(queue)
        self._history: list[list[float]] = last.get("history") or []
        self._run_pid = last.get("run_pid")
        self._written_at = 0.0
        self._each_s = STATUS_S
        self._progress = (-1, -1)
        self._progressed_at = time.time()
        self._progressed_s = time.monotonic()
        self._clock_s = self._progressed_at - self._progressed_s  # wall clock minus monotonic clock
        self._disk_low = False
        self._paused = False

    def tick(self) -> None:
        if time.monotonic() - self._written_at >= self._each_s:
            began_s = time.thread_time()
            self.write()
            took_s = time.thread_time() - began_s
            self._each_s = min(max(STATUS_S, took_s / STATUS_SHARE), MAX_STATUS_S)

    def write(self) -> None:
        since_s, self._written_at = time.monotonic() - self._written_at, time.monotonic()
        value = status.collect(self.queue.root)
        now = time.time()
        if self._paused:
            self._shift_by_pause(since_s)
        self._paused = value["state"] == "paused"
        lead_s = now - time.monotonic()
        if abs(lead_s - self._clock_s) > CLOCK_SET_S:  # no rate can be computed across such a jump
            self._history.clear()
            self._progressed_at += lead_s - self._clock_s
            self._clock_s = lead_s
        run_pid = (read_note(self.queue.run_lock) or {}).get("pid")
        if run_pid != self._run_pid:  # the time between two runs must not count as slow work
            self._history.clear()
            self._run_pid = run_pid
        final = value["ok"] + value["absent"] + value["failed"]
        if not self._history or now - self._history[-1][0] >= HISTORY_S or final == value["total"]:
            self._history = eta.thinned([*self._history, [round(now, 2), final]], now)
        if (final, value["requests"]) != self._progress:
            self._progress, self._progressed_at = (final, value["requests"]), now
            self._progressed_s = time.monotonic()
        value["history"] = self._history
        value["progressed_at"] = round(self._progressed_at, 2)
        value["progressed_s"] = round(self._progressed_s, 2)
        value["run_pid"] = run_pid
        data = (json.dumps(value) + "\n").encode()
        disk.publish(self.queue.status, data, tmp_dir=self.queue.tmp, sync=False)
        self._watch_disk()

    def _shift_by_pause(self, paused_s: float) -> None:
        """Leave the pause out of rates, ETA and `stalled`, as if it had not happened."""
        for point in self._history:
            point[0] = round(point[0] + paused_s, 2)
        self._progressed_at += paused_s
        self._progressed_s += paused_s

    def _watch_disk(self) -> None:
        info = os.statvfs(self.queue.root)
        free = info.f_bavail * info.f_frsize
        low = free < LOW_DISK_BYTES
        if low and not self._disk_low:
            events.emit(self.queue, "disk_low", f"{free >> 20} MiB free")
        self._disk_low = low
