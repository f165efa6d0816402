"""Threads that are certain to have started.

`threading.Thread.start` waits until the new thread says that it runs, without a limit. A thread that meets a
MemoryError before it can say so leaves the starter waiting for ever. So the wait has a limit here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from engine.process import shortages

START_S = 30.0  # a crowded machine takes a while to run a new thread for the first time


class _Started(threading.Event):
    """The event by which a new thread says that it runs, with a limit for who waits."""

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(START_S if timeout is None else timeout):
            raise MemoryError("a thread was started and never ran")
        return True


def prepare_threads() -> None:
    """Bound the wait of every thread started in this process from now on, those of libraries as well.

    One that ends for lack of memory or threads prints nothing: whoever waits for it says so.
    """
    start = threading.Thread.start

    def start_within_limit(self: threading.Thread) -> None:
        if not self._started.is_set():  # type: ignore[attr-defined]
            self._started = _Started()  # type: ignore[attr-defined]
        start(self)

    def say_unless_short(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None or not shortages.raised(args.exc_value):
            say(args)

    def say_ignored_unless_short(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is None or not shortages.raised(args.exc_value):
            say_ignored(args)

    say, threading.excepthook = threading.excepthook, say_unless_short
    say_ignored, sys.unraisablehook = sys.unraisablehook, say_ignored_unless_short
    threading.Thread.start = start_within_limit  # type: ignore[method-assign]


def start_thread(target: Callable[..., object], *args: Any, name: str) -> threading.Thread:
    """Start a daemon thread. Raises RuntimeError when the system has none, MemoryError when it never runs."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread._started = _Started()  # type: ignore[attr-defined]  # there is no public way to bound the wait
    thread.start()
    return thread
