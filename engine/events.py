"""The events of the night, one line each in `events.jsonl`, for people and for the report."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from engine import durable
from engine.clock import utc
from engine.queue.layout import Queue


def emit(queue: Queue, event: str, reason: str = "", **details: Any) -> None:
    """Append an event. One short write with O_APPEND, so several processes may; a full disk loses it, no more."""
    line = json.dumps({"at": utc(ms=True), "event": event, "reason": reason, **details}) + "\n"
    with contextlib.suppress(OSError):
        fd = os.open(
            queue.events,
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            durable.PRIVATE_FILE,
        )
        try:
            durable.write_all(fd, line.encode())
        finally:
            os.close(fd)
