"""What the processes of a long run use, sampled, and whether that stays flat."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from commands import MONITOR, WORKER, Command, command_line, semaphores, session_members

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GROWN_UP_S = 8.0  # a process younger than this is still starting
A_LIFE_S = 60.0  # one that was seen for so long is judged by itself, too
MIN_SAMPLES = 9


@dataclass(frozen=True)
class Sample:
    """One process at one moment."""

    at_s: float
    role: str
    pid: int
    rss_bytes: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Trend:
    """A figure's median in the first and in the last third of its samples, and how far it may have grown."""

    what: str
    first: float
    last: float
    allowed: float
    samples: int

    @property
    def flat(self) -> bool:
        return self.last <= self.allowed

    def __str__(self) -> str:
        word = "" if self.flat else f" NOT FLAT (at most {self.allowed:.4g})"
        return f"{self.what} {self.first:.4g} -> {self.last:.4g}{word}"


# figure -> (unit, how much more the last third may be: share of the first third, and so much on top)
ALLOWED: dict[str, tuple[Callable[[Sample], float], float, float]] = {
    "rss_mb": (lambda sample: sample.rss_bytes / 1e6, 0.15, 8.0),
    "descriptors": (lambda sample: sample.descriptors, 0.1, 6.0),
    "threads": (lambda sample: sample.threads, 0.1, 3.0),
}


class Gauges:
    """Samples the processes of whichever run is current, in a thread of its own."""

    def __init__(self, pause_s: float) -> None:
        self.samples: list[Sample] = []
        self.semaphores: list[tuple[float, int]] = []
        self.sessions: list[int] = []
        self._pause_s = pause_s
        self._born: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def follow(self, run: Command) -> None:
        """Sample this run from now on."""
        self.sessions.append(run.pid)

    def _look(self) -> None:
        while not self._over.wait(self._pause_s):
            now = time.monotonic()
            self.semaphores.append((now, len(semaphores(self.sessions))))
            for pid in session_members(self.sessions[-1]) if self.sessions else []:
                found = _role(pid, self.sessions[-1])
                born_s = self._born.setdefault(pid, now)
                if found and now - born_s >= GROWN_UP_S:
                    with contextlib.suppress(OSError, ValueError, IndexError):
                        self.samples.append(_sample(now, found, pid))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(10.0)

    def trends(self) -> list[Trend]:
        """Each figure of each role over the whole time, and of each long life; and /dev/shm."""
        found = []
        for role in ("supervisor", "monitor", "worker"):
            mine = [sample for sample in self.samples if sample.role == role]
            found += _trends(role, mine, ALLOWED)
            lives: dict[int, list[Sample]] = {}
            for sample in mine:
                lives.setdefault(sample.pid, []).append(sample)
            # A worker's memory grows with what it has to do once: the second opinion's code, say.
            figures = {name: item for name, item in ALLOWED.items() if role != "worker" or name == "threads"}
            for pid, life in lives.items():
                if life[-1].at_s - life[0].at_s >= A_LIFE_S:
                    found += _trends(f"{role} {pid}, {life[-1].at_s - life[0].at_s:.0f} s:", life, figures)
        shm = [Sample(at_s, "", 0, 0, count, 0) for at_s, count in self.semaphores]
        return [
            *found,
            *_trends("/dev/shm", shm, {"entries": (lambda sample: sample.descriptors, 0.25, 8.0)}),
        ]


def trend(what: str, values: list[float], share: float, more: float) -> Trend | None:
    """The first third against the last; None when there are too few."""
    if len(values) < MIN_SAMPLES:
        return None
    third = len(values) // 3
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    return Trend(what, first, last, first * (1 + share) + more, len(values))


def _trends(
    who: str, samples: list[Sample], figures: dict[str, tuple[Callable[[Sample], float], float, float]]
) -> Iterable[Trend]:
    for name, (figure, share, more) in figures.items():
        found = trend(f"{who} {name}", [figure(sample) for sample in samples], share, more)
        if found is not None:
            yield found


def _role(pid: int, session: int) -> str | None:
    if pid == session:
        return "supervisor"
    line = command_line(pid)
    if MONITOR in line:
        return "monitor"
    return "worker" if WORKER in line and "tracker" not in line else None


def _sample(now: float, role: str, pid: int) -> Sample:
    place = Path(f"/proc/{pid}")
    rss_bytes = int((place / "statm").read_bytes().split()[1]) * PAGE_BYTES
    threads = len(os.listdir(place / "task"))
    return Sample(now, role, pid, rss_bytes, len(os.listdir(place / "fd")), threads)
