"""How long a child is silent, and what does not count as silence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.process import suspends
from engine.process.heartbeat import Heart, Pulse, is_stopped

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(suspends, "lost_s", lambda since: 0.0)

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_silence_grows_until_a_beat_comes(pipe: Pipe, later: Callable[[float], None]) -> None:
    pulse = Pulse(pipe[0])
    assert not pulse.begun
    later(1.0)
    assert pulse.silent_s() == 1.0
    later(1.5)
    assert pulse.silent_s() == 2.5
    Heart(pipe[1]).beat()
    assert pulse.silent_s() == 0.0
    assert pulse.begun
    later(1.0)
    assert pulse.silent_s() == 1.0


def test_a_suspend_of_the_supervisor_is_nobodys_silence(
    pipe: Pipe, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse(pipe[0])
    later(3601.0)
    monkeypatch.setattr(suspends, "lost_s", lambda since: 3600.0)
    assert pulse.silent_s() == 1.0


def test_silence_is_forgiven(pipe: Pipe, later: Callable[[float], None]) -> None:
    pulse = Pulse(pipe[0])
    later(2.0)
    assert pulse.silent_s() == 2.0
    pulse.forgive()
    later(1.0)
    assert pulse.silent_s() == 1.0


def test_a_child_that_is_gone_is_silent(pipe: Pipe, later: Callable[[float], None]) -> None:
    pulse = Pulse(pipe[0])
    os.close(pipe[1])
    later(1.5)
    assert pulse.silent_s() == 1.5


def test_a_beat_neither_blocks_nor_raises(pipe: Pipe) -> None:
    os.set_blocking(pipe[1], False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(pipe[1], b"." * 4096)
    os.set_blocking(pipe[1], True)
    Heart(pipe[1]).beat()  # full: it would wait for ever
    os.close(pipe[0])
    Heart(pipe[1]).beat()  # nobody reads
    Heart(-1).beat()
    os.close(pipe[1])
    Heart(pipe[1]).beat()


def test_beats_are_a_second_apart(pipe: Pipe) -> None:
    heart = Heart(pipe[1])
    for _ in range(1000):
        heart.beat()
    assert len(os.read(pipe[0], 4096)) < 500


def test_a_thread_beats_by_itself_on_a_piped_stdout() -> None:
    """In a process of its own: the thread never ends, and descriptors have successors."""
    code = "from engine.process.heartbeat import Heart; Heart.on_stdout().beat_by_itself(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(2) == b".."
        child.kill()


def test_a_helper_started_by_hand_has_no_heart(tmp_path: Path) -> None:
    code = "from engine.process.heartbeat import Heart; Heart.on_stdout().beat()"
    with open(tmp_path / "out", "w+b") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
        assert out.seek(0, os.SEEK_END) == 0


def test_a_stopped_process_is_known() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not is_stopped(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert is_stopped(child.pid)
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
    assert not is_stopped(child.pid)
