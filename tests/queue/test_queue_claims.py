"""Claims: every chunk to exactly one worker, and from a dead one to the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import OK, Crash, Hand, add, batch, dying_at, finish, ids, states

from engine import verify
from engine.queue import claims, dead_workers
from engine.queue.directory import Queue, chunks_in, deferred_chunks
from engine.queue.job_state import Death
from engine.queue.segments import Chunk, read_jobs, split_chunks

pytestmark = pytest.mark.usefixtures("no_fsync")

CLAIMER = """
import sys, time
from engine.queue import claims as claim
from engine.queue.directory import Queue
from engine.queue.journal import Journal
queue = Queue(sys.argv[1])
worker = claim.Worker(queue, sys.argv[2], 1)
print("ready", flush=True)
sys.stdin.readline()
while (chunk := worker.claim(time.time())) is not None:
    print(chunk.name, flush=True)
    if len(sys.argv) > 3:
        book = Journal(queue.journal(chunk))
        book.write("try", {"job": sys.argv[3], "not_before": 0})
        worker.begin(0, chunk.name, sys.argv[3])
        print("holding", flush=True)
        sys.stdin.read()
print("", flush=True)
sys.stdin.read()
"""


def forgotten(queue: Queue, run: str = "other") -> tuple[int, list[str]]:
    names: list[str] = []
    return dead_workers.reclaim(queue, run, lambda name, rows, since: names.append(name)), names


@contextmanager
def claimer(queue: Queue, worker_id: str, job: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that claims; with `job` it holds its first chunk, that job in flight."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, queue.root, worker_id, *([job] if job else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _holding(process: subprocess.Popen[str]) -> Chunk:
    _go(process)
    assert process.stdout is not None
    chunk = Chunk.parse(process.stdout.readline().strip())
    assert chunk is not None
    assert process.stdout.readline() == "holding\n"
    return chunk


def test_in_order_and_every_chunk_once(tmp_path: Path) -> None:
    queue = batch(tmp_path, 80, segments=2)
    worker = claims.Worker(queue, "run.0.0", 1)
    claimed = list(iter(lambda: worker.claim(0.0), None))
    assert claimed == [chunk for segment in range(2) for chunk in split_chunks(queue.segment(segment))]
    assert chunks_in(worker.dir) == claimed


def test_due_deferrals_come_first_and_others_wait(tmp_path: Path) -> None:
    queue = batch(tmp_path, 64)
    worker = claims.Worker(queue, "run.0.0", 1)
    now = time.time()
    a, b, c = (worker.claim(now) for _ in range(3))
    assert a is not None and b is not None and c is not None
    worker.give_back(a, now + 100)
    worker.give_back(b, now - 100)
    worker.give_back(c, None)
    assert worker.claim(now) == b
    assert worker.claim(now) == list(split_chunks(queue.segment(0)))[3]
    assert worker.claim(now) == c
    assert worker.claim(now) is None
    assert worker.claim(now + 101) == a
    worker.give_back(a, now + 100)
    assert worker.claim(now - 7 * 3600) == a  # the clock was set back: nobody waits for seven hours


def test_leaving_in_good_order_leaves_nothing(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue)
    hand.work()
    hand.close()
    assert os.listdir(queue.workers) == os.listdir(queue.tmp) == []
    assert forgotten(queue) == (0, [])


def test_times_are_never_early(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    worker = claims.Worker(queue, "run.0.0", 1)
    chunk = worker.claim(0.0)
    assert chunk is not None
    worker.give_back(chunk, 100.2)
    assert deferred_chunks(queue)[0][0] == 101
    assert worker.claim(100.9) is None
    assert worker.claim(101.0) == chunk
    worker.give_back(chunk, -5.0)
    assert deferred_chunks(queue)[0][0] == 0


def test_threads_race(tmp_path: Path) -> None:
    queue = batch(tmp_path, 640)
    got: list[Chunk] = []
    start = threading.Barrier(8)

    def race(number: int) -> None:
        worker = claims.Worker(queue, f"run.{number}.0", 1)
        start.wait()
        given_back = 0
        while (chunk := worker.claim(time.time())) is not None:
            got.append(chunk)
            # Not without end: the last of these threads would claim and give back the same chunk for ever.
            if len(got) % 5 == 0 and given_back < 5:
                given_back += 1
                worker.give_back(chunk, 0.0)
                got.remove(chunk)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(split_chunks(queue.segment(0)))


def test_processes_race(tmp_path: Path) -> None:
    queue = batch(tmp_path, 640)
    with claimer(queue, "run.0.0") as one, claimer(queue, "run.1.0") as two:
        _go(one)
        _go(two)
        got = [list(iter(process.stdout.readline, "\n")) for process in (one, two)]  # type: ignore[union-attr]
    names = sorted(name.strip() for part in got for name in part)
    assert names == sorted(chunk.name for chunk in split_chunks(queue.segment(0)))


def test_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    job = ids(1)[0]
    with claimer(queue, "run.0.0", job) as process:
        chunk = _holding(process)
        assert forgotten(queue) == (0, [])
        assert claims.living(queue) == [("run.0.0", process.pid, [(chunk, job)])]
        process.kill()
        process.wait()
        assert claims.living(queue) == []
        assert forgotten(queue) == (1, [job])
    assert os.listdir(queue.workers) == []
    assert deferred_chunks(queue) == [(0, chunk, f"0000000000~{chunk.name}")]
    assert next(iter(states(queue).values())).jobs[job].deaths == {}
    finish(queue)
    assert verify.audit(queue.root).rows == 16


def test_a_stopped_owner_is_not_robbed(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    with claimer(queue, "run.0.0", ids(1)[0]) as process:
        chunk = _holding(process)
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        dead_workers.record_death(queue, "run.0.0")
        assert forgotten(queue) == (0, [])
        assert chunks_in(os.path.join(queue.workers, "run.0.0")) == [chunk]


@pytest.mark.parametrize("recorded", [False, True])
def test_who_is_suspected(tmp_path: Path, recorded: bool) -> None:
    queue = batch(tmp_path, 32)
    one, two = ids(2)
    hand = Hand(queue)
    first, second = hand.worker.claim(0.0), hand.worker.claim(0.0)
    assert first is not None and second is not None
    hand.worker.begin(0, first.name, one)
    hand.worker.begin(1, first.name, two)
    hand.worker.end(1)
    hand.die()
    if recorded:
        dead_workers.record_death(queue, hand.worker.id)
    assert forgotten(queue) == (1, [one])
    deaths = {
        job: job_state.deaths
        for state in states(queue).values()
        for job, job_state in state.jobs.items()
        if job_state.deaths
    }
    assert deaths == ({one: {hand.worker.id: Death(alone=True, sure=True)}} if recorded else {})
    assert [chunk for _, chunk, _ in deferred_chunks(queue)] == ([first] if recorded else [])
    assert chunks_in(queue.pending(0), 0) == ([second] if recorded else [first, second])


def test_the_dead_of_this_run_wait_for_the_supervisors_word(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue)
    hand.worker.claim(0.0)
    hand.die()
    run = hand.worker.id.partition(".")[0]
    assert forgotten(queue, run) == (0, [])
    dead_workers.record_death(queue, hand.worker.id)
    assert forgotten(queue, run) == (1, [])


def test_a_job_that_has_its_line_is_no_suspect(tmp_path: Path) -> None:
    """Killed between the line and the note that the thread is free."""
    queue = batch(tmp_path, 16)
    hand = Hand(queue)
    hand.work(1, sync=False, move=False)
    hand.worker.begin(0, next(split_chunks(queue.segment(0))).name, ids(1)[0])
    hand.die()
    dead_workers.record_death(queue, hand.worker.id)
    assert forgotten(queue) == (1, [])


def test_dying_at_any_step_of_a_workers_life_loses_nothing(tmp_path: Path) -> None:
    queue = batch(tmp_path, 4)
    for step in range(1000):
        waiting = set(ids(2, 4 * step))
        hand = None
        with dying_at(step, torn=step % 2 == 0):
            try:
                hand = Hand(queue, lambda name: -2.0 if name in waiting else OK)  # noqa: B023
                hand.work(1)
                hand.close()
                break
            except Crash:
                pass
        if hand is not None:
            hand.die()
        forgotten(queue)
        assert os.listdir(queue.workers) == [], step
        finish(queue)
        add(queue, ids(4, 4 * step + 4))
    assert step >= 30
    finish(queue)
    found = verify.audit(queue.root)
    assert (set(found.totals) - {"stray temporary file"}, found.rows) == (set(), found.jobs)


def read_ids_of(queue: Queue, chunk: Chunk) -> list[str]:
    return [job.video_id for job in read_jobs(queue.segment(chunk.segment), chunk)]


def test_dying_at_any_step_of_a_takeover_loses_nothing(tmp_path: Path) -> None:
    queue = batch(tmp_path, 64)
    for step in range(200):
        hand = Hand(queue)
        hand.work(1, sync=False, move=False)
        spare = hand.worker.claim(0.0)
        if spare is not None:
            hand.worker.begin(0, spare.name, read_ids_of(queue, spare)[0])
        hand.die()
        dead_workers.record_death(queue, hand.worker.id)
        with dying_at(step):
            try:
                forgotten(queue)
                break
            except Crash:
                pass
        forgotten(queue)
        assert os.listdir(queue.workers) == [], step
    assert step >= 8
    finish(queue)
    assert verify.audit(queue.root).rows == 64


def test_a_directory_whose_lock_a_power_cut_took_is_removed_with_all_that_is_left(tmp_path: Path) -> None:
    queue = batch(tmp_path)
    worker = claims.Worker(queue, "dead.0.1", 2)
    chunk = worker.claim(time.time())
    assert chunk is not None
    worker.begin(0, chunk.name, ids(1)[0])
    dead_workers.record_death(queue, worker.id)
    os.unlink(os.path.join(worker.dir, "lock"))
    assert forgotten(queue) == (0, [ids(1)[0]])
    assert os.listdir(queue.workers) == []
    assert chunk in chunks_in(queue.pending(0), 0)


def test_what_is_noted_of_threads_is_read_whatever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "inflight"
    assert claims.in_flight(str(tmp_path)) == []
    for data in (
        b"",
        b"\n" * 128,
        b"\xff" * 200,
        b"000000.1.2.3".ljust(64),
        b"000000.1.2.3 abcdefghijk".ljust(63) + b"\n",
        b"000000.1.2.3 ../../../xy".ljust(63) + b"\n",
    ):
        path.write_bytes(data)
        assert len(claims.in_flight(str(tmp_path))) == (b"abc" in data)


def test_run_ids_are_never_alike() -> None:
    assert (
        len({claims.run_id() for _ in range(50)}) == 50
    )  # 24 random bits: of 1,000 two are alike now and then
    assert "." not in claims.run_id()
