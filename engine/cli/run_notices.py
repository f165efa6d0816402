"""`--notify`: a notice at the end of a run, however it ends, whenever the run stalls, and when it fetches nothing."""

from __future__ import annotations

import contextlib
import signal
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from engine.cli import say
from engine.cli.display.phrases import limit
from engine.errors import EngineError, Exit
from engine.monitor import status
from engine.process.threads import start_thread
from engine.queue.directory import Queue
from engine.run import notify
from engine.storage import disk
from engine.units import duration

if TYPE_CHECKING:
    from engine.report.manifest_summary import NewVideos

POLL_S = 10.0
# A network that comes up late, or a proxy that restarts, needs a few minutes; a wrong certificate needs somebody. By
# the clock: ENGINE_BUDGET_PACE does not make people faster.
NOTHING_FETCHED_S = 600.0


_CANNOT_START = (Exit.USAGE, Exit.NO_PROXY, Exit.DISK)
MAX_SOURCES = 50


def _not_begun(exc: BaseException | None) -> int:
    """The exit code of a run that this ended before it began."""
    if isinstance(exc, EngineError):
        return exc.exit_code
    if isinstance(exc, OSError):
        return Exit.DISK if disk.is_disk_error(exc) or disk.is_shortage(exc) else Exit.USAGE
    return Exit.BUG


def most_of(sources: dict[str, int]) -> dict[str, int]:
    """The sources that brought most, the first ones first."""
    return dict(sorted(sources.items(), key=lambda pair: -pair[1])[:MAX_SOURCES])


class NothingFetched:
    """Notices, once, that a run which began at `since` (monotonic) has had no connection from its start on."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._first: int | None = None
        self._over = False

    def look(self, value: dict[str, Any], now: float) -> str:
        """What to tell of this status, if it is time for that; else nothing."""
        done = value["ok"] + value["absent"] + sum(egress["ok"] for egress in value["egresses"])
        self._first = done if self._first is None else self._first
        self._over = self._over or done > self._first
        if self._over or value["limited_by"] != "network" or now - self._since < NOTHING_FETCHED_S:
            return ""
        self._over = True
        return (
            f"nothing could be fetched for {duration(NOTHING_FETCHED_S)}, since the run began; {limit(value)}"
        )


class RunNotices:
    """A context around a run, which sends the notices. Without a target it does nothing.

    Set `begun` when this process holds the queue. Set `code`, `reason` and `news` to how the run ended; an exception
    that leaves the context is reported instead, and goes on. A run that never began tells why, unless another run
    holds the queue or there is none: nobody else would notice a night that cannot start.
    """

    def __init__(self, queue: Queue, target: notify.Target | None, ca_bundle: str | None) -> None:
        self.begun = False
        self.code: int = Exit.BUG
        self.reason = ""
        self.news: NewVideos | None = None
        self._queue, self._target, self._ca_bundle = queue, target, ca_bundle
        self._poll_at = time.monotonic() + POLL_S
        self._stalled = False
        self._nothing: NothingFetched | None = None
        self._before: dict[str, Any] | None = None

    @property
    def told(self) -> bool:
        """Whether there is somebody to tell."""
        return self._target is not None

    def tick(self) -> None:
        """Check now and then whether the run has stalled. The notice is sent by another thread."""
        if not self.told or time.monotonic() < self._poll_at:
            return
        self._poll_at = time.monotonic() + POLL_S
        try:
            value = status.collect(self._queue.root)
        except (EngineError, OSError):
            return  # the run itself will meet what is wrong
        was, self._stalled = self._stalled, value["state"] == "stalled"
        self._nothing = self._nothing or NothingFetched(time.monotonic())
        reason = self._nothing.look(value, time.monotonic())
        if self._stalled and not was:
            reason = f"nothing has moved for {status.STALLED_AFTER_S:.0f} s, and nobody blocks"
        if reason:
            with contextlib.suppress(RuntimeError, MemoryError):  # a run goes on without a notice
                start_thread(self._send, "stalled", None, reason, name="notice")

    def __enter__(self) -> Self:
        if self._target is not None:
            self._before = self._status()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._target is None or (not self.begun and _not_begun(exc) not in _CANNOT_START):
            return
        if isinstance(exc, EngineError):
            self.code, self.reason = exc.exit_code, str(exc)
        elif not self.begun and isinstance(exc, OSError):
            self.code, self.reason = _not_begun(exc), exc.strerror or type(exc).__name__
        elif isinstance(exc, KeyboardInterrupt):
            self.code, self.reason = 130, "interrupted"
        elif exc is not None:  # whose text may hold anything
            self.code, self.reason = Exit.BUG, type(exc).__name__
        elif self.code > 128:
            self.reason = f"stopped by {signal.Signals(self.code - 128).name}"
        self._send("ended", self.code, self.reason)

    def _send(self, event: str, code: int | None, reason: str) -> None:
        if self._target is None:
            return
        news = self.news
        notice = notify.body(
            event,
            self._queue.root,
            self._status(),
            code=code,
            reason=reason,
            before=self._before,
            titles=[each["title"] or each["video_id"] for each in news.examples] if news else None,
            sources=most_of(news.sources) if news else None,
        )
        problem = notify.send(self._target, notice, queue=self._queue.root, ca_bundle=self._ca_bundle)
        if problem:
            say(f"--notify: {self._target.shown} was not notified: {problem}")

    def _status(self) -> dict[str, Any]:
        try:
            return status.collect(self._queue.root)
        except (EngineError, OSError):
            return status.empty()
