"""The state of a chunk's jobs, computed from its journal.

    line ──seed──> PENDING ──attempt──> in flight ──finish──> ok · absent · failed
                      ^                     │                        │
          time passed │                     │ may pass               │ reopen (retry; a row whose
                      └───── DEFERRED <─────┘                        │ files a power cut took)
                      ^                                              │
                      └──────────────────────────────────────────────┘
                                        a crash writes nothing: the job is still what it was

A job's state is its last `final` after its last `reopen`; otherwise it is due when its `not_before` is past
(or further ahead than any wait this engine sets: then the clock jumped). Pure: values in, values out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.model import CONNECTION_KINDS
from engine.queue.journal import JournalEntry

CLOCK_JUMP_S = 1800.0  # twice the longest wait (`engine.worker.retry_policy.LONG_WAIT_S`)


def is_due(not_before: float, now: float) -> bool:
    """Whether a wait is over. One further ahead than any this engine sets says that the clock jumped."""
    return not_before <= now or not_before > now + CLOCK_JUMP_S


class Death(NamedTuple):
    """A process died with the job in flight. `alone`: nothing else was in flight there. `sure` is true when
    nothing hinted at a killer from outside. It is not used any more."""

    alone: bool
    sure: bool


@dataclass(slots=True)
class JobState:
    """What the journal says of one job."""

    final: dict[str, Any] | None = None
    final_end: int = 0  # offset behind its final line
    final_raw: bytes = b""  # the row as it was written
    earlier: tuple[dict[str, Any], ...] = ()  # rows that named files and were reopened since, oldest first
    not_before: float = 0.0  # wall clock
    why: str | None = None  # the kind of the failure it waits after
    tries: int = 0
    charged: int = 0  # attempts that count
    refused: bool = False  # whether it was ever blocked
    refusals: int = 0  # how often it was blocked while others passed
    failed_by: str | None = None  # the egress whose connection failed or hung at the last attempt
    deaths: dict[str, Death] = field(default_factory=dict)  # by the worker that died with it
    requests: int = 0
    bytes: int = 0

    def due(self, now: float) -> bool:
        """Whether an open job may start."""
        return is_due(self.not_before, now)

    def reopened(self) -> JobState:
        """An open job with a clean slate; what it has cost, and which files it had, stays."""
        return JobState(requests=self.requests, bytes=self.bytes, earlier=self.rows)

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The rows of this job that name files: what it may have in the output directory."""
        last = (self.final,) if self.final is not None and self.final.get("files") else ()
        return (*self.earlier, *last)


@dataclass(slots=True)
class ChunkState:
    """What the journal says of a chunk. Jobs without a line are missing here: they are pending."""

    jobs: dict[str, JobState] = field(default_factory=dict)
    synced_end: int = 0  # everything before this offset is durable
    end: int = 0

    def job(self, video_id: str) -> JobState:
        state = self.jobs.get(video_id)
        if state is None:
            state = self.jobs[video_id] = JobState()
        return state

    def finals(self) -> int:
        return sum(1 for state in self.jobs.values() if state.final is not None)

    def unsynced_finals(self) -> list[str]:
        """Jobs whose final no `synced` covers: to be believed only after their files were looked at."""
        return [
            video_id
            for video_id, state in self.jobs.items()
            if state.final is not None and state.final_end > self.synced_end
        ]

    def deferred(self, now: float) -> int:
        """How many open jobs wait for a time."""
        return sum(1 for state in self.jobs.values() if state.final is None and not state.due(now))

    def apply(self, entry: JournalEntry) -> None:
        """Take one more line into account."""
        verb, body = entry.verb, entry.body
        self.end = entry.end
        if verb == "synced":
            self.synced_end = max(self.synced_end, min(int(_number(body.get("end"))), entry.end))
            return
        video_id = body.get("video_id" if verb == "final" else "job")
        if not isinstance(video_id, str):
            return
        state = self.job(video_id)
        if verb == "final":
            if state.final is None:  # a second final without a reopen would be a second row
                state.final, state.final_end, state.final_raw = body, entry.end, entry.raw
        elif verb == "reopen":
            self.jobs[video_id] = state.reopened()
        elif verb == "died":
            state.deaths[str(body.get("worker"))] = Death(body.get("alone") is True, body.get("sure") is True)
        elif verb == "try":
            state.requests += int(_number(body.get("requests")))
            state.bytes += int(_number(body.get("bytes")))
            if body.get("gave_way") is True:
                return
            state.tries += 1
            state.deaths.clear()  # it survived an attempt, so something else killed those processes
            state.not_before = _number(body.get("not_before"))
            kind = body.get("kind")
            state.why = kind if isinstance(kind, str) else None
            egress = body.get("egress") if state.why in CONNECTION_KINDS else None  # another may do better
            state.failed_by = egress if isinstance(egress, str) else None
            state.charged += bool(body.get("charged"))
            state.refused = state.refused or kind == "blocked"
            state.refusals += body.get("others_passed") is True


def fold(entries: Iterable[JournalEntry], into: ChunkState | None = None) -> ChunkState:
    """The state of a chunk from its journal's good lines, oldest first."""
    state = into if into is not None else ChunkState()
    for entry in entries:
        state.apply(entry)
    return state


def _number(value: object) -> float:
    """A finite number, or 0: a line may be whole and yet hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0
