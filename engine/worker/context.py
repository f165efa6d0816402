"""What a worker process has as long as it lives: its hold on the budget, its connections, its fetcher."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from engine.budget import BudgetSettings
from engine.budget.limiter import Budget
from engine.errors import Interrupted
from engine.model import Permit
from engine.network.turns import turns
from engine.queue import events
from engine.queue.directory import Queue
from engine.settings import Settings
from engine.storage import disk
from engine.units import duration
from engine.worker.scheduler import Work

if TYPE_CHECKING:
    from engine.network.client import Client
    from engine.worker.control_video import ControlVideo
    from engine.youtube.fetcher import Fetcher


_EVENTS = {"retired": "egress_retired"}


class Resources:
    """Opened once in a worker process: the budget, the connections, the fetcher, the control videos.

    `stop` ends waits for first permits, `abort` also those amid an attempt. `wanted` is how the budget is to be
    kept from now on, set by any thread; None: as it was opened.
    """

    wanted: BudgetSettings | None = None

    def __init__(self, settings: Settings, stop: threading.Event, abort: threading.Event) -> None:
        # Imported here and not above: they cost a worker a tenth of a second, and an onlooker nothing.
        from engine.worker.control_video import ControlVideo
        from engine.youtube.fetcher import Fetcher, FetchSettings

        queue = Queue(settings.queue)
        self.stop = stop
        self.abort = abort
        self.budget = open_budget(queue, settings)
        self.client = open_client(settings, self.budget, self._take, self._take_turn)
        self.fetcher: Fetcher = Fetcher(
            self.client,
            FetchSettings(
                languages=settings.frozen.languages,
                captions=settings.frozen.captions,
                all_languages=settings.frozen.all_languages,
                translate=settings.frozen.translate,
                metadata=settings.frozen.metadata,
                fetch_mode=settings.fetch_mode,
                mask=settings.mask,
                deadline_s=settings.deadline_s,
            ),
            lean_allowed=lambda: not self.budget.lean_off(),
            lean_failed=self.budget.lean_failed,
            lean_worked=self.budget.lean_worked,
        )
        self.control: ControlVideo = ControlVideo(settings, self.budget, self.fetcher, abort)
        self._mine = threading.local()
        self.rss_bytes = rss_bytes()  # what this process began with

    def follow(self) -> None:
        """Keep the budget as it is wanted. For the main thread. Raises DiskError."""
        wanted = self.wanted
        if wanted is not None and wanted != self.budget.settings:
            self.budget.steer(wanted)

    @contextlib.contextmanager
    def waits(self, work: Work) -> Iterator[None]:
        """Let permits waited for in this thread count as this work's waiting, not as its time."""
        self._mine.work = work
        try:
            yield
        finally:
            self._mine.work = None

    def another(self, work: Work) -> Permit:
        """A further permit for this work, by the egress of its last one. Raises Interrupted."""
        assert work.permit is not None  # noqa: S101
        return self._take(work.permit.egress)

    def _take(self, egress: int) -> Permit:
        """A permit for a further request of an attempt. Raises Interrupted when the attempt must step back."""
        work: Work | None = getattr(self._mine, "work", None)
        with _waiting(work):
            permit = self.budget.take(
                egress=egress,
                stop=self.abort,
                give_up=lambda: work is not None and work.abandoned,
                if_usable=True,
            )
        if permit is None:
            raise Interrupted
        if work is not None:
            work.permit = permit
        return permit

    def _take_turn(self) -> bool:
        """Wait for permission to hold a large answer; False when the attempt must step back."""
        work: Work | None = getattr(self._mine, "work", None)
        with _waiting(work):
            return turns.take(lambda: self.abort.is_set() or (work is not None and work.abandoned))


@contextlib.contextmanager
def _waiting(work: Work | None) -> Iterator[None]:
    """Let what passes inside count as waiting, not as the work's time."""
    if work is None:
        yield
        return
    work.busy_s += time.monotonic() - work.since
    work.waiting = True
    try:
        yield
    finally:
        work.since = time.monotonic()
        work.waiting = False


def open_budget(queue: Queue, settings: Settings) -> Budget:
    """The budget of a run under way, for a process of it; what happens there becomes an event.

    Raises UsageError, DiskError.
    """
    return Budget.open(
        queue.budget,
        settings.egresses,
        settings.budget,
        on_stuck=lambda text: events.emit(queue, "budget_stuck", text),
        on_event=lambda *args: tell(queue, *args),
    )


def open_client(
    settings: Settings,
    budget: Budget,
    take: Callable[[int], Permit],
    turn: Callable[[], bool] = turns.take,
) -> Client:
    """The run's egresses, as a process of it uses them; `take` gives a permit for one, or raises Interrupted.

    `turn` as in `Client`.
    """
    from engine.network.client import Client

    return Client(
        settings.egresses,
        acquire=take,
        unused=budget.unused,
        ca_bundle=settings.ca_bundle,
        log=wire_log(os.environ.get("ENGINE_WIRE_LOG")),
        turn=turn,
    )


def tell(queue: Queue, egress: str, what: str, wait_s: float) -> None:
    """Note what the budget saw happen to an egress."""
    again = f"tried again in {duration(wait_s)}"
    if wait_s > 60:
        again += time.strftime(", at %H:%M", time.localtime(time.time() + wait_s))
    reason = again if what in ("block", "network_lost") else ""
    if what == "retired":
        reason = (
            f"its connections fail while those of others work; {again}"
            if wait_s
            else "it wants another user or password (407); not used again in this run"
        )
    events.emit(queue, _EVENTS.get(what, what), reason, egress=egress, wait_s=round(wait_s, 1))


def wire_log(path: str | None) -> Callable[[int, float], None] | None:
    """A log of requests as they leave: `<monotonic time> <egress index>` lines, for who wants to check the rate."""
    if not path:
        return None
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return lambda egress, at_s: disk.write_all(fd, b"%.6f %d\n" % (at_s, egress))


def rss_bytes() -> int:
    """This process's resident memory, in bytes."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)
