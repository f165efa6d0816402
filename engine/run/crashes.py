"""Who is to blame for a worker's death: its jobs, or somebody from outside.

A process that crashed by itself was brought down by what it did. One that was killed may have been killed for its
jobs (the kernel, for the memory they took) or by a killer who is about: other processes that died lately with
other jobs speak for that. Deaths of the last minutes count over runs, as a killer may outlive one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.queue import events
from engine.queue.directory import Queue, worker_ids

AMBIENT_S = 300.0  # deaths so long ago say nothing about a killer who is about now


@dataclass(frozen=True, slots=True)
class Death:
    """A worker died: when (monotonic clock), with which jobs in flight."""

    worker_id: str
    at: float
    jobs: set[str] = field(default_factory=set)


class Deaths:
    """The deaths that one run has seen, and those it found: what an earlier run left behind counts as one."""

    def __init__(self, queue: Queue) -> None:
        found = [Death(worker_id, time.monotonic()) for worker_id in worker_ids(queue)]
        self._deaths = [*_late(queue), *found]
        self._crashed: set[str] = set()

    def add(self, worker_id: str, jobs: set[str], *, crashed: bool) -> None:
        """A worker died; `crashed`: by itself, and not by a SIGKILL."""
        self._deaths.append(Death(worker_id, time.monotonic(), jobs))
        if crashed:
            self._crashed.add(worker_id)

    def sure(self, worker_id: str) -> bool:
        """Whether nothing but its jobs explains a worker's death: it crashed by itself, or no other process has
        died lately without these jobs."""
        now = time.monotonic()
        self._deaths = [its for its in self._deaths if now - its.at < AMBIENT_S]
        mine = next((its.jobs for its in self._deaths if its.worker_id == worker_id), set())
        return worker_id in self._crashed or all(mine & its.jobs for its in self._deaths)


def _late(queue: Queue) -> Iterator[Death]:
    for event in events.recent(queue, AMBIENT_S):
        if event.get("event") == "slot_died":
            jobs = event.get("jobs")
            named = {its for its in jobs if isinstance(its, str)} if isinstance(jobs, list) else set()
            yield Death(str(event.get("worker")), time.monotonic(), named)
