"""What all child processes do alike: they are started, found silent, replaced later and later, and ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from engine.process import heartbeat
from engine.process.heartbeat import STARTING_S
from engine.run import child_process
from engine.run.child_process import BACK_OFF_MAX_S, ChildProcess, Ending


class Pulse:
    silent = 0.0
    begun = True
    forgiven = 0

    def silent_s(self) -> float:
        return self.silent

    def forgive(self) -> None:
        self.forgiven += 1


class Sleeper:
    """A real process that does nothing, with a heartbeat that a test makes up."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(["sleep", "600"])
        self.pids = [self.child.pid]
        self.pulse = Pulse()
        self.told: list[bytes] = []

    def ending(self) -> Ending | None:
        code = self.child.poll()
        return Ending(code) if code is not None else None

    def send(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> Ending:
        self.child.kill()
        return Ending(self.child.wait())


class Child(ChildProcess):
    silent_after_s = 20.0

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[Sleeper] = []
        self.silences: list[float] = []

    def launch(self) -> Sleeper:  # type: ignore[override]
        self.launched.append(Sleeper())
        return self.launched[-1]

    def report_silence(self, silent_s: float, pids: list[int]) -> None:
        assert pids == self.launched[-1].pids
        self.silences.append(silent_s)

    def ended(self) -> Ending:
        """Wait for its end, however it comes."""
        self.launched[-1].child.wait(30)
        ending = self.check()
        assert ending is not None
        return ending


@pytest.fixture
def child() -> Iterator[Child]:
    found = Child()
    yield found
    found.end()


def test_it_is_started_where_it_is_wanted_and_ended(child: Child) -> None:
    assert child.check(wanted=False) is None
    assert not child.at_work
    assert child.check() is None
    assert child.at_work
    child.send(b"word")
    assert child.launched[0].told == [b"word"]
    assert child.check() is None
    assert child.end() == Ending(-9)
    assert (child.at_work, child.end()) == (False, None)


def test_an_end_is_told_until_it_is_ended(child: Child) -> None:
    child.start()
    child.launched[0].child.kill()
    assert child.ended() == Ending(-9)
    child.end()
    assert child.check() is None
    assert len(child.launched) == 2


def test_one_that_keeps_dying_waits_longer_each_time(child: Child) -> None:
    waits = []
    for _ in range(12):
        child.start_later(did_something=False)
        waits.append(child._start_at - time.monotonic())
    assert waits[0] > 0
    assert all(a < b or b >= BACK_OFF_MAX_S * 0.9 for a, b in pairwise(waits))
    assert max(waits) <= BACK_OFF_MAX_S
    assert child.check() is None
    assert not child.at_work, "not yet"
    child.start_later(did_something=True)
    assert child.deaths_in_a_row == 0
    child.check()
    assert child.at_work


def test_one_that_falls_silent_is_killed_once(child: Child) -> None:
    child.start()
    pulse = child.launched[0].pulse
    pulse.silent = 19.9
    child.check()
    assert child.silences == []
    pulse.silent = 20.0
    child.check()
    child.check()
    assert child.silences == [20.0]
    assert child.ended().code == -9
    child.end()
    child.start()
    child.launched[1].pulse.silent = 21.0
    child.check()
    assert child.silences == [20.0, 21.0], "its successor is watched as well"


def test_one_that_is_only_starting_is_not_silent(child: Child) -> None:
    child.start()
    pulse = child.launched[0].pulse
    pulse.begun, pulse.silent = False, STARTING_S - 1
    child.check()
    assert child.silences == []
    pulse.silent = STARTING_S
    child.check()
    assert child.silences == [STARTING_S]


@pytest.mark.parametrize("replaced", [False, True])
def test_one_that_a_user_stopped(child: Child, monkeypatch: pytest.MonkeyPatch, replaced: bool) -> None:
    monkeypatch.setattr(child_process, "is_stopped", lambda pid: True)
    child.replaced_when_stopped = replaced
    child.start()
    pulse = child.launched[0].pulse
    for pulse.silent in (child_process.STOPPED_POLL_S, 20.0):
        child.check()
    assert pulse.forgiven == (0 if replaced else 2), "soon, so that it is not silent when it goes on"
    assert child.silences == ([20.0] if replaced else [])


def test_the_real_one_tells_of_a_stopped_process(child: Child) -> None:
    child.start()
    pid = child.launched[0].child.pid
    assert not heartbeat.is_stopped(pid)
    os.kill(pid, 19)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    assert heartbeat.is_stopped(pid)
