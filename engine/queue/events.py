"""The events of a run, one line each in `events.jsonl`, for people and for the report."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from typing import Any

from engine.queue.directory import Queue
from engine.storage import disk
from engine.storage.timestamps import utc

TAIL_BYTES = 1 << 18
CAUSES_S = 2 * 3600.0  # an egress that is set aside is tried again within the hour
MAX_CAUSE = 200
_RUN = re.compile(rb'"run": "[0-9]{8}T[0-9]{6}-([0-9]{1,9})-')  # see engine.queue.claims


def emit(queue: Queue, event: str, reason: str = "", **details: Any) -> None:
    """Append an event. Several processes may: it is one short write with O_APPEND. A full disk loses the event."""
    line = json.dumps({"at": utc(ms=True), "event": event, "reason": reason, **details}) + "\n"
    with contextlib.suppress(OSError):
        fd = os.open(
            queue.events,
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            disk.PRIVATE_FILE,
        )
        try:
            disk.write_all(fd, line.encode())
        finally:
            os.close(fd)


def past_runs(queue: Queue) -> set[int]:
    """The process ids of all runs of this queue."""
    pids: set[int] = set()
    with contextlib.suppress(OSError), open(queue.events, "rb") as file:
        for line in file:
            found = _RUN.search(line) if b'"start"' in line else None
            if found is not None:
                pids.add(int(found[1]))
    return pids


def causes(queue: Queue, within_s: float = CAUSES_S) -> dict[str, str]:
    """Why each egress last lost its connection, by its name, in words; without those that have said no cause."""
    found = {}
    for event in recent(queue, within_s):
        cause = event.get("cause")
        if isinstance(cause, str) and cause:
            found[str(event.get("egress"))] = cause[:MAX_CAUSE]
    return found


def recent(queue: Queue, within_s: float) -> list[dict[str, Any]]:
    """The events of the last `within_s` seconds, oldest first, as far as the last 256 KB of the file reach."""
    try:
        with open(queue.events, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    since, found = utc(time.time() - within_s, ms=True), []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and str(event.get("at")) >= since:
                found.append(event)
    return found
