"""What a start does before any worker lives: it finishes what a crash left half done in the queue as a whole.

What dead workers left in `workers/` is for the worker processes themselves (`engine.queue.dead_workers`).
Unfinished segments are published, leftovers in `tmp/` removed, an interrupted retry finished, and the tokens
compared with the segments.
"""

from __future__ import annotations

from engine.queue import gathering
from engine.queue.directory import Queue
from engine.queue.names import DIRS
from engine.queue.segments import check_intact
from engine.queue.sweeping import sweep_queue
from engine.recovery import exclusive, requeue
from engine.recovery.token_check import check_tokens
from engine.seeding.seed import publish_unfinished
from engine.storage import disk
from engine.storage.locks import Lock, take_or_say_who


def recover(queue: Queue) -> list[str]:
    """Bring the queue into order; the caller holds run.lock and seed.lock and has started no worker.

    Takes monitor.lock meanwhile. Returns sentences that say what was done. Raises HeldError when another monitor does
    not end, UsageError when a segment cannot be read, OSError when the disk fails.
    """
    with take_or_say_who(queue.monitor_lock, "monitor", wait_s=exclusive.LEAVE_S + 3.0):
        return recover_locked(queue)


def recover_locked(queue: Queue) -> list[str]:
    """`recover` for a caller who holds monitor.lock as well."""
    said: list[str] = []
    for name in DIRS:  # a copy may lack the empty ones
        disk.ensure_dir(queue.path(name))
    if gathering.complete(queue):
        said.append("finished an interrupted gathering of small segments")
    _check_segments(queue)
    said += _publish_unfinished(queue)
    if count := sweep_queue(queue.root):
        said.append(f"removed {count} leftover(s) in tmp/")
    if requeue.complete(queue):
        said.append("finished an interrupted retry")
    if exclusive.worker_that_stays(queue) is None:
        said += check_tokens(queue)
        gathering.gather(queue, filed=True, start=True)
    else:
        said.append("a worker of an earlier run still lives (stopped?): the tokens were not checked")
    return said


def _check_segments(queue: Queue) -> None:
    """Before anything is derived from them: with other chunks the journals would be about other jobs."""
    for segment in queue.segments():
        queue.header(segment)
        check_intact(queue.segment(segment))


def _publish_unfinished(queue: Queue) -> list[str]:
    before = set(queue.segments())
    publish_unfinished(queue)
    return [
        f"published segment {segment:06d}, whose seeding was interrupted"
        for segment in queue.segments()
        if segment not in before
    ]


def tidy(queue: Queue) -> None:
    """Sweep the queue at the end of a run whose processes are gone, unless a seeding is at work."""
    lock = Lock(queue.seed_lock)
    if lock.take(note={"what": "tidy"}):
        with lock:
            sweep_queue(queue.root)
