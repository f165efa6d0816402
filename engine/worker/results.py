"""Handles the result of one attempt: reports it to the budget, publishes or decides, returns the journal line.

It knows no threads, chunks or processes. It is given an output, a budget and the result of a fetch, and returns what
to write into the journal and when the job is due again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.budget import Outcome
from engine.budget.limiter import Budget
from engine.errors import EngineError
from engine.model import (
    CONNECTION_KINDS,
    Failure,
    Fetched,
    Job,
    Kind,
    NotFetched,
    Permit,
    Record,
    RequestCost,
)
from engine.output.ownership import ANOTHER_QUEUE, another_queue_wrote
from engine.output.publisher import TakenError
from engine.output.stores import RecordStore
from engine.queue.job_state import JobState
from engine.queue.journal import row
from engine.queue.segments import Chunk
from engine.storage.timestamps import UTC_FORMAT
from engine.worker.retry_policy import REFUSALS, Circumstances, Finish, Past, RetryLater, decide

_OUTCOME = {
    Kind.BLOCKED: Outcome.BLOCKED,
    Kind.NETWORK: Outcome.NETWORK,
    Kind.PROXY: Outcome.NETWORK,
    Kind.TIMEOUT: Outcome.TIMEOUT,
    Kind.SERVER_ERROR: Outcome.OTHER,
    Kind.GARBLED: Outcome.OTHER,
    Kind.UNKNOWN: Outcome.OTHER,
}


def outcome_of(failure: Failure, *, rotating: bool) -> Outcome:
    """The outcome that a failure means for its egress. Behind a rotating gateway a lost connection is one exit's."""
    if rotating and failure.kind in CONNECTION_KINDS and not (failure.unreached or failure.dead_egress):
        return Outcome.EXIT
    return Outcome.DEAD if failure.dead_egress else _OUTCOME.get(failure.kind, Outcome.OK)


def shows_captions(got: NotFetched) -> bool:
    """Whether captions were listed although none came: in another language, or unreadable ones."""
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
    got: Fetched | NotFetched | Aborted
    began_at: float
    elapsed_s: float
    lost_at: float = 0.0
    suspended: bool = False
    chunk: Chunk | None = None  # the job's


