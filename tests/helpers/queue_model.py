"""A model of the queue: seed, gather, claim, settle, die, recover, retry in any order, against a truth in memory.

The machine drives real files by the engine's own code; the truth is a dictionary: each seeded job, and how it
ended or that it is open. It is told of what was done, never of what the files say. After every step the two agree.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import recount
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import Crash, Hand, Outcome, add, dying_at, file_rows, ids, output_of, reclaim

from engine import verify
from engine.model import Kind
from engine.monitor import status
from engine.output import destination
from engine.output.publisher import sweep
from engine.queue import dead_workers, gathering, joined_segment, journal
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.job_state import fold
from engine.queue.making import make_queue
from engine.queue.segments import Chunk, read_jobs
from engine.recovery import requeue
from engine.recovery.startup import recover
from engine.seeding import seed as seeding
from engine.storage import disk

CHUNK = 4
LONG_S = 900.0
# A number: it waits so long.
ENDS: tuple[Outcome, ...] = ("ok", Kind.NETWORK, Kind.PRIVATE, LONG_S, -1.0)


@dataclass
class Truth:
    """One job: how it ended (None: it is open), and how often it was tried without an end."""

    end: str | None = None
    tries: int = 0


def kind_of(outcome: Outcome) -> str:
    return "ok" if outcome == "ok" else str(outcome)


class QueueModel(RuleBasedStateMachine):
    """One queue, at most one worker at a time alive, any number dead."""

    def __init__(self) -> None:
        super().__init__()
        self.room = tempfile.TemporaryDirectory(prefix="engine-model-")
        self.patches = [
            patch.object(disk, "_fsync", lambda fd: None),
            patch.object(disk, "_fdatasync", lambda fd: None),
            patch.object(seeding, "chunk_size", lambda jobs, cores: CHUNK),
            patch.object(joined_segment, "chunk_size", lambda jobs, cores: CHUNK),
            patch.object(gathering, "MANY", 2),  # segments are gathered all the time
        ]
        for patched in self.patches:
            patched.start()
        root = Path(self.room.name)
        self.queue: Queue = make_queue(str(root / "queue"))
        os.makedirs(root / "out")
        frozen = {"output": str(root / "out"), "languages": ["en"], "formats": ["md"]}
        destination.claim(self.queue, str(root / "out"))
        self.queue.write_batch({**self.queue.read_batch(), "frozen": frozen})
        self.out = root / "out"
        self.truth: dict[str, Truth] = {}
        self.hand: Hand | None = None
        self.held: list[Chunk] = []
        self.deaths = 0

    # ---- seeding ----------------------------------------------------------------------------------------
    @initialize(count=st.integers(1, 10))
    def begin(self, count: int) -> None:
        self.seed(0, count)

    @rule(start=st.integers(0, 24), count=st.integers(1, 9))
    def seed(self, start: int, count: int) -> None:
        add(self.queue, ids(count, start))
        for name in ids(count, start):
            self.truth.setdefault(name, Truth())

    @rule(start=st.integers(0, 24), count=st.integers(1, 9), step=st.integers(0, 40), torn=st.booleans())
    def seed_and_die(self, start: int, count: int, step: int, torn: bool) -> None:
        """Cut off anywhere; the next seeding does the rest."""
        self._dies(lambda: add(self.queue, ids(count, start)), step, torn)
        self.seed(start, count)

    # ---- a worker ---------------------------------------------------------------------------------------
    @precondition(lambda self: self.hand is None)
    @rule()
    def start(self) -> None:
        self.hand = Hand(self.queue)

    @precondition(lambda self: self.hand is not None)
    @rule()
    def take(self) -> None:
        assert self.hand is not None
        chunk = self.hand.worker.claim(time.time())
        if chunk is not None:
            self.held.append(chunk)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), sync=st.booleans(), step=st.none() | st.integers(0, 25), torn=st.booleans())
    def settle(self, data: st.DataObject, sync: bool, step: int | None, torn: bool) -> None:
        """Settle or defer the open jobs of a chunk and let go of it; with a `step` it dies on the way."""
        hand, chunk = self.hand, self.held[0]
        assert hand is not None
        due = self._due(chunk)
        ends = {name: data.draw(st.sampled_from(ENDS)) for name in due}
        hand.decide = ends.__getitem__
        if step is None:
            self.held.pop(0)
            hand.chunk(chunk)
            self._ended(ends)
            return
        if self._dies(lambda: hand.chunk(chunk, sync=sync), step, torn):
            self._partly(chunk, ends)
            self._gone()
        else:
            self.held.pop(0)
            self._ended(ends)

    @precondition(lambda self: self.held)
    @rule()
    def give_back(self) -> None:
        """A drain: what was claimed and not begun goes back."""
        assert self.hand is not None
        chunk = self.held.pop()
        touched = next(iter(journal.lines(self.queue.journal(chunk))), None) is not None
        self.hand.worker.give_back(chunk, 0.0 if touched else None)

    @precondition(lambda self: self.hand is not None and not self.held)
    @rule()
    def stop(self) -> None:
        assert self.hand is not None
        self.hand.close()
        self.hand = None

    @precondition(lambda self: self.hand is not None)
    @rule(busy=st.booleans(), recorded=st.booleans())
    def die(self, busy: bool, recorded: bool) -> None:
        """Killed, perhaps with a job in flight, perhaps with a supervisor that saw it."""
        assert self.hand is not None
        expected = None
        if busy and self.held:
            due = self._due(self.held[0])
            if due:
                self.hand.worker.begin(0, self.held[0].name, due[0])
                expected = (self.held[0], due[0])
        worker_id = self.hand.worker.id
        self._gone()
        if recorded:
            dead_workers.record_death(self.queue, worker_id)
            reclaim(self.queue)
            if expected is not None:
                state = fold(journal.lines(self.queue.journal(expected[0]))).jobs[expected[1]]
                assert worker_id in state.deaths, "a death that nobody wrote down"

    @precondition(lambda self: self.hand is None)
    @rule(chunks=st.integers(1, 4), ends=st.lists(st.sampled_from(ENDS), min_size=CHUNK, max_size=CHUNK))
    def lap(self, chunks: int, ends: list[Outcome]) -> None:
        """An undisturbed lap, and its rows filed."""
        self.hand = hand = Hand(self.queue)
        for _ in range(chunks):
            chunk = hand.worker.claim(time.time())
            if chunk is not None:
                decided = dict(zip(self._due(chunk), ends, strict=False))
                hand.decide = decided.__getitem__
                hand.chunk(chunk)
                self._ended(decided)
        self.stop()
        file_rows(self.queue)

    # ---- monitor, recovery, retry -----------------------------------------------------------------------
    @rule(step=st.none() | st.integers(0, 14), torn=st.booleans())
    def file(self, step: int | None, torn: bool) -> None:
        self._dies(lambda: file_rows(self.queue), step, torn)

    @rule(step=st.none() | st.integers(0, 25))
    def take_over(self, step: int | None) -> None:
        """Dead workers' chunks become free."""
        if self._dies(lambda: reclaim(self.queue), step):
            return
        alive = {self.hand.worker.id} if self.hand else set()
        assert set(worker_ids(self.queue)) == alive

    @precondition(lambda self: self.hand is None)
    @rule(step=st.none() | st.integers(0, 15), lost=st.none() | st.integers(0, 50))
    def restart(self, step: int | None, lost: int | None) -> None:
        """A new run begins, perhaps after a power cut that lost a token's rename."""
        if lost is not None:
            there = [*self._tokens().items()]
            if there:
                os.unlink(there[lost % len(there)][1][0])
        if self._dies(lambda: recover(self.queue), step):
            recover(self.queue)

    @precondition(lambda self: self.hand is None)
    @rule(absent=st.booleans(), step=st.none() | st.integers(0, 40), torn=st.booleans())
    def put_back(self, absent: bool, step: int | None, torn: bool) -> None:
        """`engine retry`; one that was cut off is finished by the next start."""
        wanted = {
            name
            for name, expected in self.truth.items()
            if expected.end in (Kind.NETWORK, *((Kind.PRIVATE,) if absent else ()))
        }
        if step is None:
            assert requeue.retry(self.queue, absent=absent) == len(wanted)
        else:
            self._dies(lambda: requeue.retry(self.queue, absent=absent), step, torn)
            began = os.path.exists(self.queue.retry)
            recover(self.queue)
            if not began and self._really_open(wanted) != wanted:
                return
        for name in wanted:
            self.truth[name].end = None

    # ---- what must hold ---------------------------------------------------------------------------------
    @invariant()
    def each_chunk_in_one_place(self) -> None:
        if os.path.exists(self.queue.gathering):
            return  # somebody died over it, and some segments are there twice until the next comes
        for chunk, paths in self._tokens().items():
            assert len(paths) == 1, (chunk, paths)
        jobs = sum(chunk.jobs for chunk in self._tokens())
        assert jobs == len(self.truth) == len(recount.seeded(Path(self.queue.root)))

    @invariant()
    def status_counts_the_truth(self) -> None:
        value = status.collect(self.queue.root)
        ends = Counter(expected.end for expected in self.truth.values())
        assert (value["total"], value["ok"], value["absent"], value["failed"]) == (
            len(self.truth), ends["ok"], ends[Kind.PRIVATE], ends[Kind.NETWORK]
        )  # fmt: skip
        assert value["pending"] + value["deferred"] == ends[None]

    @invariant()
    def the_manifest_holds_ends_and_nothing_twice(self) -> None:
        try:
            length = json.loads(Path(self.queue.checkpoint).read_bytes())["length"]
            data = Path(self.queue.manifest).read_bytes()[:length]
        except FileNotFoundError:
            return
        assert len(data) == length
        rows = recount.by_id([json.loads(line) for line in data.splitlines()])
        for name, row in rows.items():
            assert self.truth[name].end == (row["kind"] or "ok"), name

    def teardown(self) -> None:
        """Whatever happened, the next run ends it."""
        try:
            if self.truth:
                self._finish()
        finally:
            for patched in self.patches:
                patched.stop()
            self.room.cleanup()

    def _finish(self) -> None:
        if self.hand is not None:
            self._gone()
        sweep(output_of(self.queue))
        recover(self.queue)
        for _ in range(5):
            for _, chunk, name in deferred_chunks(self.queue):
                path = os.path.join(self.queue.deferred, name)
                os.rename(path, os.path.join(self.queue.deferred, f"{0:010d}~{chunk.name}"))
            reclaim(self.queue)
            later = time.time() + 2 * LONG_S
            with patch.object(time, "time", lambda later=later: later):
                hand = Hand(self.queue)
                hand.work()
                hand.close()
            file_rows(self.queue)
        for expected in self.truth.values():
            expected.end = expected.end or "ok"
        assert status.finished(self.queue)
        sweep(output_of(self.queue))
        found = verify.audit(self.queue.root)
        assert found.problems == []
        assert not os.path.exists(self.queue.gathering)
        rows = recount.by_id(recount.manifest(Path(self.queue.root)))
        assert {name: row["kind"] or "ok" for name, row in rows.items()} == {
            name: expected.end for name, expected in self.truth.items()
        }
        recount.check_files(Path(self.queue.root), self.out)

    # ---- helpers ----------------------------------------------------------------------------------------
    def _ended(self, ends: dict[str, Any]) -> None:
        for name, outcome in ends.items():
            if isinstance(outcome, float):
                self.truth[name].tries += 1
            else:
                self.truth[name].end = kind_of(outcome)

    def _partly(self, chunk: Chunk, ends: dict[str, Any]) -> None:
        """Of a step that was cut off: jobs are settled in order, so those that ended are the first of them."""
        state = fold(journal.lines(self.queue.journal(chunk)))
        cut_off = False
        for name, outcome in ends.items():
            job_state = state.jobs.get(name)
            if isinstance(outcome, float):
                continue
            over = job_state is not None and job_state.final is not None
            assert not (cut_off and over), "a later job ended before an earlier one"
            cut_off = cut_off or not over
            if over:
                self.truth[name].end = kind_of(outcome)

    def _gone(self) -> None:
        assert self.hand is not None
        self.hand.die()
        self.hand, self.held = None, []
        self.deaths += 1

    def _due(self, chunk: Chunk) -> list[str]:
        state = fold(journal.lines(self.queue.journal(chunk)))
        names = [job.video_id for job in read_jobs(self.queue.segment(chunk.segment), chunk)]
        open_names = [name for name in names if self.truth[name].end is None]
        return [name for name in open_names if name not in state.jobs or state.jobs[name].due(time.time())]

    def _really_open(self, names: set[str]) -> set[str]:
        final = recount.folded(Path(self.queue.root))  # a job may have been final and reopened more than once
        return {name for name in names if name not in final}

    def _tokens(self) -> dict[Chunk, list[str]]:
        found: dict[Chunk, list[str]] = {}
        for segment in self.queue.segments():
            for path in (self.queue.pending(segment), self.queue.done(segment), self.queue.filed(segment)):
                for chunk in chunks_in(path, segment):
                    found.setdefault(chunk, []).append(os.path.join(path, chunk.token))
        for _, chunk, name in deferred_chunks(self.queue):
            found.setdefault(chunk, []).append(os.path.join(self.queue.deferred, name))
        for worker_id in worker_ids(self.queue):
            path = os.path.join(self.queue.workers, worker_id)
            for chunk in chunks_in(path):
                found.setdefault(chunk, []).append(os.path.join(path, chunk.name))
        return found

    def _dies(self, act: Callable[[], object], step: int | None, torn: bool = False) -> bool:
        """Do it, and with a `step` die there on the way; whether it came to that. Its locks go with it."""
        try:
            with dying_at(1 << 30 if step is None else step, torn=torn):
                act()
        except Crash:
            self.deaths += 1
            return True
        return False
