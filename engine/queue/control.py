"""Steering a live run: what is asked of it, and how it goes on.

    engine stop                     -> control.json           the last word counts
    engine pause, resume, set       -> asked/<n>.<any>.json   done in this order; one file each, so none is lost
    engine status, set              <- live.json              the course, as the supervisor keeps it

Each file is made whole or not at all, and nobody waits for a lock. What is asked bears a sum: a changed digit
must not become another rate. A course belongs to the process that it names and ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from zlib import crc32

from engine.budget import parse_rate
from engine.errors import UsageError
from engine.queue.directory import Queue
from engine.storage import disk, processes
from engine.storage.locks import living_holder

MAX_PROCESSES, MAX_THREADS = 256, 1024
MAX_BYTES = 4096
ANSWER_S = 10.0
POLL_S = 0.02
ELSEWHERE_S = 0.2  # between two looks at the lock of a run in another container
WATCH_S = 1.0  # between two looks at the lock of a run whose process goes on living
_WHOSE = ("pid", "started", "boot")  # of the run whose course it is; the note in run.lock has them, too
_NAME = re.compile(r"([0-9]{1,9})\.[0-9a-f]{8}\.json")


# ---- stop ------------------------------------------------------------------------------------------------
def request_stop(queue: Queue, *, now: bool) -> None:
    """Ask the live run to finish what is in flight and end, or to end at once."""
    data = json.dumps({"stop": True, "now": now}).encode()
    disk.publish(queue.control, data, tmp_dir=queue.tmp, sync=False)


def read_request(queue: Queue) -> dict[str, Any] | None:
    """Whether and how to stop, or None."""
    value = _load(queue.control)
    return value if isinstance(value, dict) else None


def clear_request(queue: Queue) -> None:
    """Forget whatever was asked: it is being done, or it was asked of a run that is gone."""
    disk.unlink_quietly(queue.control)
    for path in _asked(queue):
        with contextlib.suppress(OSError):
            disk.unlink(path)


# ---- pause, resume, set ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be otherwise; None: as it is. `rate` in the notation of `--rate`."""

    paused: bool | None = None
    rate: str | None = None
    processes: int | None = None
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: object) -> Ask:
        """What `to_json` made. Raises TypeError or ValueError when it is not that."""
        if not isinstance(value, dict):
            raise TypeError("not an object")
        its = cls(**value)
        if not isinstance(its.paused, bool | None):
            raise TypeError("paused is neither true nor false")
        for number, most in ((its.processes, MAX_PROCESSES), (its.threads, MAX_THREADS)):
            if number is not None and not (type(number) is int and 1 <= number <= most):
                raise ValueError("a number out of range")
        if its.rate is not None:
            _checked_rate(its.rate)
        return its


@dataclass(frozen=True, slots=True)
class Course:
    """How a run goes on. It begins with the run's options, and what is asked changes it for this run only."""

    rate: str
    processes: int
    threads: int
    paused: bool = False

    def after(self, ask: Ask) -> Course:
        """The course when this is done."""
        return replace(self, **ask.to_json())

    def turns(self, after: Course) -> list[tuple[str, str]]:
        """What leads from this course to that one, as (event, reason): `pause`, `resume`, `set`."""
        found = []
        if self.paused != after.paused:
            found.append(("pause" if after.paused else "resume", "by user"))
        names = [
            name for name in ("rate", "processes", "threads") if getattr(self, name) != getattr(after, name)
        ]
        words = [f"{name} {getattr(self, name)} -> {getattr(after, name)}" for name in names]
        return [*found, *([("set", ", ".join(words))] if words else [])]


def ask(queue: Queue, what: Ask) -> str:
    """Ask something of the live run; returns the file's path, which is gone when the run has done it.

    Whoever asks later has the higher number, unless all before it is done already; two who ask at the same time
    have the same, and any order is right. Raises OSError.
    """
    disk.ensure_dir(queue.asked)
    last = max((_number(path) for path in _asked(queue)), default=0)
    path = os.path.join(queue.asked, f"{last + 1:06d}.{secrets.token_hex(4)}.json")
    value = what.to_json()
    disk.publish(path, json.dumps({"ask": value, "crc32": _sum(value)}).encode() + b"\n", sync=False)
    return path


