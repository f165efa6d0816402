"""Making a queue in a directory. Each step can be repeated."""

from __future__ import annotations

import contextlib
import errno
import os

from engine.errors import UsageError
from engine.queue import checked_json
from engine.queue.admission import format_text, inspect
from engine.queue.directory import Queue, check_format, exists, refuse_foreign
from engine.queue.marker import new_id
from engine.queue.names import DIRS, FIRST_FORMAT
from engine.storage import disk
from engine.storage.locks import take_or_say_who
from engine.storage.timestamps import utc

_MAKING_S = 60.0  # how long another process may take to make a queue in the same place


def make_queue(root: str, *, rehearsal: bool = False) -> Queue:
    """The queue in this directory: made if there is none, completed if its making was interrupted.

    Raises UsageError when it cannot be written or the directory holds something else; then nothing is changed.
    """
    refuse_foreign(root)
    found = inspect(root)
    check_format(root, found)
    queue = Queue(root)
    if found.is_queue and not os.access(root, os.W_OK):
        raise UsageError(f"the queue in {root} cannot be written: permission denied")
    try:
        if not found.is_queue:
            disk.ensure_dirs(root)
            _publish_format(queue)
        _complete(queue, rehearsal)
    except FileExistsError:
        raise UsageError(f"{root} is a file, not a directory: give another place with -q") from None
    except OSError as exc:
        if disk.is_disk_error(exc) and exc.errno != errno.EROFS:
            raise disk.disk_error(exc, f"making a queue in {root}") from exc
        raise UsageError(
            f"no queue can be made in {root}: {exc.strerror}: give another place with -q"
        ) from None
    return queue


def _publish_format(queue: Queue) -> None:
    """FORMAT comes first and is durable before anything else is there: with it the directory is a queue."""
    try:
        disk.publish(queue.path("FORMAT"), f"{FIRST_FORMAT}\n".encode())
    except FileNotFoundError:
        if not exists(queue.root):  # otherwise a faster run has swept our temporary file
            raise
    disk.sync_dir(queue.root)


def raise_format(queue: Queue, number: int) -> None:
    """Have FORMAT say at least this number, durably: engines that do not know it then leave the queue alone."""
    if int(format_text(queue.root)) < number:
        disk.publish_durably(queue.path("FORMAT"), f"{number}\n".encode(), tmp_dir=queue.tmp)


def _complete(queue: Queue, rehearsal: bool) -> None:
    """Make what a queue lacks: batch.json, then the directories.

    Somebody may have removed a directory later, or a copy may lack the empty ones.
    """
    seeded = _has_segments(queue)
    if not seeded and not os.path.lexists(queue.batch):
        # Under a lock: a second process must not replace a batch.json that a first run has frozen.
        with take_or_say_who(queue.seed_lock, "seeding", wait_s=_MAKING_S, note={"what": "make"}):
            if not os.path.lexists(queue.batch):
                batch = {
                    "schema_version": 1,
                    "id": new_id(),
                    "created_at": utc(),
                    "rehearsal": rehearsal,
                    "frozen": None,
                }
                disk.publish_durably(queue.batch, checked_json.to_bytes(batch, indent=1))
    made = [name for name in DIRS if disk.ensure_dir(queue.path(name))]
    if made or not seeded:  # whoever made them may have died before their names were durable
        disk.sync_dir(queue.root)


def _has_segments(queue: Queue) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.listdir(queue.path("segments")))
    return False
