"""What one attempt comes to: told to the budget, published or decided on, and returned as a value for the journal.

What it does not know: threads, chunks, processes. It is given an output, a budget and what the fetch came to, and
answers with what to write into the journal and when the job comes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from engine.budget import EgressHealth, Outcome
from engine.model import Failure, Fetched, Job, Kind, Permit, Record, Refused, RequestCost
from engine.output.ownership import another_queue_wrote
from engine.output.publisher import Output, TakenError
from engine.queue.job_state import JobState
from engine.queue.manifest import row
from engine.storage.timestamps import utc
from engine.worker.retry_policy import (
    ON_THE_WAY,
    REFUSALS,
    Circumstances,
    Finish,
    Past,
    RetryLater,
    decide,
)

_OUTCOME = {
    Kind.BLOCKED: Outcome.BLOCKED,
    Kind.NETWORK: Outcome.NETWORK,
    Kind.PROXY: Outcome.NETWORK,
    Kind.TIMEOUT: Outcome.TIMEOUT,
    Kind.SERVER_ERROR: Outcome.OTHER,
    Kind.GARBLED: Outcome.OTHER,
    Kind.UNKNOWN: Outcome.OTHER,
}


class Judge(Protocol):
    """The part of the budget that an attempt reports to."""

    def report(
        self,
        permit: Permit,
        outcome: Outcome,
        *,
        job: str,
        retry_after_s: float | None = None,
        shown_at: float = 0.0,
        body_bytes: int = 0,
    ) -> EgressHealth: ...


def outcome_of(failure: Failure, *, rotating: bool) -> Outcome:
    """What a failure says of its egress. Behind a rotating gateway a lost connection is one exit's."""
    if rotating and failure.kind in ON_THE_WAY and not (failure.unreached or failure.dead_egress):
        return Outcome.EXIT
    return Outcome.DEAD if failure.dead_egress else _OUTCOME.get(failure.kind, Outcome.OK)


def shows_captions(got: Refused) -> bool:
    """Whether captions were listed all the same: in another language, or such as could not be read."""
    return got.failure.kind is Kind.NO_LANGUAGE or (
        got.captions_listed and got.failure.kind is not Kind.NO_CAPTIONS
    )


@dataclass(frozen=True, slots=True)
class Aborted:
    """An attempt that was cut short, because its egress was blocked between two requests or the run ends. Not
    charged."""

    cost: RequestCost


