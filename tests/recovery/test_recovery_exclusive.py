"""Having a queue to oneself."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import batch

from engine.errors import HeldError
from engine.queue import claims
from engine.recovery import exclusive
from engine.recovery.exclusive import exclusive_hold
from engine.storage.locks import Lock


def test_all_locks_are_held_meanwhile_and_free_afterwards(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    paths = (queue.run_lock, queue.monitor_lock, queue.seed_lock)
    with exclusive_hold(queue, "test"):
        assert not any(Lock(path).take() for path in paths)
    locks = [Lock(path) for path in paths]
    assert all(lock.take() for lock in locks)
    for lock in locks:
        lock.release()


def test_a_worker_that_ends_in_time_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = [[("w.0.0", 1, [])], [("w.0.0", 1, [])], []]
    monkeypatch.setattr(claims, "living", lambda queue: alive.pop(0))
    monkeypatch.setattr(exclusive, "LEAVE_S", 60.0)
    with exclusive_hold(batch(tmp_path, 16), "test"):
        assert alive == []


def test_one_that_stays_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "living", lambda queue: [("w.0.0", 41, [])])
    monkeypatch.setattr(exclusive, "LEAVE_S", 0.0)
    queue = batch(tmp_path, 16)
    with pytest.raises(HeldError, match=r"w\.0\.0 \(pid 41\)"), exclusive_hold(queue, "test"):
        pass
    assert Lock(queue.run_lock).take()
