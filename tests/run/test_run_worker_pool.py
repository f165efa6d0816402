"""When a worker process begins, drains, is replaced, or ends the run. Real processes: `e2e/` and `crash/`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from patience import HANG_S, until
from support import batch, output_of

from engine.budget import BudgetSettings, Rate
from engine.errors import Exit, ShortageError
from engine.model import EgressSpec
from engine.queue import events
from engine.queue.control import RunState
from engine.queue.directory import Queue
from engine.run import child_process, worker_pool
from engine.run.child_process import DEATHS_MAX, ChildFailedError, Ending
from engine.run.worker_pool import WorkerPool
from engine.run.worker_process import NO_MEMORY, NO_THREAD, RATE, WorkerProcess, sweep_semaphores
from engine.settings import Frozen, Settings
from engine.storage.processes import namespace
from engine.worker.main import WorkerReport

pytestmark = pytest.mark.usefixtures("no_fsync")
COURSE = RunState("none", 2, 16)


class Canned(WorkerProcess):
    """A worker without a process: what one came to is put into `came`."""

    came: WorkerReport | Ending | None = None

    def __init__(self, queue: Queue, number: int, settings: Settings, run_id: str) -> None:
        super().__init__(queue, number, settings, run_id)
        self.works = False
        self.did: list[str | bytes] = []

    @property
    def at_work(self) -> bool:
        return self.works

    def check(self, *, wanted: bool = True) -> Ending | None:
        if not self.works:
            if wanted and time.monotonic() >= self._start_at:
                self.works, self.draining, self.threads = True, False, self.settings.threads
                self._started_at = time.monotonic()
                self._launched += 1
                self.worker_id = f"run.{self.number}.{self._launched}"
                self.did.append("start")
            return None
        came, self.came = self.came, None
        self.report = came if isinstance(came, WorkerReport) else None
        return Ending(0) if self.report else came if isinstance(came, Ending) else None

    def send(self, data: bytes) -> None:
        if self.works:
            self.did.append(data)

    def end(self) -> Ending | None:
        self.works = False
        self.did.append("end")
        return None


@dataclass
class Run:
    queue: Queue
    settings: Settings
    pool: WorkerPool

    @property
    def workers(self) -> list[Canned]:
        return [worker for worker in self.pool._workers if isinstance(worker, Canned)]

    def did(self) -> list[list[str | bytes]]:
        """What was done with each in two turns."""
        self.pool.check()
        self.pool.check()
        found = [worker.did for worker in self.workers]
        for worker in self.workers:
            worker.did = []
        return found

    def goes_by(self, run_state: RunState, rate: str | None = None) -> list[list[str | bytes]]:
        settings = replace(self.settings, processes=run_state.processes, threads=run_state.threads)
        self.pool.apply_run_state(settings, run_state, rate=rate)
        return self.did()

    def dies(self, number: int, code: int = -9) -> None:
        self.workers[number].came = Ending(code, f"{{({code})}}")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(worker_pool, "WorkerProcess", Canned)
    monkeypatch.setattr(worker_pool, "CERTAIN_AFTER_S", 0.0)
    monkeypatch.setattr(child_process, "BACK_OFF_S", 0.0)
    queue = batch(tmp_path, 4)
    egresses = (EgressSpec("direct"),)
    settings = Settings(queue.root, Frozen(output_of(queue)), egresses, BudgetSettings(Rate("none"), 1.0), 2)
    found = Run(queue, settings, WorkerPool(queue, settings, "run", COURSE))
    assert not found.pool.running
    assert found.did() == [["start"], ["start"]]
    return found


def test_a_pause_drains_each_once_and_a_resume_starts_new_processes(run: Run) -> None:
    assert run.goes_by(replace(COURSE, paused=True)) == [[b"S"], [b"S"]]
    assert run.did() == [[], []]
    for worker in run.workers:
        worker.came = WorkerReport("stop", 3)
    assert run.did() == [["end"], ["end"]]
    assert not run.pool.running
    assert run.did() == [[], []]
    assert run.goes_by(COURSE) == [["start"], ["start"]]


def test_fewer_and_more_processes(run: Run) -> None:
    assert run.goes_by(replace(COURSE, processes=1)) == [[], [b"S"]]
    assert run.goes_by(replace(COURSE, processes=3)) == [[], [], ["start"]], "it drains to its end"
    run.workers[1].came = WorkerReport("stop", 0)
    assert run.did() == [[], ["end", "start"], []]


def test_other_threads_begin_with_other_processes(run: Run) -> None:
    assert run.goes_by(replace(COURSE, threads=4)) == [[b"S"], [b"S"]]
    run.workers[0].came = WorkerReport("stop", 0)
    assert run.did() == [["end", "start"], []]
    assert [worker.threads for worker in run.workers] == [4, 16]


def test_a_rate_is_told_to_those_at_work(run: Run) -> None:
    assert run.goes_by(replace(COURSE, rate="9/s"), "9/s") == [[RATE + b"9/s"], [RATE + b"9/s"]]


@pytest.mark.parametrize("why", ["stop", "recycle"])
def test_after_a_report(run: Run, why: str) -> None:
    run.workers[0].came = WorkerReport(why, 1)
    assert run.did() == [["end", "start"], []]
    assert list(events.recent(run.queue, 60.0)) == [], "nobody died"


def test_an_error_ends_the_run_and_begins_nothing(run: Run) -> None:
    run.workers[0].came = WorkerReport("error", 0, "no room", Exit.DISK)
    with pytest.raises(ChildFailedError, match="no room") as failed:
        run.pool.check()
    assert failed.value.exit_code == Exit.DISK
    run.pool.drain()
    run.workers[1].came = WorkerReport("stop", 1)
    assert run.did() == [["end"], [b"S", "end"]]
    assert not run.pool.running


def test_an_error_in_a_drain_is_heard(run: Run) -> None:
    run.pool.drain()
    run.workers[0].came = WorkerReport("error", 0, "no room", Exit.DISK)
    with pytest.raises(ChildFailedError, match="no room"):
        run.pool.check()


def test_one_that_dies_is_started_again_and_not_for_ever(run: Run) -> None:
    for _ in range(DEATHS_MAX - 1):
        run.dies(0, -11)
        assert run.did() == [["end", "start"], []], "the other one does not notice"
    run.dies(0, -11)
    with pytest.raises(ChildFailedError, match="die as soon as they start"):
        run.pool.check()
    assert run.did() == [["end"], [b"S"]]
    assert [event["event"] for event in events.recent(run.queue, 60.0)] == ["slot_died"] * DEATHS_MAX


def test_want_of_threads_ends_the_run_however_long_a_start_takes(run: Run) -> None:
    for _ in range(DEATHS_MAX):
        run.workers[0]._started_at -= 60.0  # on a crowded machine
        run.dies(0, NO_THREAD)
        if run.workers[0].deaths_in_a_row < DEATHS_MAX - 1:
            run.did()
    with pytest.raises(ShortageError, match="thread"):
        run.pool.check()


def test_each_death_is_recorded_whoever_killed_it(run: Run) -> None:
    first = run.workers[0].worker_id
    Path(run.queue.workers, first).mkdir()
    run.dies(0)
    run.pool.check()
    until(lambda: run.pool.check() or Path(run.queue.workers, first, "died").exists(), HANG_S, "for the note")


def test_who_ends_in_a_drain_is_not_suspected(run: Run) -> None:
    run.pool.drain()
    run.dies(0)
    run.pool.check()
    assert run.pool._deaths._seen == []
    assert list(events.recent(run.queue, 60.0)) == []


def test_want_of_memory_ends_the_run_once_nothing_gets_done_any_more(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "BACK_OFF_MAX_S", 0.0)
    for _ in range(worker_pool.MEMORY_DEATHS_MAX - 1):
        run.workers[0]._started_at -= 60.0  # each of them worked for a while
        run.dies(0, NO_MEMORY)
        run.did()
    run.workers[0]._started_at -= 60.0
    run.dies(0, NO_MEMORY)
    with pytest.raises(ShortageError, match="memory"):
        run.pool.check()


def test_only_semaphores_of_this_queues_dead_runs_are_swept(tmp_path: Path) -> None:
    """Other programs use loky as well, and their processes may be of another process table."""
    gone = 4_194_303
    names = [f"sem.loky-{pid}-{namespace()}.abc" for pid in (gone, gone - 1, os.getpid())]
    names += [f"sem.loky-{gone}-1.abc", f"sem.loky-{gone}-abc", f"sem.{gone}", "sem.loky-x"]
    for name in names:
        (tmp_path / name).touch()
    sweep_semaphores({gone, os.getpid()}, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
    sweep_semaphores({gone}, str(tmp_path / "none"))
