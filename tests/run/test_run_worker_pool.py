"""When a slot begins its next lap, drains, or ends the run. Real processes: the end-to-end tests and `crash/`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support import batch, output_of

from engine.budget import BudgetSettings, Rate
from engine.errors import Exit
from engine.model import EgressSpec
from engine.queue import events
from engine.queue.control import Course
from engine.queue.directory import Queue
from engine.run import worker_pool
from engine.run.worker_pool import START_LIMIT, Slots
from engine.run.worker_process import NO_MEMORY, RATE, Slot, sweep_semaphores
from engine.settings import Frozen, Settings
from engine.storage.processes import namespace
from engine.worker.main import Report

pytestmark = pytest.mark.usefixtures("no_fsync")
COURSE = Course("none", 2, 16)


class Canned(Slot):
    """A slot without a process: what its lap came to is put into `came`."""

    came: Report | BaseException | None = None

    def __init__(self, number: int, settings: Settings, run_id: str) -> None:
        super().__init__(number, settings, run_id)
        self.works = False
        self.did: list[str | bytes] = []

    @property
    def running(self) -> bool:
        return self.works

    def start(self) -> None:
        self.works, self.drained, self.threads = True, False, self.settings.threads
        self._began_at = time.monotonic()
        self.laps += 1
        self.worker_id = f"run.{self.number}.{self.laps}"
        self.did.append("start")

    def result(self) -> Report | BaseException | None:
        came, self.came = self.came, None
        self.works = self.works and came is None
        return came

    def say(self, word: bytes) -> None:
        self.did.append(word)

    silent = 0.0

    def silent_s(self) -> float:
        return self.silent

    def kill(self) -> None:
        self.did.append("kill")

    def end(self) -> None:
        self.works = False
        self.did.append("end")


@dataclass
class Run:
    queue: Queue
    settings: Settings
    its: Slots
    ended: list[tuple[int, str]] = field(default_factory=list)

    @property
    def slots(self) -> list[Canned]:
        return [slot for slot in self.its._slots if isinstance(slot, Canned)]

    def did(self) -> list[list[str | bytes]]:
        """What was done with each since the last look."""
        self.its.look_after()
        found = [slot.did for slot in self.slots]
        for slot in self.slots:
            slot.did = []
        return found

    def goes_by(self, course: Course, rate: str | None = None) -> list[list[str | bytes]]:
        settings = replace(self.settings, processes=course.processes, threads=course.threads)
        self.its.follow(settings, course, rate=rate)
        return self.did()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(worker_pool, "Slot", Canned)
    monkeypatch.setattr(worker_pool, "BLAME_AFTER_S", 0.0)
    queue = batch(tmp_path, 4)
    egresses = (EgressSpec("direct"),)
    settings = Settings(queue.root, Frozen(output_of(queue)), egresses, BudgetSettings(Rate("none"), 1.0), 2)
    ended: list[tuple[int, str]] = []
    its = Slots(queue, settings, "run", COURSE, lambda code, message: ended.append((code, message)))
    return Run(queue, settings, its, ended)


def test_nothing_starts_before_it_begins(run: Run) -> None:
    assert run.did() == [[], []]
    run.its.begin()
    assert run.did() == [["start"], ["start"]]
    assert run.its.running
    assert run.did() == [[], []]


def test_a_pause_drains_each_once_and_a_resume_starts_new_processes(run: Run) -> None:
    run.its.begin()
    run.did()
    assert run.goes_by(replace(COURSE, paused=True)) == [[b"S"], [b"S"]]
    assert run.did() == [[], []]
    for slot in run.slots:
        slot.came = Report("stop", 3)
    assert run.did() == [["end"], ["end"]]
    assert not run.its.running
    assert run.did() == [[], []]
    assert run.goes_by(COURSE) == [["start"], ["start"]]


def test_fewer_and_more_processes(run: Run) -> None:
    run.its.begin()
    run.did()
    assert run.goes_by(replace(COURSE, processes=1)) == [[], [b"S"]]
    assert run.goes_by(replace(COURSE, processes=3)) == [[], [], ["start"]], "it drains to its end"
    run.slots[1].came = Report("stop", 0)
    assert run.did() == [[], ["end", "start"], []]


def test_other_threads_begin_with_other_processes(run: Run) -> None:
    run.its.begin()
    run.did()
    assert run.goes_by(replace(COURSE, threads=4)) == [[b"S"], [b"S"]]
    run.slots[0].came = Report("stop", 0)
    assert run.did() == [["end", "start"], []]
    assert [slot.threads for slot in run.slots] == [4, 16]


def test_a_rate_is_told_to_those_at_work(run: Run) -> None:
    run.its.begin()
    run.did()
    assert run.goes_by(replace(COURSE, rate="9/s"), "9/s") == [[RATE + b"9/s"], [RATE + b"9/s"]]


@pytest.mark.parametrize(("why", "did"), [("time", ["start"]), ("recycle", ["end", "start"])])
def test_after_a_lap(run: Run, why: str, did: list[str]) -> None:
    run.its.begin()
    run.did()
    run.slots[0].came = Report(why, 1)
    assert run.did() == [did, []]
    assert run.ended == []


def test_an_error_ends_the_run_and_begins_nothing(run: Run) -> None:
    run.its.begin()
    run.did()
    run.slots[0].came, run.slots[1].came = Report("error", 0, "no room", Exit.DISK), Report("time", 1)
    assert run.did() == [[], ["end"]]
    assert run.ended == [(Exit.DISK, "no room")]


def test_an_error_while_nothing_new_is_begun(run: Run) -> None:
    run.its.begin()
    run.did()
    run.slots[0].came, run.slots[1].came = Report("error", 0, "no room", Exit.DISK), Report("stop", 1)
    assert [report.message for report in run.its.errors()] == ["no room"]
    assert not run.its.running


def test_one_that_dies_is_started_again_and_not_for_ever(run: Run) -> None:
    run.its.begin()
    run.did()
    for _ in range(START_LIMIT - 1):
        run.slots[0].came = OSError("exit codes of the workers are {SEGFAULT(-11)}")
        assert run.did() == [["end"], []], "the other one does not notice"
        run.its._restart_at[0] = 0.0
        assert run.did() == [["start"], []]
    run.slots[0].came = OSError("gone")
    assert run.did() == [["end"], [b"S"]]
    assert [code for code, _ in run.ended] == [Exit.BUG]


def test_one_that_stands_still_is_killed_once_and_its_jobs_are_to_blame(run: Run) -> None:
    run.its.begin()
    run.did()
    run.slots[0].silent = worker_pool.SILENT_S - 1
    assert run.did() == [[], []]
    run.slots[0].silent = worker_pool.SILENT_S
    assert run.did() == [["kill"], []]
    assert run.did() == [[], []], "once"
    first = run.slots[0].worker_id
    run.slots[0].came = RuntimeError("exit codes of the workers are {SIGKILL(-9)}")
    run.slots[0].silent = 0.0
    assert run.did() == [["end"], []]
    assert run.its._deaths.sure(first), "nobody from outside did it"
    kinds = [event["event"] for event in events.late(run.queue, 60.0)]
    assert kinds.count("worker_silent") == 1
    assert kinds.count("slot_died") == 1


def test_want_of_memory_ends_the_run_once_nothing_gets_done_any_more(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "BACK_OFF_MAX_S", 0.0)
    run.its.begin()
    run.did()
    for _ in range(worker_pool.MEMORY_LIMIT):
        assert not run.ended
        run.slots[0]._began_at -= 60.0  # each of them worked for a while
        run.slots[0].came = RuntimeError(f"exit codes of the workers are {{EXIT({NO_MEMORY})}}")
        run.did()
        run.did()
    assert [code for code, _ in run.ended] == [Exit.DISK]
    assert "memory" in run.ended[0][1]


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
