"""One try at one job, as a pipeline: fetch → classify → render → publish → decide → record.

What it does not know: threads, chunks, processes. It is given a fetcher, an output, a budget, and answers with
what to write into the journal and when the job comes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from engine.budget import Outcome, Stamp
from engine.model import Failure, Fetched, Job, Kind, Permit, Record, Refused, RequestCost
from engine.output.ownership import another_queue_wrote
from engine.output.publisher import Output, TakenError
from engine.queue.job_state import JobState
from engine.queue.manifest import row
from engine.storage.timestamps import utc
from engine.worker.retry_policy import REFUSALS, Defer, History, Settle, decide

REFUSED_BEFORE = "refused before"
_OUTCOME = {
    Kind.BLOCKED: Outcome.BLOCKED,
    Kind.NETWORK: Outcome.NETWORK,
    Kind.PROXY: Outcome.NETWORK,
    Kind.TIMEOUT: Outcome.TIMEOUT,
    Kind.SERVER_ERROR: Outcome.OTHER,
    Kind.GARBLED: Outcome.OTHER,
    Kind.UNKNOWN: Outcome.OTHER,
}
_ON_THE_WAY = frozenset({Kind.NETWORK, Kind.PROXY, Kind.TIMEOUT})
BAD_LUCK = 3  # times --attempts: so often a rotating gateway may lose a job's connections at no cost


class Judge(Protocol):
    """The part of the budget that an attempt reports to."""

    def report(
        self, permit: Permit, outcome: Outcome, *, job: str, retry_after_s: float | None = None
    ) -> Stamp: ...

    def fault(self, stamp: Stamp) -> bool | None: ...


def outcome_of(failure: Failure, *, rotating: bool) -> Outcome:
    """What a failure says of its egress. Behind a rotating gateway a lost connection is one exit's."""
    if rotating and failure.kind in _ON_THE_WAY and not (failure.unreached or failure.dead_egress):
        return Outcome.EXIT
    return Outcome.DEAD if failure.dead_egress else _OUTCOME.get(failure.kind, Outcome.OK)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an attempt comes to: one journal line, and in how many seconds the job is due again (None: final)."""

    verb: str
    body: dict[str, Any]
    again_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Attempts:
    """What all attempts of a worker share."""

    output: Output
    judge: Judge
    attempts: int
    names: tuple[str, ...]  # of the egresses, by index
    rotating: bool = False
    wall: Callable[[], float] = time.time

    def conclude(
        self, job: Job, state: JobState, permit: Permit, got: Fetched | Refused, elapsed_s: float
    ) -> Recorded:
        """Publish what was fetched, or decide what becomes of the job."""
        if isinstance(got, Fetched):
            return self._ok(job, state, permit, got, elapsed_s)
        return self._refused(job, state, permit, got, elapsed_s)

    def _ok(self, job: Job, state: JobState, permit: Permit, got: Fetched, elapsed_s: float) -> Recorded:
        self.judge.report(permit, Outcome.OK, job=job.video_id)
        now = utc(self.wall())
        record = Record(
            job.video_id,
            got.metadata,
            got.transcript,
            job.input,
            now,
            got.transcripts,
            self.output.batch or None,
        )
        try:
            files, sums = self.output.publish(record, state.rows)
        except TakenError as exc:
            return self._kept(job, state, permit, got, elapsed_s, exc.path)
        return Recorded(
            "final",
            row(
                job,
                kind=None,
                message=None,
                attempts=self._spent(state) + 1,
                cost=got.cost + RequestCost(state.requests, state.bytes),
                metadata=got.metadata,
                transcript=got.transcript,
                files=files,
                sha256=sums,
                egress=self.names[permit.egress],
                elapsed_s=elapsed_s,
                finished_at=now,
            ),
        )

    def _kept(
        self, job: Job, state: JobState, permit: Permit, got: Fetched, elapsed_s: float, path: str
    ) -> Recorded:
        """The end of a job whose place in the output directory belongs to a file that this queue did not write."""
        message = (
            f"{path} was written by another queue and stays: the transcript is there, there is nothing to do. "
            "For a copy of your own, fetch it in a new queue with another -o"
            if another_queue_wrote(self.output.root, job.video_id, self.output.batch)
            else f"{path} was not written by this queue and stays: move it away, then `engine retry --kind kept`; "
            "or `engine run --replace`, which overwrites it"
        )
        refused = Refused(Failure(Kind.KEPT, message), got.cost, got.metadata)
        return self.final(job, state, Kind.KEPT, message, refused, self._spent(state) + 1, permit, elapsed_s)

    def _refused(self, job: Job, state: JobState, permit: Permit, got: Refused, elapsed_s: float) -> Recorded:
        failure = got.failure
        outcome = self.outcome(failure)
        trouble = outcome in self._troubles
        kept = trouble or outcome is Outcome.TIMEOUT
        # Jobs that were refused before are no new evidence against their egress, however many they are.
        name = REFUSED_BEFORE if outcome is Outcome.BLOCKED and state.refusals else job.video_id
        stamp = self.judge.report(permit, outcome, job=name, retry_after_s=failure.retry_after_s)
        fault = self.judge.fault(stamp) if kept else False
        if not trouble and fault is None:
            fault = False  # hardly the egress's, so no benefit of doubt; but the charge may be given back
        history = History(
            spent=self._spent(state),
            refused=self._refusals(state),
            tries=state.tries,
            fault=True if failure.dead_egress else fault,
        )
        if outcome is Outcome.EXIT and state.tries < BAD_LUCK * self.attempts:
            history = replace(history, fault=True)  # the next connection leaves by another exit
        verdict = decide(failure, history, self.attempts)
        if isinstance(verdict, Settle):
            paid = history.spent + (failure.kind is not Kind.BLOCKED)
            return self.final(job, state, verdict.kind, failure.message, got, paid, permit, elapsed_s)
        return Recorded(
            "try",
            self._try(job, got, verdict, history, stamp if kept else None, permit),
            again_in_s=verdict.wait_s,
        )

    @property
    def _troubles(self) -> tuple[Outcome, ...]:
        """Outcomes that may well prove to be the egress's fault. A timeout is that only where others answer; by the
        only egress it proves so when the network turns out to be lost: what was under way then hears nothing."""
        several = (Outcome.TIMEOUT,) if len(self.names) > 1 else ()
        return (Outcome.NETWORK, Outcome.EXIT, Outcome.BLOCKED, *several)

    def outcome(self, failure: Failure) -> Outcome:
        """What a failure says of its egress."""
        return outcome_of(failure, rotating=self.rotating)

    def refused_for_good(self, job: Job, state: JobState) -> Recorded:
        """The end of a job that keeps being refused while others pass."""
        failure = Failure(Kind.BLOCKED, f"refused {self._refusals(state)} times while other videos passed")
        return self.final(
            job, state, Kind.BLOCKED, failure.message, Refused(failure, RequestCost()), 0, None, 0.0
        )

    def believed(self, job: Job, state: JobState, permit: Permit, got: Refused, elapsed_s: float) -> Recorded:
        """The end of a job without captions, once that is believed. The budget has heard of it before."""
        return self.final(
            job,
            state,
            got.failure.kind,
            got.failure.message,
            got,
            self._spent(state) + 1,
            permit,
            elapsed_s,
        )

    def doubted(
        self,
        job: Job,
        state: JobState,
        permit: Permit,
        got: Refused,
        wait_s: float,
        *,
        looked: bool = False,
        held: dict[str, Any] | None = None,
    ) -> Recorded:
        """What came without captions is due again after a while, and no attempt is spent. `looked`: this was
        one of the looks that a video without captions gets while no other video has any. With `held` the answer
        is kept for then (`engine.worker.kept`), else the video is fetched again."""
        history = History(spent=self._spent(state))
        verdict = Defer(wait_s, charged=False)
        # without a stamp: it is no trouble that the budget knows of
        body = {**self._try(job, got, verdict, history, None, permit), "doubted": looked}
        if held is not None:
            body["held"] = held
        return Recorded("try", body, again_in_s=wait_s)

    def gave_way(self, job: Job, state: JobState, permit: Permit, cost: RequestCost) -> dict[str, Any]:
        """The line of an attempt that was none in the end: its requests were sent all the same."""
        return {
            "job": job.video_id,
            "n": self._spent(state),
            "kind": None,
            "gave_way": True,
            "not_before": 0.0,
            "charged": False,
            "requests": cost.requests,
            "bytes": cost.bytes,
            "egress": self.names[permit.egress],
        }

    def _refusals(self, state: JobState) -> int:
        """How many blocks the job met while others passed."""
        return sum(self.judge.fault(Stamp(*its)) is False for its in state.refusals)

    def hopeless(self, state: JobState) -> bool:
        """Whether the job was refused often enough while others passed: another request would change nothing."""
        return len(state.refusals) >= REFUSALS and self._refusals(state) >= REFUSALS

    def _spent(self, state: JobState) -> int:
        """How many attempts the job has paid for, those given back since left out."""
        return sum(1 for its in state.charges if its is None or self.judge.fault(Stamp(*its)) is not True)

    def _try(
        self, job: Job, got: Refused, verdict: Defer, history: History, stamp: Stamp | None, permit: Permit
    ) -> dict[str, Any]:
        failure = got.failure
        return {
            "job": job.video_id,
            "n": history.spent + verdict.charged,
            "kind": failure.kind,
            "message": failure.message,
            "not_before": round(self.wall() + verdict.wait_s, 3),
            "charged": verdict.charged,
            "stamp": list(stamp) if stamp else None,
            "requests": got.cost.requests,
            "bytes": got.cost.bytes,
            "egress": self.names[permit.egress],
        }

    def final(
        self,
        job: Job,
        state: JobState,
        kind: Kind,
        message: str,
        got: Refused,
        paid: int,
        permit: Permit | None,
        elapsed_s: float,
    ) -> Recorded:
        """A final row that is not `ok`; what the job may have left in the output directory is removed first."""
        self.output.forget(job.video_id, state.rows)
        return Recorded(
            "final",
            row(
                job,
                kind=kind,
                message=message,
                attempts=max(1, paid),
                cost=got.cost + RequestCost(state.requests, state.bytes),
                metadata=got.metadata,
                transcript=None,
                files={},
                sha256={},
                egress=self.names[permit.egress] if permit else None,
                elapsed_s=elapsed_s,
                finished_at=utc(self.wall()),
            ),
        )
