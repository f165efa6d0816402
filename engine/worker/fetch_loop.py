"""The threads of a worker: permit, job, fetch, settle, and again.

A thread first reserves a job and waits for its permit, and only then takes the job: what waits for leave to send
is not in flight. The journal line comes before the job leaves its thread, so that a job in flight has none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.budget import Outcome, Stamp
from engine.errors import EngineError, Interrupted
from engine.model import Failure, Fetched, Kind, Permit, Refused, RequestCost
from engine.network.turns import turns
from engine.process import shortages
from engine.queue import claims
from engine.queue.directory import Queue
from engine.queue.job_state import LINE_KINDS
from engine.queue.tickets import Tickets
from engine.settings import Settings
from engine.worker.attempt import Attempts, Recorded
from engine.worker.context import Resources
from engine.worker.lanes import Lanes
from engine.worker.retry_policy import REFUSED_WAIT_S, WAITS_S
from engine.worker.scheduler import Desk, Item, OpenChunk, Work
from engine.worker.unconfirmed import CANARY, Holding, has_captions

PARK_S = WAITS_S[-1] * 1.5  # longer waits leave the desk with their chunk
PAUSE_S = 0.1
NO_THREAD = -1
TICKETS_BACK_S = 2.0


class Hands:
    """All threads of one lap. `write` puts a line into a chunk's journal, `fail` ends the lap with an error."""

    def __init__(
        self,
        settings: Settings,
        resources: Resources,
        desk: Desk,
        worker: claims.Worker,
        attempts: Attempts,
        write: Callable[[OpenChunk, str, dict[str, Any]], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.finals = 0
        self._settings = settings
        self._resources = resources
        self._budget = resources.budget
        self._desk = desk
        self._worker = worker
        self._attempts = attempts
        self._write = write
        self._fail = fail
        self._counting = threading.Lock()
        self._names = [its.name for its in settings.egresses]
        self._lanes = Lanes(len(self._names), settings.threads)
        self._tickets = Tickets(Queue(settings.queue)) if settings.limit is not None else None
        run_id = worker.id.partition(".")[0]
        self._holding = Holding(settings, resources, desk, attempts, self._resolve, fail, run_id)

    def start(self, number: int) -> None:
        """Start the thread of this number (or its successor, when it hangs). Raises ShortageError."""
        try:
            threading.Thread(target=self._run, args=(number,), name=f"fetch-{number}", daemon=True).start()
        except RuntimeError as exc:
            raise shortages.raised(exc) or exc from None

    def out_of_tickets(self) -> bool:
        """Whether the run's limit leaves nothing to do: no ticket is left, and no thread of ours has one."""
        return self._tickets is not None and self._tickets.spent() and self._tickets.settled()

    def pay(self) -> bool:
        """A ticket for a job that becomes final without being begun; False when none is left."""
        if self._tickets is None:
            return True
        if not self._tickets.take():
            return False
        self._tickets.keep()
        return True

    def give_up_on(self, work: Work) -> bool:
        """Settle a job whose thread does not come back, and start another; False when it just came back."""
        if not self._desk.abandon(work):
            return False
        failure = Failure(
            Kind.TIMEOUT, f"no answer within {self._settings.deadline_s:g} s, and its thread hung"
        )
        permit = work.permit or Permit(0, 0, 0.0)
        self._conclude(work, permit, Refused(failure, RequestCost(requests=1)), work.started)
        self.start(work.thread)
        return True

    def look(self) -> None:
        """Conclude what was held back, as far as it can be by now. For the keeper."""
        startable = self._desk.unstarted() and not (self._tickets is not None and self._tickets.spent())
        self._holding.look(busy=bool(self._desk.in_flight or startable))

    def take_up(self, item: Item) -> bool:
        """Hold on to what came without captions in an earlier lap; False when the job is to be fetched."""
        if item.state.held is None or (self._tickets is not None and not self._tickets.take()):
            return False
        if self._holding.take_up(Work(item, NO_THREAD, started=time.monotonic())):
            return True
        self._return_ticket()
        return False

    def let_go(self) -> None:
        """The lap ends, and no thread has a job any more."""
        self._holding.let_go()

    def close(self) -> None:
        """Let go of the tickets, after the threads that waited with one have given it back."""
        if self._tickets is not None:
            self._tickets.settled(TICKETS_BACK_S)
            self._tickets.close()

    def _run(self, number: int) -> None:
        try:
            while self._desk.reserve():
                permit = self._first_permit()
                if permit is None:
                    continue
                work = self._desk.begin(
                    number,
                    probing=not self._budget.calm(permit.egress),
                    egress=self._names[permit.egress] if len(self._names) > 1 else "",
                )
                if work is None:
                    self._budget.unused(permit)
                    self._return_ticket()
                else:
                    with turns.scope():  # a large answer is in hand until its record is written
                        stays = self._work(work, permit)
                    if not stays:
                        return
        except BaseException as exc:  # noqa: BLE001 - a thread's end must reach the keeper, whatever it was
            self._fail(exc)

    def _first_permit(self) -> Permit | None:
        """A permit for a job that is not in flight yet; None when the lap ends or no ticket is left."""
        if self._tickets is not None and not self._tickets.take():
            self._desk.cancel()
            self._resources.stop.wait(PAUSE_S)
            return None
        permit = self._budget.take(
            stop=self._resources.stop, give_up=lambda: self._desk.stopping, avoid=self._avoid
        )
        if permit is None:
            self._return_ticket()
            self._desk.cancel()
            self._resources.stop.wait(PAUSE_S)
        return permit

    def _avoid(self, egress: int) -> bool:
        """Whether an egress would better not be used for the next job, as long as others can."""
        return self._lanes.stuck(egress) or self._desk.shunned() == self._names[egress]

    def _return_ticket(self) -> None:
        if self._tickets is not None:
            self._tickets.give_back()

    def _work(self, work: Work, permit: Permit) -> bool:
        """Fetch one job and settle it; False when the keeper has replaced this thread meanwhile."""
        item = work.item
        work.permit = permit  # should the thread hang, it was this egress that it hung on
        self._worker.begin(work.thread, item.home.chunk, item.job.video_id)
        started = time.monotonic()
        if self._attempts.hopeless(item.state):
            self._budget.unused(permit)
            return self._desk.settle(work) and self._record(
                work, self._attempts.refused_for_good(item.job, item.state)
            )
        canary = self._canary(work, permit)
        answered = False
        self._lanes.begin(permit.egress)
        try:
            with self._resources.waits(work):
                got = self._resources.fetcher.fetch(canary or item.job.video_id, permit)
            answered = isinstance(got, Fetched) or got.failure.kind not in LINE_KINDS
        except Interrupted as exc:
            return self._step_back(work, permit, exc.cost, its_own=canary is None)
        finally:
            self._lanes.end(permit.egress, time.monotonic() - started, answered=answered)
        permit = work.permit or permit
        self._budget.add_bytes(permit.egress, got.cost.bytes)
        if not self._desk.settle(work):
            return False
        if canary:
            return self._heard(work, permit, got)
        if isinstance(got, Fetched):
            self._resources.canary = item.job.video_id
        if has_captions(got):
            self._resources.witness.shown(permit.egress, started)
        elif isinstance(got, Refused) and got.failure.kind is Kind.NO_CAPTIONS:
            return self._doubt(work, permit, got, time.monotonic() - started)
        return self._conclude(work, permit, got, started)

    def _canary(self, work: Work, permit: Permit) -> str | None:
        """A video that was fetched before, to be sent ahead of a refused job.

        As long as nothing has passed since its refusal, or when its permit is a probe's, nobody knows whether the
        job or the egress was meant, and the job itself cannot tell: refused again, it would keep the egress
        closed for ever. A video that worked can tell.
        """
        refusals = work.item.state.refusals
        if not refusals:
            return None
        if self._budget.calm(permit.egress) and self._budget.over(Stamp(*refusals[-1])):
            return None
        canary = self._resources.canary
        return canary if canary != work.item.job.video_id else None

    def _heard(self, work: Work, permit: Permit, got: Fetched | Refused) -> bool:
        """Report what became of the canary, and let the job come again."""
        return self._again(work, 0.0 if self._sings(permit, got) else REFUSED_WAIT_S)

    def _sings(self, permit: Permit, got: Fetched | Refused) -> bool:
        """Report what became of the canary; a canary without captions is blocked."""
        if isinstance(got, Fetched):
            outcome, retry_after_s = Outcome.OK, None
        elif got.failure.kind is Kind.NO_CAPTIONS:
            outcome, retry_after_s = Outcome.BLOCKED, None
        else:
            outcome, retry_after_s = self._attempts.outcome(got.failure), got.failure.retry_after_s
        self._budget.report(permit, outcome, job=CANARY, retry_after_s=retry_after_s)
        return outcome is Outcome.OK

    def _doubt(self, work: Work, permit: Permit, got: Refused, elapsed_s: float) -> bool:
        """A video came without captions: hold that back until something speaks for it (see
        `engine.worker.unconfirmed`).

        A probe that comes without is no sign of life, so the canary goes after it by the same egress. Whatever
        becomes of that, and when the egress has opened since, the video is fetched again: what it met may have
        been the end of a block.
        """
        item, canary = work.item, self._resources.canary
        wait_s = REFUSED_WAIT_S / self._settings.budget.pace
        probing = not self._budget.calm(permit.egress)
        if canary is not None and self._budget.current(permit) and probing:
            try:
                with self._resources.waits(work):
                    heard = self._resources.fetcher.fetch(canary, replace(permit, expires_s=0.0))
            except Interrupted as exc:
                self._budget.add_bytes(permit.egress, exc.cost.bytes)
                self._budget.report(work.permit or permit, Outcome.OTHER, job=CANARY)
            else:
                self._budget.add_bytes(permit.egress, heard.cost.bytes)
                wait_s = 0.0 if self._sings(work.permit or permit, heard) else wait_s
        elif canary is None or not probing:
            self._budget.report(permit, Outcome.OK, job=item.job.video_id)
            if self._budget.current(permit):
                self._worker.end(work.thread)
                self._holding.hold(work, permit, got, elapsed_s)
                self._desk.put_down(work)  # after it is held: a lap that ends between the two must see it
                return True
        return self._record(work, self._attempts.doubted(item.job, item.state, permit, got, wait_s))

    def _step_back(self, work: Work, permit: Permit, cost: RequestCost, *, its_own: bool) -> bool:
        """The attempt gave way: the job stays what it was, and a probe that it held is let go.

        Its journal hears only of what it cost.
        """
        item = work.item
        self._budget.add_bytes(permit.egress, cost.bytes)
        if not self._desk.settle(work):
            return False
        self._budget.report(work.permit or permit, Outcome.OTHER, job=item.job.video_id)
        self._attempts.output.forget(item.job.video_id, item.state.rows)
        if its_own and cost.requests:
            self._write(item.home, "try", self._attempts.gave_way(item.job, item.state, permit, cost))
        return self._again(work, 0.0)

    def _again(self, work: Work, wait_s: float) -> bool:
        """Lay a job back that is what it was."""
        self._return_ticket()
        self._worker.end(work.thread)
        self._desk.end(work, again_in_s=wait_s, park_up_to_s=PARK_S)
        return True

    def _conclude(self, work: Work, permit: Permit, got: Fetched | Refused, started: float) -> bool:
        item = work.item
        elapsed_s = time.monotonic() - started
        try:
            recorded = self._attempts.conclude(item.job, item.state, permit, got, elapsed_s)
        except (OSError, EngineError, MemoryError):
            raise
        except Exception as exc:  # noqa: BLE001 - one video's odd content must not end the night of the others
            failure = Failure(Kind.UNKNOWN, f"{type(exc).__name__} while its record was made: {exc}"[:300])
            recorded = self._attempts.conclude(
                item.job, item.state, permit, Refused(failure, got.cost), elapsed_s
            )
        return self._record(work, recorded)

    def _record(self, work: Work, recorded: Recorded) -> bool:
        """Write the outcome's line, then let the job go. In this order: a job in flight has no line."""
        self._write(work.item.home, recorded.verb, recorded.body)
        self._worker.end(work.thread)
        self._leave(work, recorded)
        return True

    def _resolve(self, work: Work, recorded: Recorded) -> None:
        """The same for a job that was held back: its thread has another by now."""
        self._write(work.item.home, recorded.verb, recorded.body)
        self._leave(work, recorded)

    def _leave(self, work: Work, recorded: Recorded) -> None:
        if recorded.again_in_s is None:
            with self._counting:
                self.finals += 1
            if self._tickets is not None:
                self._tickets.keep()
        else:
            self._return_ticket()
        self._desk.end(work, again_in_s=recorded.again_in_s, park_up_to_s=PARK_S)
