"""Deaths are recorded once it is certain that the run outlives them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.queue.making import make_queue
from engine.run import crashes
from engine.run.crashes import Deaths


def test_a_death_is_recorded_when_it_is_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    deaths = Deaths(queue)
    for name in ("run.0.1", "run.1.1"):
        os.mkdir(os.path.join(queue.workers, name))
        deaths.add(name)
        now[0] += crashes.CERTAIN_AFTER_S * 0.6
    notes = [Path(queue.workers, name, "died") for name in ("run.0.1", "run.1.1")]
    deaths.record()
    assert [note.exists() for note in notes] == [True, False]
    now[0] += crashes.CERTAIN_AFTER_S * 0.6
    deaths.record()
    assert [note.read_bytes() for note in notes] == [b"sure", b"sure"], "as earlier versions read it"


def test_a_worker_that_died_without_a_directory_had_no_jobs(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    deaths = Deaths(queue)
    deaths.add("run.0.1")
    deaths._seen = [(0.0, "run.0.1")]
    deaths.record()
    assert os.listdir(queue.workers) == []
