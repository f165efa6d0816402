"""Real processes on one budget file."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import HANG_S, Lateness, ends, until

from engine.budget import Budget, BudgetSettings, parse_rate, snapshot
from engine.budget.settings import burst
from engine.model import EgressSpec

ROOT = Path(__file__).parents[2]
TAKER = Path(__file__).with_name("taker.py")
LATE_S = 0.050  # of the promise: no window W holds more than rate * W + burst + rate * LATE_S + 1


def start(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TAKER), *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lock of the budget file."""
    holder = start("hold", path)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def opened(path: Path, rate: str = "none", **more: object) -> Budget:
    return Budget.open(str(path), [EgressSpec("direct")], BudgetSettings(parse_rate(rate)), **more)  # type: ignore[arg-type]


def take_one(budget: Budget, taken: threading.Event) -> None:
    assert budget.take(stop=threading.Event()) is not None
    taken.set()


def fullest(times: list[float], window_s: float) -> int:
    """The most of these in any window of this length."""
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] > window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize(("rate", "seconds"), [(50, 2.5), (500, 2.0)])
def test_four_processes_of_16_threads_keep_one_rate(tmp_path: Path, rate: int, seconds: float) -> None:
    path = tmp_path / "budget"
    begin = time.monotonic() + 1.2
    takers = [start("take", path, rate, 16, begin, seconds) for _ in range(4)]
    with Lateness() as machine:
        logs = [json.loads(taker.communicate(timeout=HANG_S)[0]) for taker in takers]
    granted, had = (sorted(moments) for moments in zip(*itertools.chain(*logs), strict=True))
    span = granted[-1] - granted[0]
    for window_s in (0.1, 1.0, span):
        allowed = rate * (window_s + 1e-6) + burst(1 / rate) + 1  # times are exact to a microsecond
        assert fullest(granted, window_s) <= allowed
        # A machine that is busy with other things hands over late what was granted in time, and wakes too late
        # whoever waits for its slot, which is lost then.
        assert fullest(had, window_s) <= allowed + rate * LATE_S or not machine.prompt
    assert len(granted) - 1 >= 0.98 * rate * span or not machine.prompt
    assert all(log for log in logs), "a process got nothing"
    (view,) = snapshot(str(path))
    assert view.requests == len(granted)


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    budget = opened(tmp_path / "budget")
    for _ in range(3):
        with held(tmp_path / "budget") as holder:
            taken = threading.Event()
            taker = threading.Thread(target=take_one, args=(budget, taken))
            taker.start()
            assert not taken.wait(0.05)
            holder.kill()
            until(taken.is_set, 1.0, "for the lock of a killed process")
            taker.join()


def test_a_stopped_holder_is_told_within_5_s_and_waited_for(tmp_path: Path) -> None:
    told: list[str] = []
    stuck = threading.Event()
    budget = opened(tmp_path / "budget", on_stuck=lambda message: (told.append(message), stuck.set()))
    with held(tmp_path / "budget") as holder:
        holder.send_signal(signal.SIGSTOP)
        taken = threading.Event()
        taker = threading.Thread(target=take_one, args=(budget, taken))
        stop = threading.Event()
        quitter = threading.Thread(target=lambda: budget.take(stop=stop))
        taker.start()
        quitter.start()
        until(stuck.is_set, 5.0, "to be told")
        assert "kill -CONT" in told[0]
        stop.set()
        ends(quitter, "a thread that is to stop waits for a stopped process")
        assert not taken.is_set()
    ends(taker)
    assert taken.is_set()


def test_a_forked_child_has_a_lock_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "budget"
    budget = opened(path)
    with budget._store.locked():
        pid = os.fork()
        if pid == 0:  # the parent holds the lock: the child must not get in, nor unlock it
            stop = threading.Event()
            threading.Timer(0.2, stop.set).start()
            os._exit(0 if budget.take(stop=stop) is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert snapshot(str(path))[0].requests == 0
    budget.add_bytes(0, 7)  # which are the parent's to write
    pid = os.fork()
    if pid == 0:
        os._exit(0 if budget.take(stop=threading.Event()) is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (snapshot(str(path))[0].requests, snapshot(str(path))[0].bytes) == (1, 0)
    budget.flush()
    assert snapshot(str(path))[0].bytes == 7
