"""The threads of a worker: permit, job, fetch, decision, record, and again.

A thread first waits until there is work and for its permit, and only then takes a job: what waits for permission to
send is not in flight. The journal line comes before the job leaves its thread, so that a job in flight has none.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Protocol

from engine.errors import EngineError, Interrupted
from engine.model import Failure, Fetched, Kind, Permit, Refused, RequestCost
from engine.network.turns import turns
from engine.process import shortages, suspends
from engine.process.threads import start_thread
from engine.queue import claims
from engine.settings import Settings
from engine.worker.attempt import Aborted, Attempts, Decision, Tried
from engine.worker.context import Resources
from engine.worker.control_video import ControlAnswer
from engine.worker.lanes import Lanes
from engine.worker.retry_policy import ON_THE_WAY
from engine.worker.scheduler import ControlDue, OpenChunk, Scheduler, Work
from engine.worker.unconfirmed import Unconfirmed

PAUSE_S = 0.1
NOTHING_WAIT_S = 5.0  # after a control video that says nothing
AGREE = 3  # connections through a rotating gateway that have to agree on an answer without captions


class Chunks(Protocol):
    """Where decisions are recorded, and what must end the process's work is told."""

    def write(self, home: OpenChunk, verb: str, body: dict[str, Any]) -> None: ...

    def fail(self, exc: BaseException) -> None: ...


