"""How long a test waits, on whatever machine: no test loses a race with the others that want the processor.

A limit in a test is in *shares*: seconds as a process has them on a machine that has nothing else to do. Where
ten want each core, a second is a tenth of a share. So a limit is as sharp as it is written on a quiet machine,
and so many times longer on a busy one. What only keeps a test from hanging for ever takes `HANG_S`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Self

HANG_S = 240.0  # seconds; nothing that comes at all takes so long on a machine that is at all of use
FOR_EVER_S = 86_400.0  # for what must end by an event and not by its own limit: or else the test hangs
STEP_S = 1.0  # whoever looks again after longer than this was not woken, and has waited no longer than this
TICK_S = 0.01
PROMPT_S = 0.02
BUSY = 4.0  # so many for each core are more than the nights that are played side by side, and others besides
CROWDED = 1.5  # so many for each core, and a process lacks what it needs


def crowd() -> float:
    """How many want each core, by now or in the last minute; 1 at least."""
    minute, _, _, tasks, _ = _loads()
    running = float(tasks.partition("/")[0])
    return max(1.0, max(running, float(minute)) / len(os.sched_getaffinity(0)))


def _loads() -> list[str]:
    with open("/proc/loadavg", encoding="ascii") as file:
        return file.read().split()


class Limit:
    """So many shares from now on."""

    def __init__(self, shares_s: float) -> None:
        self._left_s = shares_s
        self._seen_s = time.monotonic()

    @property
    def over(self) -> bool:
        now_s = time.monotonic()
        self._left_s -= min(now_s - self._seen_s, STEP_S) / crowd()
        self._seen_s = now_s
        return self._left_s <= 0


def until(what: Callable[[], Any], within_s: float, why: str, *, each_s: float = 0.02) -> Any:
    """Wait for the first true answer; fails with the reason when none comes in so many shares."""
    limit = Limit(within_s)
    while not (found := what()):
        assert not limit.over, f"waited {within_s:g} s in vain: {why}"
        time.sleep(each_s)
    return found


def ends(thread: threading.Thread, why: str = "a thread does not end") -> None:
    """Wait for the end of a thread; fails where it hangs."""
    thread.join(HANG_S)
    assert not thread.is_alive(), why


def shares_s(since_s: float) -> float:
    """How many shares have gone by since a moment of the monotonic clock."""
    return (time.monotonic() - since_s) / crowd()


class Lateness:
    """What the machine had to spare meanwhile: how late it woke one who asks for little, and how crowded it was.

    A test of times as they are at the wire holds them against this: what was late by as much as an idle thread
    is woken late is not the engine's doing.
    """

    def __init__(self) -> None:
        self.late_s = 0.0  # the latest of all
        self._crowds: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __repr__(self) -> str:
        return f"{self.crowd:.1f} wanted each core, the latest wake-up was {1000 * self.late_s:.0f} ms late"

    @property
    def crowd(self) -> float:
        """How many wanted each core, in the mean."""
        return sum(self._crowds) / max(1, len(self._crowds))

    @property
    def slack(self) -> float:
        """How many times longer than on a machine of its own something may have taken."""
        return max(1.0, self.crowd)

    @property
    def prompt(self) -> bool:
        """Whether who asked to be woken was: times are as the engine made them, and not as the machine did."""
        return self.late_s < PROMPT_S and self.crowd < CROWDED

    def _look(self) -> None:
        due_s = time.monotonic()
        while not self._over.is_set():
            due_s += TICK_S
            time.sleep(max(0.0, due_s - time.monotonic()))
            now_s = time.monotonic()
            self.late_s = max(self.late_s, now_s - due_s)
            self._crowds.append(_wanting())
            due_s = max(due_s, now_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()


def _wanting() -> float:
    """How many want each core at this moment, this one left out."""
    running = int(_loads()[3].partition("/")[0])
    return max(0, running - 1) / len(os.sched_getaffinity(0))


def growth(act: Callable[[int], object], small: int, large: int) -> float:
    """How many times more the large one costs; by its processor time, held against the small one's."""
    return cpu_s(lambda: act(large)) / cpu_s(lambda: act(small))


def cpu_s(act: Callable[[], object], times: int = 3) -> float:
    """The least processor time of some calls: what others do to the machine is hardly in it."""
    found = []
    for _ in range(times):
        began_s = time.process_time()
        act()
        found.append(time.process_time() - began_s)
    return min(found)