@dataclass(frozen=True, slots=True)
class JournalLine:
    """The journal line that an attempt comes to, and in how many seconds the job is due again (None: final).

    verb      of the line; "" when there is none to write
    lost      the connection was lost, and that was the egress's
    blocked   the egress was blocked
    """

    verb: str
    body: dict[str, Any]
    again_in_s: float | None = None
    lost: bool = False
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class ResultHandler:
    """Concludes the attempts of a worker. `names` are those of the egresses, by index."""

    output: RecordStore
    budget: Budget
    attempts: int
    names: tuple[str, ...]
    rotating: bool = False
    wall: Callable[[], float] = time.time

    def conclude(self, tried: Tried) -> JournalLine | None:
        """Report to the budget, then publish what was fetched or decide what becomes of the job. None: the answer has
        no captions and must be confirmed first; then call `confirmed` or `aborted`."""
        got, job, state = tried.got, tried.job, tried.state
        if not isinstance(got, Fetched):
            return self._without_transcript(tried, got)
        health = self.budget.report(
            tried.permit, Outcome.OK, job=job.video_id, shown_at=tried.began_at, body_bytes=got.cost.bytes
        )
        finished_at = time.strftime(UTC_FORMAT, time.gmtime(self.wall()))
        batch = self.output.batch or None
        record = Record(
            job.video_id, got.metadata, got.transcript, job.input, finished_at, got.transcripts, batch
        )
        try:
            files, sums = self.output.publish(record, state.earlier, tried.chunk)
        except TakenError as exc:
            failure = Failure(Kind.KEPT, self._why_kept(job, exc.path))
            return self._finish(tried, NotFetched(failure, got.cost, got.metadata))
        except (OSError, EngineError, MemoryError):
            raise
        except Exception as exc:  # noqa: BLE001 - one video's odd content must not end the run of the others
            failure = Failure(Kind.UNKNOWN, f"{type(exc).__name__} while its record was made: {exc}"[:300])
            return self._failed(tried, NotFetched(failure, got.cost), Circumstances(health))
        body = row(
            job,
            message=got.note,
            requests=state.requests + got.cost.requests,
            body_bytes=state.bytes + got.cost.bytes,
            attempts=state.charged + 1,
            metadata=got.metadata,
            transcript=got.transcript,
            files=files,
            sha256=sums,
            egress=self.names[tried.permit.egress],
            elapsed_s=tried.elapsed_s,
            finished_at=finished_at,
            way=got.way,
        )
        return JournalLine("final", body)

    def confirmed(self, tried: Tried) -> JournalLine:
        """The end of a job without captions, once its egress has shown captions to others."""
        assert isinstance(tried.got, NotFetched)  # noqa: S101
        return self._finish(tried, tried.got)

    def aborted(self, tried: Tried) -> JournalLine:
        """The job stays what it was. Its journal gets a line with the cost alone, as the requests were sent."""
        self.output.remove(tried.job.video_id, tried.state.earlier)
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
        return JournalLine("try" if tried.got.cost.requests else "", body, again_in_s=0.0)

    def final(
        self,
        job: Job,
        state: JobState,
        got: NotFetched,
        charged: int,
        egress: str | None = None,
        took_s: float = 0.0,
    ) -> JournalLine:
        """A final row that is not `ok`; what the job may have left in the output directory is removed first."""
        self.output.remove(job.video_id, state.earlier)
        body = row(
            job,
            kind=got.failure.kind,
            message=got.failure.message,
            requests=state.requests + got.cost.requests,
            body_bytes=state.bytes + got.cost.bytes,
            attempts=max(1, charged),
            metadata=got.metadata,
            egress=egress,
            elapsed_s=took_s,
            finished_at=time.strftime(UTC_FORMAT, time.gmtime(self.wall())),
            way=got.way,
        )
        return JournalLine("final", body)

    def _without_transcript(self, tried: Tried, got: NotFetched | Aborted) -> JournalLine | None:
        job = tried.job.video_id
        if isinstance(got, Aborted):
            self.budget.report(tried.permit, Outcome.OTHER, job=job, body_bytes=got.cost.bytes)
            return self.aborted(tried)
        shown_at = tried.began_at if shows_captions(got) else 0.0
        outcome = outcome_of(got.failure, rotating=self.rotating)
        # A time guessed from the wording is not used: a control video finds out.
        asked_s = None if got.failure.by_wording else got.failure.retry_after_s
        if outcome is Outcome.BLOCKED and tried.state.refused and asked_s is None:
            outcome = Outcome.VIDEO_BLOCKED  # others passed since: no new evidence against the egress
        health = self.budget.report(
            tried.permit,
            outcome,
            job=job,
            retry_after_s=asked_s,
            shown_at=shown_at,
            body_bytes=got.cost.bytes,
            cause=got.failure.message,
        )
        if got.failure.kind is Kind.NO_CAPTIONS:
            return None
        return self._failed(tried, got, Circumstances(health, outcome is Outcome.EXIT, tried.suspended))

    def _why_kept(self, job: Job, path: str) -> str:
        if another_queue_wrote(self.output.root, job.video_id, self.output.batch):
            return (
                f"{path} {ANOTHER_QUEUE} and stays: `engine run --replace` fetches and replaces it; a new queue "
                "with another -o keeps both"
            )
        return (
            f"{path} was not written by this queue and stays: move it away, then `engine retry --kind kept`; "
            "or `engine run --replace`, which overwrites it"
        )

    def _failed(self, tried: Tried, got: NotFetched, circumstances: Circumstances) -> JournalLine:
        state, failure = tried.state, got.failure
        past = Past(state.charged, state.tries, state.refused, state.refusals, tried.lost_at)
        decided = decide(failure, past, circumstances, self.attempts)
        if isinstance(decided, Finish):
            if decided.kind is Kind.BLOCKED:
                often = Failure(Kind.BLOCKED, f"refused {REFUSALS} times while other videos passed")
                got = NotFetched(often, got.cost, got.metadata)
            return self._finish(tried, got)
        lost = failure.kind in CONNECTION_KINDS and not decided.charged
        blocked = failure.kind is Kind.BLOCKED
        return JournalLine("try", self._try(tried, got, decided), decided.wait_s, lost, blocked)

    def _finish(self, tried: Tried, got: NotFetched) -> JournalLine:
        charged = tried.state.charged + (got.failure.kind is not Kind.BLOCKED)
        egress = self.names[tried.permit.egress]
        return self.final(tried.job, tried.state, got, charged, egress, tried.elapsed_s)

    def _try(self, tried: Tried, got: NotFetched, decided: RetryLater) -> dict[str, Any]:
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
