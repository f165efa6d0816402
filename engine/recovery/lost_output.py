"""Putting back `ok` jobs whose files are gone with their output directory, and `kept` ones that may now overwrite.

Both are retries (`engine.recovery.requeue`). The marker of an output that is gone is made only afterwards, so that
after a crash in between the queue still says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from engine.model import Kind
from engine.monitor.monitor import run_to_end
from engine.output import publisher
from engine.queue.directory import Queue
from engine.recovery.exclusive import LEAVE_S
from engine.recovery.requeue import put_back
from engine.recovery.startup import recover
from engine.seeding.seed import SEED_WAIT_S
from engine.storage.locks import take_or_say_who


def put_lost_back(queue: Queue, root: str) -> int:
    """Open each `ok` job whose files are not in `root` as its row says; returns how many.

    The caller holds run.lock. Raises as `engine.recovery.startup.recover`.
    """
    return _put_back(queue, lambda row: row.get("status") == "ok" and not publisher.intact(root, row))


def put_kept_back(queue: Queue) -> int:
    """Open each job that ended `kept`; returns how many. As `put_lost_back`."""
    return _put_back(queue, lambda row: row.get("kind") == Kind.KEPT)


def _put_back(queue: Queue, wanted: Callable[[dict[str, Any]], bool]) -> int:
    with ExitStack() as locks:
        locks.enter_context(take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S))
        recover(queue)
        locks.enter_context(take_or_say_who(queue.monitor_lock, "monitor", wait_s=LEAVE_S + 3.0))
        run_to_end(queue)  # so that every final job has its row in the manifest, where they are looked for
        return put_back(queue, wanted)
