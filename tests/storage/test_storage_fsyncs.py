"""After a failed fsync none is tried again, by whichever thread."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from engine.storage import disk
from engine.storage.fsyncs import Fsyncs


def test_the_error_is_raised_in_place_of_every_later_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fails(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "broken")

    fsyncs = Fsyncs()
    fsyncs.sync_dir(str(tmp_path))
    monkeypatch.setattr(disk, "_fsync", fails)
    for _ in range(2):
        with pytest.raises(OSError, match="broken") as caught:
            fsyncs.sync_dir(str(tmp_path))
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    with pytest.raises(OSError, match="broken"), fsyncs.guarded("another"):
        raise AssertionError
    assert len(calls) == 1


def test_threads_take_turns_at_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits beside a failing fsync does not begin another."""
    fsyncs, entered, go_on = Fsyncs(), threading.Event(), threading.Event()
    calls: list[int] = []
    errors: list[OSError] = []

    def fails(fd: int) -> None:
        calls.append(fd)
        entered.set()
        go_on.wait(10)
        raise OSError(errno.EIO, "broken")

    def sync() -> None:
        try:
            fsyncs.sync_dir(str(tmp_path))
        except OSError as exc:
            errors.append(exc)

    monkeypatch.setattr(disk, "_fsync", fails)
    threads = [threading.Thread(target=sync) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert (len(calls), len(errors)) == (1, 3)
