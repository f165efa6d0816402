"""What a worker process has as long as it lives: its hold on the budget, its connections, its fetcher."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.budget import BudgetSettings
from engine.budget.limiter import Budget
from engine.errors import Interrupted
from engine.model import Permit
from engine.queue import events
from engine.queue.directory import Queue
from engine.settings import Settings
from engine.storage import disk
from engine.units import duration

if TYPE_CHECKING:
    from engine.network.client import Client
    from engine.worker.control_video import ControlVideo
    from engine.youtube.fetcher import Fetcher


_EVENTS = {"retired": "egress_retired"}
_WHY = {
    "shared_limit": "it and others of its subnet were refused together: they learn together from now on",
    "shared_limit_ended": "its subnet shares no limit after all: each learns alone again",
}


class Resources:
    """Opened once in a worker process: the budget, the connections, the fetcher, the control videos.

    `stop` ends waits for first permits, `abort` also those amid an attempt. Any thread may
    set `wanted`, the budget's settings from now on; None: those it was opened with.
    """

    wanted: BudgetSettings | None = None

    def __init__(self, settings: Settings, stop: threading.Event, abort: threading.Event) -> None:
        # Imported here and not above: they take a tenth of a second, and the lister uses none of them.
        from engine.worker.control_video import ControlVideo
        from engine.worker.further_permits import FurtherPermits
        from engine.youtube.clients import CLIENTS
        from engine.youtube.fetcher import Fetcher, FetchSettings
        from engine.youtube.way_health_file import WayHealth

        queue = Queue(settings.queue)
        self.stop = stop
        self.abort = abort
        self.budget = open_budget(queue, settings)
        self.permits = FurtherPermits(self.budget, abort)
        self.client = open_client(settings, self.budget, self.permits.take, self.permits.take_large_slot)
        self.fetcher: Fetcher = Fetcher(
            self.client,
            FetchSettings(
                languages=settings.frozen.languages,
                captions=settings.frozen.captions,
                all_languages=settings.frozen.all_languages,
                translate=settings.frozen.translate,
                metadata=settings.frozen.metadata,
                mask=settings.mask,
                deadline_s=settings.deadline_s,
                ways=settings.ways,
                clients=settings.clients or CLIENTS,
                ytdlp=settings.ytdlp,
            ),
            health=WayHealth(queue, [spec.name for spec in settings.egresses], settings.budget.pace),
            extra=self.budget.add_bytes,
        )
        self.control: ControlVideo = ControlVideo(settings, self.budget, self.fetcher, abort)
        self.rss_bytes = rss_bytes()  # what this process began with

    def apply_settings(self) -> None:
        """Have the budget go by `wanted`. For the main thread. Raises DiskError."""
        wanted = self.wanted
        if wanted is not None and wanted != self.budget.settings:
            self.budget.apply_settings(wanted)


def another_permit(budget: Budget, stop: threading.Event, egress: int) -> Permit:
    """A permit for a further request by an egress. Raises Interrupted when the attempt must step back."""
    permit = budget.take(egress=egress, stop=stop, if_usable=True)
    if permit is None:
        raise Interrupted
    return permit


def open_budget(queue: Queue, settings: Settings) -> Budget:
    """The budget of a run under way, for a process of it; what happens there becomes an event.

    Raises UsageError, DiskError.
    """
    budget = Budget.open(
        queue.budget,
        settings.egresses,
        settings.budget,
        on_stuck=lambda text: events.emit(queue, "budget_stuck", text),
        on_event=lambda egress, what, wait_s: emit_egress_event(
            queue, egress, what, wait_s, budget.cause_of(egress)
        ),
    )
    return budget


def open_client(
    settings: Settings,
    budget: Budget,
    take: Callable[[int], Permit],
    take_large_slot: Callable[[], bool] | None = None,
) -> Client:
    """The run's egresses, as a process of it uses them; `take` gives a permit for one, or raises Interrupted."""
    from engine.network.client import Client
    from engine.network.large_answers import large_slot

    return Client(
        settings.egresses,
        acquire=take,
        unused=budget.unused,
        ca_bundle=settings.ca_bundle,
        log=wire_log(os.environ.get("ENGINE_WIRE_LOG")),
        take_large_slot=take_large_slot or large_slot.take,
    )


def emit_egress_event(queue: Queue, egress: str, what: str, wait_s: float, cause: str = "") -> None:
    """Make an event of what happened to an egress, as the budget saw it. `cause`: why its last request was lost."""
    again = f"tried again in {duration(wait_s)}"
    if wait_s > 60:
        again += time.strftime(", at %H:%M", time.localtime(time.time() + wait_s))
    lost = what == "network_lost" or (what == "retired" and wait_s > 0)
    more = {"cause": cause} if lost and cause else {}
    why = f"{cause}; " if more else ""
    reason = f"{why}{again}" if what in ("block", "network_lost") else _WHY.get(what, "")
    if what == "retired":
        reason = (
            f"its connections fail while those of others work; {why}{again}"
            if wait_s
            else "it wants another user or password (407); not used again in this run"
        )
    events.emit(queue, _EVENTS.get(what, what), reason, egress=egress, wait_s=round(wait_s, 1), **more)


def wire_log(path: str | None) -> Callable[[int, float], None] | None:
    """A log of requests as they leave: `<monotonic time> <egress index>` lines, for checking the rate."""
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
