"""Who is to blame for a worker's death."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.queue import events
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.run import crashes
from engine.run.crashes import Deaths


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "queue"))


def test_the_only_death_is_explained_by_its_jobs(queue: Queue) -> None:
    its = Deaths(queue)
    its.add("r.0.1", {"a", "b"}, crashed=False)
    assert its.sure("r.0.1")


def test_deaths_that_share_a_job_are(queue: Queue) -> None:
    its = Deaths(queue)
    its.add("r.0.1", {"a", "b"}, crashed=False)
    its.add("r.1.1", {"b"}, crashed=False)
    assert its.sure("r.1.1")


def test_a_death_with_other_jobs_speaks_for_a_killer(queue: Queue) -> None:
    its = Deaths(queue)
    its.add("r.0.1", {"a"}, crashed=False)
    its.add("r.1.1", {"b"}, crashed=False)
    assert not its.sure("r.1.1")


def test_a_process_that_crashed_by_itself_was_not_killed(queue: Queue) -> None:
    its = Deaths(queue)
    its.add("r.0.1", {"a"}, crashed=False)
    its.add("r.1.1", {"b"}, crashed=True)
    assert its.sure("r.1.1")


def test_what_an_earlier_run_left_counts_as_a_death(queue: Queue) -> None:
    os.mkdir(os.path.join(queue.workers, "old.0.1"))
    its = Deaths(queue)
    its.add("r.0.1", {"a"}, crashed=False)
    assert not its.sure("r.0.1")


def test_deaths_count_over_runs(queue: Queue) -> None:
    events.emit(queue, "slot_died", "SIGKILL", slot=0, worker="old.0.1", jobs=["z"])
    its = Deaths(queue)
    its.add("r.0.1", {"a"}, crashed=False)
    assert not its.sure("r.0.1")


def test_deaths_of_long_ago_do_not(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    its = Deaths(queue)
    its.add("r.0.1", {"z"}, crashed=False)
    monkeypatch.setattr(crashes, "AMBIENT_S", -1.0)  # everything is long ago
    assert its.sure("r.1.1")
