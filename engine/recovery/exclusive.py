"""Holds a queue exclusively: all its locks, and no living worker."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from engine.errors import HeldError
from engine.queue import claims
from engine.queue.directory import Queue
from engine.storage.locks import take_or_say_who

LEAVE_S = 2.0  # how long workers and a monitor without a supervisor may take to end


@contextlib.contextmanager
def exclusive_hold(queue: Queue, why: str) -> Iterator[None]:
    """Hold run.lock, monitor.lock and seed.lock, with no worker alive.

    Raises HeldError beside a live run, monitor, seeding or worker. Processes of a killed supervisor get a moment to
    end.
    """
    with contextlib.ExitStack() as locks:
        for path, what, wait_s in (
            (queue.run_lock, "run", 0.0),
            (queue.monitor_lock, "monitor", LEAVE_S + 1.0),
            (queue.seed_lock, "seeding", 0.0),
        ):
            locks.enter_context(take_or_say_who(path, what, wait_s=wait_s, note={"what": why}))
        if worker := worker_that_stays(queue):
            raise HeldError(f"worker {worker[0]} (pid {worker[1]}) still lives: end it first")
        yield


def worker_that_stays(queue: Queue) -> tuple[str, int] | None:
    """Wait a moment for the workers of a killed supervisor; (id, pid) of one that still lives then, else None."""
    give_up_at = time.monotonic() + LEAVE_S
    while left := claims.living(queue):
        if time.monotonic() >= give_up_at:
            return left[0][0], left[0][1]
        time.sleep(0.02)
    return None
