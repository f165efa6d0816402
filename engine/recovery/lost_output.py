"""Putting `ok` jobs back whose files are gone with their output directory, and `kept` ones that may now overwrite.

Both are retries: an intent, durable, then the steps of `engine.recovery.requeue`, each of which can be repeated. The
marker of an output that is gone is made only afterwards, so that a crash in between leaves a queue that still says
what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from engine.model import Kind
from engine.monitor.monitor import Monitor
from engine.output import publisher
from engine.queue.directory import Queue
from engine.recovery.requeue import put_back
from engine.recovery.startup import LEAVE_S, recover
from engine.seeding.seed import SEED_WAIT_S
from engine.storage.locks import take_or_say_who


def put_lost_back(queue: Queue, root: str) -> int:
    """Open each `ok` job again whose files are not in `root` as its row says; returns how many. The caller holds
    run.lock. Raises as `engine.recovery.startup.recover`."""
    return _reopened(queue, lambda row: row.get("status") == "ok" and not publisher.intact(root, row))


def put_kept_back(queue: Queue) -> int:
    """Open each job again that ended `kept`; returns how many. As `put_lost_back`."""
    return _reopened(queue, lambda row: row.get("kind") == Kind.KEPT)


def _reopened(queue: Queue, wanted: Callable[[dict[str, Any]], bool]) -> int:
    with ExitStack() as locks:
        locks.enter_context(take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S))
        recover(queue)
        locks.enter_context(take_or_say_who(queue.monitor_lock, "monitor", wait_s=LEAVE_S + 3.0))
        monitor = Monitor(
            queue
        )  # what is final has its row in the manifest: that is where they are looked for
        try:
            monitor.finish()
        finally:
            monitor.close()
        return put_back(queue, wanted)
