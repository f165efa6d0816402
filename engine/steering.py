"""Asking something of a live run: a small file that the supervisor reads and removes."""

from __future__ import annotations

import json
from typing import Any

from engine import durable
from engine.queue.layout import Queue


def request_stop(queue: Queue, *, now: bool) -> None:
    """Ask the live run to finish what is in flight and end, or to end at once."""
    data = json.dumps({"stop": True, "now": now}).encode()
    durable.publish(queue.control, data, tmp_dir=queue.tmp, sync=False)


def read_request(queue: Queue) -> dict[str, Any] | None:
    """What is asked, or None."""
    try:
        with open(queue.control, "rb") as file:
            value = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def clear_request(queue: Queue) -> None:
    """Forget what was asked: it is being done, or it was asked of a run that is gone."""
    durable.unlink_quietly(queue.control)
