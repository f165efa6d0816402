"""What counts as a suspend, and what it takes off a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from patience import HANG_S

from engine.process import suspends
from engine.process.suspends import GAP_S, Suspends


class Clock:
    """A monotonic clock that goes on when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(Suspends, "watch", lambda self: None)
    return Clock(monkeypatch)


def test_a_gap_between_two_ticks_is_lost_time(clock: Clock) -> None:
    watched = Suspends()
    watched.tick()
    clock.now += GAP_S
    assert watched.lost_s(0.0) == 0.0, "busy, perhaps, but not suspended"
    clock.now += 60.0
    assert watched.lost_s(0.0) == 60.0, "the caller notices it, if the thread has not woken yet"
    assert watched.lost_s(132.0) == 30.0, "what began amid the suspend lost the rest of it"
    assert watched.lost_s(clock.now) == 0.0
    watched.tick()
    clock.now += 10.0
    assert watched.lost_s(0.0) == 70.0


def test_a_clock_that_goes_back_is_another_one(clock: Clock) -> None:
    watched = Suspends()
    watched.tick()
    clock.now += 3600.0
    watched.tick()
    clock.now -= 3500.0
    began_s = clock.now
    assert watched.lost_s(began_s) == 0.0
    clock.now += 1.0
    assert watched.lost_s(began_s) == 0.0, "nothing is taken off the times of this clock"


def test_where_nobody_ticks_nothing_is_lost(clock: Clock) -> None:
    unwatched = Suspends()
    assert unwatched.lost_s(0.0) == 0.0
    clock.now += 3600.0
    assert unwatched.lost_s(0.0) == 0.0


def test_without_a_further_thread_no_suspend_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refused)
    assert Suspends().lost_s(0.0) == 0.0


def test_an_attempt_that_spanned_a_suspend(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(suspends._Mine, "suspends", Suspends())
    suspends._Mine.suspends.tick()
    started = clock.now
    assert not suspends.attempt_spanned_suspend(started)
    clock.now += 60.0
    assert suspends.attempt_spanned_suspend(started)
    assert not suspends.attempt_spanned_suspend(clock.now)


def test_a_stopped_process_knows_of_it() -> None:
    code = (
        "import time; from engine.process import suspends; began = time.monotonic(); suspends.lost_s(began)\n"
        "print('ready', flush=True); input(); print(suspends.lost_s(began))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        time.sleep(GAP_S + 1.0)
        os.kill(child.pid, signal.SIGCONT)
        stopped_s = time.monotonic() - stopped_at
        said, _ = child.communicate("\n", timeout=HANG_S)
    assert float(said) >= min(stopped_s, GAP_S + 1.0) - 0.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_begins_again() -> None:
    before = suspends._Mine.suspends
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.write(writer, b"1" if suspends._Mine.suspends is not before else b"0")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    os.close(writer)