@dataclass(frozen=True, slots=True)
class Tried:
    """What the fetch of a job came to, by the permit of its last request.

    `began_at` on the monotonic clock; `lost_at` as in `retry_policy.Past`; `suspended`: the machine was, meanwhile.
    """

    job: Job
    state: JobState
    permit: Permit
    got: Fetched | Refused | Aborted
    began_at: float
    elapsed_s: float
    lost_at: float = 0.0
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What an attempt comes to: one journal line, and in how many seconds the job is due again (None: final).

    verb      of the line; "" when there is none to write
    lost      the connection was lost, and that was the egress's
    """

    verb: str
    body: dict[str, Any]
    again_in_s: float | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Attempts:
    """What all attempts of a worker share."""

    output: Output
    judge: Judge
    attempts: int
    names: tuple[str, ...]  # of the egresses, by index
    rotating: bool = False
    wall: Callable[[], float] = time.time

    def conclude(self, tried: Tried) -> Decision | None:
        """Tell the budget, then publish what was fetched or decide what becomes of the job. None: it came without
        captions, and that has to be confirmed before anything is decided (`confirmed`, or `aborted`)."""
        got, job = tried.got, tried.job.video_id
        if isinstance(got, Aborted):
            self.judge.report(tried.permit, Outcome.OTHER, job=job, body_bytes=got.cost.bytes)
            return self.aborted(tried)
        if isinstance(got, Fetched):
            self.judge.report(
                tried.permit, Outcome.OK, job=job, shown_at=tried.began_at, body_bytes=got.cost.bytes
            )
            return self._fetched(tried, got)
        shown_at = tried.began_at if shows_captions(got) else 0.0
        outcome = outcome_of(got.failure, rotating=self.rotating)
        asked_s = (
            None if got.failure.by_wording else got.failure.retry_after_s
        )  # a control video tells what it means
        if outcome is Outcome.BLOCKED and tried.state.refused and asked_s is None:
            outcome = Outcome.VIDEO_BLOCKED  # others passed since: no new evidence against the egress
        health = self.judge.report(
            tried.permit,
            outcome,
            job=job,
            retry_after_s=asked_s,
            shown_at=shown_at,
            body_bytes=got.cost.bytes,
        )
        if got.failure.kind is Kind.NO_CAPTIONS:
            return None
        return self._failed(tried, got, Circumstances(health, outcome is Outcome.EXIT, tried.suspended))

    def confirmed(self, tried: Tried) -> Decision:
        """The end of a job without captions, once its egress has shown captions to others."""
        assert isinstance(tried.got, Refused)  # noqa: S101
        return self._finish(tried, tried.got)

    def aborted(self, tried: Tried) -> Decision:
        """The job stays what it was. Its journal gets a line with the cost alone, as the requests were sent."""
        self.output.forget(tried.job.video_id, tried.state.rows)
        body = {
            "job": tried.job.video_id,
            "n": tried.state.charged,
            "kind": None,
            "gave_way": True,
            "not_before": 0.0,
            "charged": False,
            "requests": tried.got.cost.requests,
            "bytes": tried.got.cost.bytes,
            "egress": self.names[tried.permit.egress],
        }
        return Decision("try" if tried.got.cost.requests else "", body, again_in_s=0.0)

    def final(self, job: Job, state: JobState, got: Refused, charged: int, **details: Any) -> Decision:
        """A final row that is not `ok`; what the job may have left in the output directory is removed first.
        `details` are the row's `egress` and `elapsed_s`."""
        self.output.forget(job.video_id, state.rows)
        return Decision(
            "final",
            row(
                job,
                kind=got.failure.kind,
                message=got.failure.message,
                attempts=max(1, charged),
                cost=got.cost + RequestCost(state.requests, state.bytes),
                metadata=got.metadata,
                transcript=None,
                files={},
                sha256={},
                finished_at=utc(self.wall()),
                **{"egress": None, "elapsed_s": 0.0, **details},
            ),
        )

    def _fetched(self, tried: Tried, got: Fetched) -> Decision:
        job, state, now = tried.job, tried.state, utc(self.wall())
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
            failure = Failure(Kind.KEPT, self._why_kept(job, exc.path))
            return self._finish(tried, Refused(failure, got.cost, got.metadata))
        return Decision(
            "final",
            row(
                job,
                kind=None,
                message=None,
                attempts=state.charged + 1,
                cost=got.cost + RequestCost(state.requests, state.bytes),
                metadata=got.metadata,
                transcript=got.transcript,
                files=files,
                sha256=sums,
                egress=self.names[tried.permit.egress],
                elapsed_s=tried.elapsed_s,
                finished_at=now,
            ),
        )

    def _why_kept(self, job: Job, path: str) -> str:
        if another_queue_wrote(self.output.root, job.video_id, self.output.batch):
            return (
                f"{path} was written by another queue and stays: the transcript is there, there is nothing to do. "
                "For a copy of your own, fetch it in a new queue with another -o"
            )
        return (
            f"{path} was not written by this queue and stays: move it away, then `engine retry --kind kept`; "
            "or `engine run --replace`, which overwrites it"
        )

    def _failed(self, tried: Tried, got: Refused, circumstances: Circumstances) -> Decision:
        state, failure = tried.state, got.failure
        past = Past(state.charged, state.tries, state.refused, state.refusals, tried.lost_at)
        decided = decide(failure, past, circumstances, self.attempts)
        if isinstance(decided, Finish):
            if decided.kind is Kind.BLOCKED:
                often = Failure(Kind.BLOCKED, f"refused {REFUSALS} times while other videos passed")
                got = Refused(often, got.cost, got.metadata)
            return self._finish(tried, got)
        lost = failure.kind in ON_THE_WAY and not decided.charged
        return Decision("try", self._try(tried, got, decided), decided.wait_s, lost)

    def _finish(self, tried: Tried, got: Refused) -> Decision:
        charged = tried.state.charged + (got.failure.kind is not Kind.BLOCKED)
        egress = self.names[tried.permit.egress]
        return self.final(tried.job, tried.state, got, charged, egress=egress, elapsed_s=tried.elapsed_s)

    def _try(self, tried: Tried, got: Refused, decided: RetryLater) -> dict[str, Any]:
        body = {
            "job": tried.job.video_id,
            "n": tried.state.charged + decided.charged,
            "kind": got.failure.kind,
            "message": got.failure.message,
            "not_before": round(self.wall() + decided.wait_s, 3),
            "charged": decided.charged,
            "requests": got.cost.requests,
            "bytes": got.cost.bytes,
            "egress": self.names[tried.permit.egress],
        }
        return body | ({"others_passed": True} if decided.others_passed else {})