class Inbox:
    """What is asked of this run, in order."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._stuck: set[str] = set()

    def take(self) -> Iterator[Ask | None]:
        """Each ask once, None for one that cannot be read. Its file goes when the caller takes the next: it is
        done by then."""
        for path in _asked(self._queue):
            if path in self._stuck:
                continue
            yield _read_ask(path)
            try:
                disk.unlink(path)
            except FileNotFoundError:
                pass
            except OSError:  # it stays, and must not be done again and again
                self._stuck.add(path)


def answered(queue: Queue, path: str, within_s: float = ANSWER_S) -> bool:
    """Wait until what was asked is done; False when the run ends first, or has not looked within the time."""
    ends_at = time.monotonic() + within_s
    while os.path.exists(path):
        if time.monotonic() >= ends_at or living_holder(queue.run_lock) is None:
            return False
        time.sleep(POLL_S)
    return True


def _asked(queue: Queue) -> list[str]:
    """The files of all asks, in order."""
    try:
        names = os.listdir(queue.asked)
    except OSError:
        return []
    paths = [os.path.join(queue.asked, name) for name in names if _NAME.fullmatch(name)]
    return sorted(paths, key=lambda path: (_number(path), path))


def _number(path: str) -> int:
    return int(os.path.basename(path).partition(".")[0])


def _sum(value: object) -> int:
    return crc32(json.dumps(value, sort_keys=True).encode())


def _read_ask(path: str) -> Ask | None:
    value = _load(path)
    if not isinstance(value, dict) or value.get("crc32") != _sum(value.get("ask")):
        return None
    try:
        return Ask.from_json(value["ask"])
    except (TypeError, ValueError):
        return None


def _checked_rate(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError("not a rate")
    try:
        parse_rate(text)
    except UsageError as exc:
        raise ValueError(str(exc)) from None


# ---- the course, for onlookers ---------------------------------------------------------------------------
def publish_course(queue: Queue, course: Course) -> None:
    """Say how this process's run goes on. A disk that takes it not at all costs an onlooker's look, no more."""
    identity = processes.identity()
    whose = {
        name: identity[name] for name in _WHOSE
    }  # these and no more: an earlier version takes no other field
    data = json.dumps({**whose, **asdict(course)}).encode() + b"\n"
    with contextlib.suppress(OSError):
        disk.publish(queue.live, data, tmp_dir=queue.tmp, sync=False)


def forget_course(queue: Queue) -> None:
    """The run ends."""
    with contextlib.suppress(OSError):
        disk.unlink_quietly(queue.live)


def read_course(queue: Queue, run: dict[str, Any] | None) -> Course | None:
    """The course of the run whose lock bears this note; None when it has not said, or what it said is damaged."""
    value = _load(queue.live)
    if run is None or not isinstance(value, dict):
        return None
    if any(value.get(name) != run.get(name) for name in _WHOSE):
        return None
    try:
        course = Course(**{name: value[name] for name in Course.__dataclass_fields__})
    except KeyError:
        return None
    sorts = [type(its) for its in (course.rate, course.processes, course.threads, course.paused)]
    return course if sorts == [str, int, int, bool] else None


# ---- its end ---------------------------------------------------------------------------------------------
def ended(
    queue: Queue, timeout_s: float, wait: Callable[[int, float], None] = processes.wait_for_end
) -> bool:
    """Wait until no run is live here; False when the time is over first."""
    ends_at = time.monotonic() + timeout_s
    while (run := living_holder(queue.run_lock)) is not None:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            return False
        if processes.elsewhere(run):  # its number is another process here
            time.sleep(min(left_s, ELSEWHERE_S))
        else:
            wait(int(run["pid"]), min(left_s, WATCH_S))
    return True


def _load(path: str) -> Any:
    """The JSON in a small file; None when there is none, or something else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return json.loads(os.read(fd, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(fd)