class FetchLoop:
    """All fetching threads of a worker."""

    def __init__(
        self,
        settings: Settings,
        resources: Resources,
        scheduler: Scheduler,
        worker: claims.Worker,
        attempts: Attempts,
        chunks: Chunks,
    ) -> None:
        self._settings = settings
        self._resources = resources
        self._budget = resources.budget
        self._control = resources.control
        self._scheduler = scheduler
        self._worker = worker
        self._attempts = attempts
        self._chunks = chunks
        self._names = [spec.name for spec in settings.egresses]
        self._rotating = settings.egresses[0].rotating
        self._lanes = Lanes(len(self._names), settings.threads)
        self.unconfirmed = Unconfirmed(
            self._budget, self._control, scheduler, resources.stop, settings.budget.pace
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
                permit = self._acquire()  # waiting for permission to send is not being in flight
                if permit is None:
                    continue
                work = self._take(number, permit)
                if work is None:
                    continue
                with turns.scope():  # a large answer is in hand until its record is written
                    self._worker.begin(number, work.item.home.chunk, work.item.job.video_id)
                    tried = self._fetch(work, permit)
                    if not self._scheduler.returned(work):
                        return
                    decision = self._conclude(tried)
                    self._record(work, tried, decision)
        except BaseException as exc:  # noqa: BLE001 - a thread's end must reach the main thread, whatever it was
            self._chunks.fail(exc)

    # ---- the steps ---------------------------------------------------------------------------------------
    def _acquire(self) -> Permit | None:
        """A permit for a job that is not in flight yet; None when nothing more is to begin."""
        stopping = self._resources.stop
        permit = self._budget.take(stop=stopping, give_up=lambda: self._scheduler.stopping, avoid=self._avoid)
        if permit is None:
            self._scheduler.pass_over()
            stopping.wait(PAUSE_S)
        return permit

    def _avoid(self, egress: int) -> bool:
        """Whether an egress would better not be used for the next job, as long as others can."""
        return self._lanes.stuck(egress) or self._scheduler.shunned() == self._names[egress]

    def _take(self, number: int, permit: Permit) -> Work | None:
        """The job that this permit is for; None when it was for a control video, or nothing is left."""
        if permit.probe:
            self._scheduler.pass_over()
            self._control.ask(permit)
            return None
        egress = self._names[permit.egress] if len(self._names) > 1 else ""
        work = self._scheduler.take(number, egress=egress, passed_at=permit.ok_at)
        if work is None:
            self._budget.unused(permit)
        elif isinstance(work, ControlDue):
            if self._control.ask(permit) is ControlAnswer.NOTHING:
                self._resources.stop.wait(NOTHING_WAIT_S / self._settings.budget.pace)
            return None
        else:
            work.permit = permit  # should the thread hang, it was this egress that it hung on
        return work

    def _fetch(self, work: Work, permit: Permit) -> Tried:
        """What the video comes to by this egress."""
        began_at = time.monotonic()
        got: Fetched | Refused | Aborted = Aborted(RequestCost())
        self._lanes.begin(permit.egress)
        try:
            with self._resources.waits(work):
                got = self._resources.fetcher.fetch(work.item.job.video_id, permit)
                if self._rotating:
                    got = self._agreed(work, got)
        except Interrupted as exc:
            got = Aborted(exc.cost)
        finally:
            lost = isinstance(got, Aborted) or (isinstance(got, Refused) and got.failure.kind in ON_THE_WAY)
            self._lanes.end(permit.egress, time.monotonic() - began_at, answered=not lost)
        return self._tried(work, got, began_at)

    def _tried(self, work: Work, got: Fetched | Refused | Aborted, began_at: float) -> Tried:
        item = work.item
        return Tried(
            item.job,
            item.state,
            work.permit or Permit(0, 0, 0.0),
            got,
            began_at,
            time.monotonic() - began_at,
            item.lost_at,
            suspends.attempt_spanned_suspend(work.started),
        )

    def _agreed(self, work: Work, got: Fetched | Refused) -> Fetched | Refused:
        """An answer through a rotating gateway: one without captions has to come by three exits."""
        for _ in range(AGREE - 1):
            if not (isinstance(got, Refused) and got.failure.kind is Kind.NO_CAPTIONS):
                break
            before = got.cost
            work.busy_s = 0.0  # each has the whole deadline
            try:
                got = self._resources.fetcher.fetch(work.item.job.video_id, self._resources.another(work))
            except Interrupted as exc:
                raise Interrupted(before + exc.cost) from None
            got = replace(got, cost=before + got.cost)
        return got

    def _conclude(self, tried: Tried) -> Decision | None:
        try:
            decision = self._attempts.conclude(tried)
        except (OSError, EngineError, MemoryError):
            raise
        except Exception as exc:  # noqa: BLE001 - one video's odd content must not end the run of the others
            failure = Failure(Kind.UNKNOWN, f"{type(exc).__name__} while its record was made: {exc}"[:300])
            decision = self._attempts.conclude(replace(tried, got=Refused(failure, tried.got.cost)))
        if isinstance(tried.got, Fetched):
            self._control.fetched(tried.permit.egress, tried.job.video_id)
        return decision

    def _record(self, work: Work, tried: Tried, decision: Decision | None) -> None:
        """Write a decision's line, then let the job go. In this order: a job in flight has no line."""
        if decision is None:
            self._worker.end(work.thread)
            self.unconfirmed.add(work, tried)
            self._scheduler.put_down(work)  # after it is added: an end that comes between the two must see it
            return
        if decision.verb:
            self._chunks.write(work.item.home, decision.verb, decision.body)
        self._worker.end(work.thread)
        self._leave(work, tried, decision)

    def _leave(self, work: Work, tried: Tried, decision: Decision) -> None:
        if decision.lost:
            work.item.lost_at = time.monotonic()
        if isinstance(tried.got, Refused) and tried.got.failure.kind is Kind.BLOCKED:
            work.item.refused_at = time.monotonic()
        self._scheduler.finish(work, decision.again_in_s)

    # ---- the main thread's side --------------------------------------------------------------------------
    def look(self) -> None:
        """Decide what was unconfirmed, as far as it can be by now."""
        for answer, confirmed in self.unconfirmed.decided():
            self._decide(answer.work, answer.tried, confirmed)

    def let_go(self) -> None:
        """The end has come, and no thread has a job any more: what is unconfirmed goes back."""
        for answer in self.unconfirmed.take_rest():
            self._decide(answer.work, answer.tried, confirmed=False)

    def give_up_on(self, work: Work) -> bool:
        """Decide a job whose thread does not come back; False when it just came back. It has no successor: the
        process is to be replaced."""
        if not self._scheduler.abandon(work):
            return False
        failure = Failure(
            Kind.TIMEOUT, f"no answer within {self._settings.deadline_s:g} s, and its thread hung"
        )
        tried = self._tried(work, Refused(failure, RequestCost(requests=1)), work.started)
        self._record(work, tried, self._conclude(tried))
        return True

    def _decide(self, work: Work, tried: Tried, confirmed: bool) -> None:
        decision = self._attempts.confirmed(tried) if confirmed else self._attempts.aborted(tried)
        self._chunks.write(work.item.home, decision.verb, decision.body)
        self._leave(work, tried, decision)
