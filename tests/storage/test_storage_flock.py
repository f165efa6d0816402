"""One holder at a time, or several that share; the lock goes with its file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.storage.flock import try_lock, try_lock_shared, unlock


def test_one_holds_it_or_several_share_it(tmp_path: Path) -> None:
    one, two, three = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(3))
    assert try_lock(one)
    assert not try_lock(two)
    assert not try_lock_shared(two)
    unlock(one)
    assert try_lock_shared(two)
    assert try_lock_shared(three)
    assert not try_lock(one)
    os.close(two)
    os.close(three)
    assert try_lock(one)
    os.close(one)


def test_what_cannot_be_locked_raises() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        try_lock(os.open(os.devnull, os.O_PATH))
