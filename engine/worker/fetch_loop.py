"""The threads of a worker: permit, job, fetch, result, journal line, and again.

A thread waits until there is work, then for a permit, and only then takes a job: a job without a permit is not in
flight. It writes the journal line, then clears its place in `inflight`. A crash between the two leaves
both, and the line counts.
"""

from __future__ import annotations

import time
from dataclasses import replace

from engine.errors import Interrupted
from engine.model import CONNECTION_KINDS, Failure, Fetched, Kind, NotFetched, Permit, RequestCost
from engine.network.large_answers import large_slot
from engine.process import shortages, suspends
from engine.process.threads import start_thread
from engine.queue import claims
from engine.settings import Settings
from engine.worker.context import Resources
from engine.worker.control_video import ControlAnswer
from engine.worker.held_chunks import HeldChunks
from engine.worker.results import Aborted, ResultHandler, Tried
from engine.worker.scheduler import Scheduler
from engine.worker.unconfirmed import Unconfirmed
from engine.worker.work import ControlDue, Work

NOTHING_WAIT_S = 5.0  # after a control video that says nothing
AGREE = 3  # connections through a rotating gateway that have to agree on an answer without captions


class FetchLoop:
    """All fetching threads of a worker."""

    def __init__(
        self,
        settings: Settings,
        resources: Resources,
        scheduler: Scheduler,
        worker: claims.Worker,
        results: ResultHandler,
        chunks: HeldChunks,
    ) -> None:
        self._settings = settings
        self._resources = resources
        self._budget = resources.budget
        self._control = resources.control
        self._scheduler = scheduler
        self._worker = worker
        self._results = results
        self._chunks = chunks
        self._rotating = settings.egresses[0].rotating
        self.unconfirmed = Unconfirmed(
            self._budget,
            self._control,
            scheduler,
            resources.stop,
            settings.budget.pace,
            rotating=self._rotating,
        )

    def start(self, number: int) -> None:
        """Start the thread of this number. Raises ShortageError."""
        try:
            start_thread(self._run, number, name=f"fetch-{number}")
        except RuntimeError as exc:
            raise shortages.raised(exc) or exc from None

    def _run(self, number: int) -> None:
        """What a thread does, until nothing more is to begin or the main thread has given up on it."""
        try:
            while self._scheduler.wait_for_work():  # something is ready; nothing is taken yet
                permit = self._budget.take(stop=self._scheduler.stopping, avoid=self._scheduler.avoid)
                if permit is None:  # nothing more is to begin
                    return
                work = self._scheduler.take(number, permit)
                if not isinstance(work, Work):
                    self._use_otherwise(permit, work)
                    continue
                with large_slot.scope():  # a large answer is in hand until its record is written
                    self._worker.begin(number, work.item.home.name, work.item.job.video_id)
                    tried = self._fetch(work)
                    if not work.concluding.acquire(blocking=False):  # the main thread has given up on it
                        return
                    line = self._results.conclude(tried)  # the output is written
                    self._chunks.record(work, line)  # the journal line, then it is not in flight any more
                    if line is None:
                        self.unconfirmed.add(work, tried)
                    self._scheduler.finish(work, line)
        except BaseException as exc:  # noqa: BLE001 - a thread's end must reach the main thread, whatever it was
            self._chunks.fail(exc)
            self._scheduler.attention.set()

    # ---- the steps ---------------------------------------------------------------------------------------
    def _use_otherwise(self, permit: Permit, due: ControlDue | None) -> None:
        """Ask for a control video by a permit that no job is to use; give it back when nothing more begins."""
        if due is None:
            self._budget.unused(permit)
            return
        began = time.monotonic()
        answered = self._control.ask(permit) is not ControlAnswer.NOTHING
        if due.probe:
            self._scheduler.probed(permit, time.monotonic() - began, answered=answered)
        elif not answered:
            self._scheduler.stopping.wait(NOTHING_WAIT_S / self._settings.budget.pace)

    def _fetch(self, work: Work) -> Tried:
        """Fetch the video by the permit's egress."""
        video_id, egress = work.item.job.video_id, work.permit.egress
        got: Fetched | NotFetched | Aborted
        try:
            with self._resources.permits.used_by(work):
                got = self._resources.fetcher.fetch(video_id, work.permit)
                if self._rotating:
                    got = self._agreed(work, got)
        except Interrupted as exc:
            got = Aborted(exc.cost)
        if isinstance(got, Fetched):
            self._control.fetched[egress].append(video_id)
        return _tried(work, got)

    def _agreed(self, work: Work, got: Fetched | NotFetched) -> Fetched | NotFetched:
        """The answer through a rotating gateway. Without captions it counts only when three connections agree."""
        for _ in range(AGREE - 1):
            if not (isinstance(got, NotFetched) and got.failure.kind is Kind.NO_CAPTIONS):
                break
            before = got.cost
            try:
                permit = self._resources.permits.take(work.permit.egress)
                got = self._resources.fetcher.fetch(work.item.job.video_id, permit)
            except Interrupted as exc:
                raise Interrupted(before + exc.cost) from None
            got = replace(got, cost=before + got.cost)
        return got

    # ---- the main thread's side --------------------------------------------------------------------------
    def decide_unconfirmed(self) -> None:
        """Finish or put back the unconfirmed jobs that can be decided by now."""
        for answer, confirmed in self.unconfirmed.decided():
            self._decide(answer.work, answer.tried, confirmed)

    def let_go(self) -> None:
        """At the end, when no thread has a job any more: put the unconfirmed jobs back."""
        for answer in self.unconfirmed.take_rest():
            self._decide(answer.work, answer.tried, confirmed=False)

    def give_up_on(self, work: Work) -> bool:
        """Conclude a job whose thread hangs; False when the thread has just come back. The process is
        replaced, not the thread."""
        if not work.abandon():
            return False
        failure = Failure(
            Kind.TIMEOUT, f"no answer within {self._settings.deadline_s:g} s, and its thread hung"
        )
        line = self._results.conclude(_tried(work, NotFetched(failure, RequestCost(requests=1))))
        self._chunks.record(work, line)
        self._scheduler.finish(work, line)
        return True

    def _decide(self, work: Work, tried: Tried, confirmed: bool) -> None:
        line = self._results.confirmed(tried) if confirmed else self._results.aborted(tried)
        self._chunks.write(work.item.home, line)
        self._scheduler.finish(work, line)


def _tried(work: Work, got: Fetched | NotFetched | Aborted) -> Tried:
    """An attempt that is over, or given up."""
    item = work.item
    kind = got.failure.kind if isinstance(got, NotFetched) else None
    work.answered = kind not in CONNECTION_KINDS and not isinstance(got, Aborted)
    suspended = kind is Kind.TIMEOUT and suspends.attempt_spanned_suspend(work.started)
    elapsed_s = time.monotonic() - work.started
    return Tried(
        item.job,
        item.state,
        work.permit,
        got,
        work.started,
        elapsed_s,
        item.lost_at,
        suspended,
        item.home.chunk,
    )
