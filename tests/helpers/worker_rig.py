"""A worker's main loop in this process, against the rehearsal server, for tests that look at what it writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from patience import Limit, ends
from support import file_rows, output_of
from warm import start

from engine import verify
from engine.budget import BudgetSettings, Rate
from engine.budget.limiter import Budget
from engine.errors import Exit
from engine.model import EgressSpec, Fetched, NotFetched, Permit
from engine.output import publisher
from engine.queue import journal
from engine.queue.directory import Queue, worker_ids
from engine.queue.segments import split_chunks
from engine.rehearsal import Rehearsal
from engine.rehearsal import RehearsalSettings as Stage
from engine.settings import Frozen, Settings
from engine.worker import main, retry_policy
from engine.worker.context import Resources
from engine.worker.main import MainLoop, WorkerControl, WorkerReport

Fetch = Callable[[str, Permit], Fetched | NotFetched]


@pytest.fixture(scope="module")
def stage() -> Iterator[Rehearsal]:
    with start(Stage(latency_s=0.0)) as found:
        yield found


@pytest.fixture
def stand_in(stage: Rehearsal) -> Rehearsal:
    stage.play(replace=True)
    return stage


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same work with shorter times."""
    monkeypatch.setattr(retry_policy, "WAITS_S", (0.05, 0.1, 0.2))
    monkeypatch.setattr(main, "SYNC_S", 0.1)
    monkeypatch.setattr(main, "IDLE_S", 0.02)
    monkeypatch.setattr(main, "HUNG_AFTER_S", 0.2)


class Rig:
    """A queue, a worker's resources, and its work."""

    def __init__(self, queue: Queue, stand_in: Rehearsal, **options: Any) -> None:
        self.queue = queue
        options = {"threads": 4, "deadline_s": 60.0, **options}
        self.settings = Settings(
            queue=queue.root,
            frozen=Frozen(output_of(queue)),
            egresses=(EgressSpec("p001", stand_in.proxy_url),),
            budget=BudgetSettings(Rate("none"), 60.0),
            mask="off",
            ca_bundle=stand_in.ca_bundle,
            **options,
        )
        Budget.open(queue.budget, self.settings.egresses, self.settings.budget, new_run=True).close()
        self.control = WorkerControl(self.settings)
        self.resources = Resources(self.settings, self.control.stop, self.control.abort)
        self.fetched: list[str] = []
        self.wrap(lambda fetch, video_id, permit: fetch(video_id, permit))
        self.workers = 0

    def wrap(self, around: Callable[[Fetch, str, Permit], Fetched | NotFetched]) -> None:
        """Have each fetch go through `around`."""
        inner = self.resources.fetcher.fetch

        def fetch(video_id: str, permit: Permit, **_: object) -> Fetched | NotFetched:
            self.fetched.append(video_id)
            return around(inner, video_id, permit)

        self.resources.fetcher.fetch = fetch  # type: ignore[method-assign]

    def work(self, until: Callable[[], bool] | None = None, run: str = "") -> WorkerReport:
        """Have a worker work; drain it when `until` (default: every job is final) comes true, or let it end by
        itself."""
        self.workers += 1
        for event in (self.control.stop, self.control.abort):
            event.clear()
        self.control.settings = self.settings
        worker_id = f"{run or f'run{self.workers}'}.0.{self.workers}"
        self.at_work = MainLoop(self.control, self.resources, worker_id)
        reports: list[WorkerReport] = []
        self._others = set(threading.enumerate())
        thread = threading.Thread(target=lambda: reports.append(self.at_work.run()))
        thread.start()
        limit = Limit(20.0)
        there = until or (lambda: len(self.rows()) >= self.queue.total())
        while thread.is_alive() and not there():
            assert not limit.over, "the worker does not get there"
            thread.join(0.01)
        self.control.stop.set()
        ends(thread, "the worker does not end")
        report = reports[0]
        stuck = any(work.abandoned for work in self.at_work.scheduler.in_flight.values())
        if not stuck and report.exit_code == Exit.OK:
            self._threads_end()  # the next worker clears the events: they would go on
        return report

    def _threads_end(self) -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("fetch-") and thread not in self._others:
                ends(thread)

    def die(self) -> None:
        """Let the kernel's part of this worker's death happen, after its threads' part."""
        self._threads_end()
        os.close(self.at_work._worker._inflight)
        self.at_work._worker._lock._close()

    def entries(self) -> Iterator[journal.JournalEntry]:
        for chunk in split_chunks(self.queue.segment(0)):
            yield from journal.lines(self.queue.journal(chunk))

    def rows(self) -> dict[str, dict[str, Any]]:
        """The final rows; each job has one at most."""
        finals = [entry.body for entry in self.entries() if entry.verb == "final"]
        found = {row["video_id"]: row for row in finals}
        reopened = sum(entry.verb == "reopen" for entry in self.entries())
        assert len(finals) - reopened <= len(found) <= len(finals)
        return found

    def tries(self) -> list[dict[str, Any]]:
        return [entry.body for entry in self.entries() if entry.verb == "try"]

    def sound(self) -> None:
        """Nothing is held, everything is filed, and the audit agrees."""
        assert worker_ids(self.queue) == []
        file_rows(self.queue)
        publisher.sweep(output_of(self.queue))
        found = verify.audit(self.queue.root)
        assert found.problems == []
        assert found.rows == self.queue.total()
