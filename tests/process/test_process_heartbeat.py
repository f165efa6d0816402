"""How long a child is silent, and what does not count as silence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.process.heartbeat import SUSPEND_GAP_S, Heart, Pulse, is_stopped

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_silence_grows_until_a_beat_comes(pipe: Pipe) -> None:
    pulse = Pulse(pipe[0], now=100.0)
    assert not pulse.begun
    assert [pulse.silent_s(now) for now in (101.0, 102.5, 104.0)] == [1.0, 2.5, 4.0]
    Heart(pipe[1]).beat()
    assert pulse.silent_s(105.0) == 0.0
    assert pulse.begun
    assert pulse.silent_s(106.0) == 1.0


def test_a_time_in_which_the_supervisor_did_not_run_is_nobodys_silence(pipe: Pipe) -> None:
    pulse = Pulse(pipe[0], now=0.0)
    assert pulse.silent_s(1.0) == 1.0
    assert pulse.silent_s(3601.0) == 1.0, "the machine slept for an hour"
    assert pulse.silent_s(3601.0 + SUSPEND_GAP_S) == 1.0 + SUSPEND_GAP_S


def test_silence_is_forgiven(pipe: Pipe) -> None:
    pulse = Pulse(pipe[0], now=0.0)
    assert pulse.silent_s(2.0) == 2.0
    pulse.forgive()
    assert pulse.silent_s(3.0) == 1.0


def test_a_child_that_is_gone_is_silent(pipe: Pipe) -> None:
    pulse = Pulse(pipe[0], now=0.0)
    os.close(pipe[1])
    assert pulse.silent_s(1.5) == 1.5


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
