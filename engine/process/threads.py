"""Threads that are certain to have started.

`threading.Thread.start` waits until the new thread says that it runs, without a limit. A thread that meets a
MemoryError before it can say so leaves the starter waiting for ever. So the wait has a limit here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

START_S = 30.0  # a crowded machine takes a while to run a new thread for the first time


class _Started(threading.Event):
    """The event by which a new thread says that it runs, with a limit for who waits."""

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(START_S if timeout is None else timeout):
            raise MemoryError("a thread was started and never ran")
        return True


def start_thread(target: Callable[..., object], *args: Any, name: str) -> threading.Thread:
    """Start a daemon thread. Raises RuntimeError when the system has none, MemoryError when it never runs."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread._started = _Started()  # type: ignore[attr-defined]  # there is no public way to bound the wait
    thread.start()
    return thread
