"""`--notify` beside a run: it tells of the end, however it comes, and of a stall, once each time."""

from __future__ import annotations

import signal
import threading
import time
from types import TracebackType
from typing import Self

from engine.cli import say
from engine.errors import EngineError, Exit
from engine.monitor import status
from engine.queue.directory import Queue
from engine.run import notify

LOOK_S = 10.0


class Notices:
    """A context around a run. Without a target it does nothing.

    `begun` is set once this process holds the queue: a run that never began has no end. `code` and `reason` are
    the run's own; an exception that passes through counts instead, and passes on.
    """

    def __init__(self, queue: Queue, target: notify.Target | None, ca_bundle: str | None) -> None:
        self.begun = False
        self.code: int = Exit.BUG
        self.reason = ""
        self._queue, self._target, self._ca_bundle = queue, target, ca_bundle
        self._look_at = time.monotonic() + LOOK_S
        self._stalled = False

    def tick(self) -> None:
        """Look now and then whether the run has stalled. The telling is done beside it."""
        if self._target is None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_S
        try:
            was, self._stalled = self._stalled, status.collect(self._queue.root)["state"] == "stalled"
        except (EngineError, OSError):
            return  # the run itself meets what is wrong there
        if self._stalled and not was:
            reason = f"nothing has moved for {status.STALLED_AFTER_S:.0f} s, and nobody blocks"
            threading.Thread(target=self._tell, args=("stalled", None, reason), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._target is None or not self.begun:
            return
        if isinstance(exc, EngineError):
            self.code, self.reason = exc.exit_code, str(exc)
        elif isinstance(exc, KeyboardInterrupt):
            self.code, self.reason = 130, "interrupted"
        elif exc is not None:  # its text may hold anything
            self.code, self.reason = Exit.BUG, type(exc).__name__
        elif self.code > 128:
            self.reason = f"stopped by {signal.Signals(self.code - 128).name}"
        self._tell("ended", self.code, self.reason)

    def _tell(self, event: str, code: int | None, reason: str) -> None:
        if self._target is None:
            return
        try:
            its = status.collect(self._queue.root)
        except (EngineError, OSError):
            its = status.empty()
        notice = notify.body(event, self._queue.root, its, code=code, reason=reason)
        wrong = notify.send(self._target, notice, queue=self._queue.root, ca_bundle=self._ca_bundle)
        if wrong:
            say(f"--notify: {self._target.shown} was not told: {wrong}")
