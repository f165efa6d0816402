"""Decides when a run ends by itself: nothing is left to do, nothing is left to do it with, or a cap is reached."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from engine.budget import all_retired, snapshot, totals
from engine.budget.watch import Watch
from engine.errors import EngineError, Exit
from engine.limits import Caps, Meter
from engine.monitor import status
from engine.output import publisher
from engine.queue import events, listings, marker
from engine.queue.directory import Queue, worker_ids
from engine.recovery.startup import tidy
from engine.settings import Settings
from engine.storage import disk
from engine.storage.locks import Lock

BLOCKED_LOOKS = 4  # checks in a row that find all egresses blocked, before the run is halted
NAMED_PROXIES = 5


@dataclass(frozen=True, slots=True)
class RunEnd:
    """Why a run ends: its exit code and a sentence."""

    code: int
    message: str = ""


class EndWatch:
    """Asks the files four times a second whether the run is to end."""

    def __init__(self, queue: Queue, settings: Settings, run_id: str) -> None:
        self.halted = False  # because every egress is blocked
        self._queue = queue
        self._settings = settings
        self._run_id = run_id
        self._meter: Meter | None = None
        self._finals_before = 0
        self._budget_watch = Watch(queue.budget)
        self._blocked_looks = 0

    def begin(self) -> None:
        """From now on caps and the limit are counted. The budget is open."""
        self._meter = Meter.start(totals(self._queue.budget))
        self._finals_before = self._finals()

    def close(self) -> None:
        self._budget_watch.close()

    def due(self, *, paused: bool, listing: bool) -> RunEnd | None:
        """Why the run is to end now, or None. `listing`: a lister is at work."""
        if not listing and status.finished(self._queue):
            lock = Lock(self._queue.seed_lock)
            if lock.take(note={"what": "finish"}):
                with lock:
                    return RunEnd(Exit.OK) if self.nothing_left() else None
        removed = self._budget_watch.look(time.monotonic())
        if removed:
            events.emit(self._queue, "budget_removed", removed, run=self._run_id)
        return self.output_gone() or self._capped() or self._at_limit() or self._no_egress(paused=paused)

    def nothing_left(self) -> bool:
        """Whether every job is final, with its row in the manifest, and every source is listed."""
        return status.finished(self._queue) and not listings.open_listings(self._queue)

    def output_gone(self) -> RunEnd | None:
        """The end when the output directory was removed or unmounted: workers notice when they write, and they may
        have to wait for that."""
        try:
            marker.check(self._settings.frozen.output, self._settings.batch)
        except EngineError as exc:
            return RunEnd(exc.exit_code, str(exc))
        return None

    def _capped(self) -> RunEnd | None:
        if self._meter is None or self._settings.caps == Caps():
            return None
        reason = self._meter.reached(self._settings.caps, totals(self._queue.budget))
        return RunEnd(Exit.WORK_REMAINS, reason) if reason else None

    def _at_limit(self) -> RunEnd | None:
        """The end at `--limit`. What is in flight may still become final."""
        limit = self._settings.limit
        if limit is None or self._finals() - self._finals_before < limit:
            return None
        return RunEnd(Exit.WORK_REMAINS, f"stopped at the limit of {limit:,} jobs")

    def _finals(self) -> int:
        return status.recount(self._queue, time.time()).counts.final

    def _no_egress(self, *, paused: bool) -> RunEnd | None:
        if all_retired(self._queue.budget):
            return RunEnd(Exit.NO_PROXY, self.no_proxy())
        if self._settings.on_block != "stop" or paused:
            return None
        egresses = [egress for egress in snapshot(self._queue.budget) if egress.state != "retired"]
        if not egresses:  # the file was removed: a worker makes it again
            return None
        # An unreachable egress does not count as open. If none can be reached, the network is down.
        reached = [egress for egress in egresses if egress.state != "unreachable"] or egresses
        blocked = all(egress.refused for egress in reached)
        self._blocked_looks = self._blocked_looks + 1 if blocked else 0
        if self._blocked_looks < BLOCKED_LOOKS:
            return None
        self.halted = True
        return RunEnd(Exit.ALL_BLOCKED, "every egress is blocked: run again later, or with other proxies")

    def no_proxy(self) -> str:
        """The sentence for a run without a usable proxy."""
        names = [egress.name for egress in self._settings.egresses]
        more = f" and {len(names) - NAMED_PROXIES} more" if len(names) > NAMED_PROXIES else ""
        return (
            f"no proxy is left that can be used: {', '.join(names[:NAMED_PROXIES])}{more} want another user or "
            "password (407). `engine proxies check` tries each with one request"
        )


def some_failed(queue: Queue) -> bool:
    """Whether a job or a listing of this queue has failed."""
    if listings.summary(queue)[listings.FAILED]:
        return True
    return status.recount(queue, time.time()).counts.failed > 0


def leave_snapshot(queue: Queue, output: str, *, halted: bool) -> None:
    """Leave the last status of a run, and sweep up after processes that died on the way."""
    with contextlib.suppress(OSError, EngineError):
        value = status.collect(queue.root)
        value["history"] = status.read_snapshot(queue).get("history") or []
        value["halted"] = halted
        data = (status.dumps(value) + "\n").encode()
        disk.publish(queue.status, data, tmp_dir=queue.tmp, sync=False)
    with contextlib.suppress(OSError):
        if not worker_ids(queue):
            publisher.sweep(output)
            tidy(queue)
