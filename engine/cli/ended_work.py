"""TERM and HUP end a command as ^C does: what it holds is let go, in a store as well."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def ended_by_signals(work: Callable[[], int]) -> int:
    """Do work and return its exit code; 128 and the signal's number when one has ended it."""
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # another must not end the letting go
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, end)
    try:
        return work()
    except KeyboardInterrupt:
        if not received:
            raise
        return 128 + received[0]
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
