"""The chunks that a worker process holds: claimed, opened, written to, made durable, handed on.

Order: the names of output files are durable, then the journal is, then a `synced` line says so, and only then a
chunk's token moves. One thread at a time writes lines. After a failed write no line follows.
"""

from __future__ import annotations

import threading
import time

from engine.model import Failure, Job, Kind, NotFetched, RequestCost
from engine.output import publisher
from engine.queue import claims
from engine.queue.job_state import ChunkState, JobState, fold
from engine.queue.journal import Journal, JournalEntry, lines
from engine.queue.segments import Chunk, read_jobs
from engine.settings import Settings
from engine.worker.results import JournalLine, ResultHandler
from engine.worker.retry_policy import is_poison
from engine.worker.scheduler import PARK_S
from engine.worker.work import Item, OpenChunk, Work

Waiting = list[tuple[Item, float]]  # the jobs of a chunk that can wait here, and for how many seconds


class HeldChunks:
    """The chunks in one worker's directory. `worker` is that directory, `results` makes the rows."""

    def __init__(self, settings: Settings, worker: claims.Worker, results: ResultHandler) -> None:
        self._queue = worker.queue
        self._output_root = settings.frozen.output
        self._worker = worker
        self._results = results
        self._output = results.output
        self._lock = threading.Lock()  # of all journals
        self.error: BaseException | None = None  # what ended this process's work: no line is written after it

    def claim(self) -> tuple[OpenChunk, Waiting] | None:
        """Claim a chunk and open it; None when there is none to claim."""
        chunk = self._worker.claim(time.time())
        return self.open(chunk) if chunk is not None else None

    def record(self, work: Work, line: JournalLine | None) -> None:
        """Write the line, then clear the thread's slot in `inflight`. A crash between the two leaves both.

        None: the answer is unconfirmed, and has no line yet.
        """
        if line is not None:
            self.write(work.item.home, line)
        self._worker.end(work.thread)

    def write(self, home: OpenChunk, line: JournalLine) -> None:
        """Write a line into the chunk's journal. One without a verb is not written."""
        if not line.verb:
            return
        with self._lock:
            if self.error is not None:  # a thread met a failing disk: no line follows
                raise self.error
            end = home.journal.write(line.verb, line.body)
            home.state.apply(JournalEntry(line.verb, line.body, end, b""))

    def fail(self, exc: BaseException) -> None:
        """Write nothing more. A line that is being written is finished first."""
        self.error = self.error or exc
        with self._lock:
            pass

    def sync(self, homes: list[OpenChunk]) -> None:
        """Make the names of outputs and the journals durable, and say so in the journals."""
        with self._lock:
            ends = [(home, home.journal.end) for home in homes if home.journal.end > home.synced_end]
        self._output.sync(self._output.touched())  # asked for after the lines that name these files
        for home, _ in ends:
            home.journal.sync()
        with self._lock:
            for home, end in ends:
                if self.error is not None:
                    raise self.error
                grown = home.journal.end > end  # this line does not cover lines written meanwhile
                home.journal.write("synced", {"end": end})
                home.synced_end = end if grown else home.journal.end
                home.state.synced_end = end

    def let_go(self, homes: list[OpenChunk]) -> None:
        """Hand on chunks that are finished or can only wait. They must be synced."""
        for home in homes:
            home.journal.close()
            self._output.close_chunk(home.chunk)
            if not (home.here or home.away):
                self._worker.finish(home.chunk)
            else:
                self._worker.give_back(home.chunk, _earliest(home))

    def open(self, chunk: Chunk) -> tuple[OpenChunk, Waiting]:
        """Open a chunk that was claimed; what a dead owner left unconfirmed is checked first."""
        journal = Journal(self._queue.journal(chunk))
        state = fold(lines(journal.path))
        journal.write_again(state.synced_end)  # an fsync over it may have failed
        home = OpenChunk(chunk, journal, state, synced_end=state.synced_end, name=chunk.name)
        self._check_outputs(home)
        self._output.open_chunk(chunk, state)
        return home, self._sort(home, time.time())

    def _check_outputs(self, home: OpenChunk) -> None:
        """Reopen jobs whose row no `synced` covers and whose files are not what that row says."""
        for video_id in home.state.unsynced_finals():
            row = home.state.jobs[video_id].final or {}
            if row.get("status") != "ok":
                continue
            if publisher.intact(self._output_root, row):
                self._output.touch(
                    video_id, row["files"]
                )  # their publisher may have died before it synced the names
            else:
                why = "its files are gone or not what the row says"
                self.write(home, JournalLine("reopen", {"job": video_id, "why": why}))

    def _sort(self, home: OpenChunk, now: float) -> Waiting:
        """Count a chunk's open jobs; return those that are due or will be soon."""
        found: Waiting = []
        for job in read_jobs(self._queue.segment(home.chunk.segment), home.chunk):
            state = home.state.job(job.video_id)
            if state.final is not None:
                continue
            wait_s = 0.0 if state.due(now) else state.not_before - now
            if is_poison(state.deaths.values()):
                self.write(home, self._poison(job, state))
            elif wait_s <= PARK_S:
                home.here += 1
                found.append((Item(home, job, state), wait_s))
            else:
                home.away[job.video_id] = state.not_before
        return found

    def _poison(self, job: Job, state: JobState) -> JournalLine:
        """The row of a job that kills its process."""
        deaths = len(state.deaths)
        failure = Failure(Kind.POISON, f"its process died {deaths} times while it was in flight")
        return self._results.final(job, state, NotFetched(failure, RequestCost()), deaths)


def _earliest(home: OpenChunk) -> float | None:
    """When the first open job of a chunk is due; None when nothing has happened to the chunk."""
    if not home.journal.end:
        return None
    if home.here:
        return _first_wait(home.state, home.here + len(home.away))
    return min(home.away.values())


def _first_wait(state: ChunkState, count: int) -> float:
    """When the first of `count` open jobs is due, 0 when one of them is due now."""
    now = time.time()
    waits = [job.not_before for job in state.jobs.values() if job.final is None and not job.due(now)]
    return min(waits) if len(waits) == count else 0.0
