"""Locks: one holder, freed by any death, kept by a holder that is only stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import HANG_S, ends
from support import Crash, dying_at

from engine.errors import HeldError
from engine.storage.locks import Lock, living_holder, read_note, take_or_say_who

HOLD = (
    "import sys; from engine.storage.locks import take_or_say_who\n"
    "lock = take_or_say_who(sys.argv[1], 'run'); print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def holder(path: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_one_holder_and_the_other_hears_who(tmp_path: Path) -> None:
    path = str(tmp_path / "run.lock")
    with holder(path) as process:
        assert not Lock(path).take()
        with pytest.raises(HeldError, match=f"pid {process.pid}") as caught:
            take_or_say_who(path, "run")
        assert caught.value.exit_code == 11
        assert living_holder(path) == read_note(path)
        process.kill()
        process.wait()
        assert living_holder(path) is None
        assert Lock(path).take(wait_s=5.0)


def test_a_stopped_holder_is_not_robbed(tmp_path: Path) -> None:
    path = str(tmp_path / "run.lock")
    with holder(path) as process:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert not Lock(path).take(wait_s=0.05)
        note = living_holder(path)
        assert note is not None
        assert note["pid"] == process.pid


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    """A program that the holder starts may outlive it without keeping the lock."""
    path = str(tmp_path / "run.lock")
    code = (
        "import subprocess, sys; from engine.storage.locks import take_or_say_who\n"
        "lock = take_or_say_who(sys.argv[1], 'run')\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], close_fds=False)\n"
        "print(child.pid, flush=True); import os; os.kill(os.getpid(), 9)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.wait()
    try:
        os.kill(child, 0)
        assert Lock(path).take(wait_s=1.0)
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_waiting_for_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first, second = Lock(path), Lock(path)
    assert first.take()
    waiter = threading.Thread(target=lambda: second.take(wait_s=HANG_S))
    waiter.start()
    first.release()
    ends(waiter)
    assert second.held
    second.release()
    assert not second.held


def test_a_released_lock_has_no_note(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with take_or_say_who(path, "run", note={"what": "test"}):
        assert (read_note(path) or {})["what"] == "test"
    assert read_note(path) is None


def test_a_note_that_cannot_be_written_leaves_no_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with dying_at(0), pytest.raises(Crash):
        Lock(path).take(note={})
    assert Lock(path).take()


def test_without_create_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lock(str(tmp_path / "lock")).take(create=False)


@pytest.mark.parametrize("text", ["", "x", "[]", "null", "{", "\x00" * 10])
def test_notes_that_say_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    assert living_holder(str(path)) is None
    with pytest.raises(HeldError), take_or_say_who(str(path), "run"):
        path.write_text(text)
        take_or_say_who(str(path), "run")


@pytest.mark.parametrize(
    "change", [{"pid": 2**22 + 1}, {"started": "1"}, {"boot": None}, {"pid": "1"}, {"pid": None}]
)
def test_a_note_of_another_life_is_nobodys(tmp_path: Path, change: dict[str, object]) -> None:
    path = str(tmp_path / "lock")
    with take_or_say_who(path, "run"):
        note = living_holder(path)
        assert note is not None
        with open(path, "w") as file:
            json.dump({**note, **change}, file)
        assert living_holder(path) is None
