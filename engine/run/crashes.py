"""Deaths of worker processes: each is recorded, once it is certain that it did not end the whole run.

A job in flight in a dead worker is suspected and runs alone from then on. Two deaths alone make it `poison`
(`engine.worker.retry_policy`). Where everything is killed together nobody is left to record anything.
"""

from __future__ import annotations

import time

from engine.queue import dead_workers
from engine.queue.directory import Queue

CERTAIN_AFTER_S = 0.2  # a supervisor that outlives a worker by this did not die with it


class Deaths:
    """The deaths that this run has seen and not recorded yet."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._seen: list[tuple[float, str]] = []

    def add(self, worker_id: str) -> None:
        """This worker has just died."""
        self._seen.append((time.monotonic() + CERTAIN_AFTER_S, worker_id))

    def record(self) -> None:
        """Record those that are certain by now."""
        while self._seen and time.monotonic() >= self._seen[0][0]:
            dead_workers.record_death(self._queue, self._seen.pop(0)[1])
