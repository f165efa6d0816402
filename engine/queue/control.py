"""Controlling a live run: requests to it, and the state it publishes.

    engine stop                     -> control.json           the last one counts
    engine pause, resume, set       -> asked/<n>.<any>.json   done in this order; one file each, so none is lost
    engine status, set              <- live.json              the run's state, as the supervisor publishes it

Each file appears complete or not at all, and nobody waits for a lock. A request carries a checksum: a damaged digit
must not become another rate. The state belongs to the process that it names and ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
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
ELSEWHERE_S = 0.2  # poll interval for the lock of a run in another container
WATCH_S = 1.0  # poll interval for the lock of a run whose process lives
_IDENTITY = (
    "pid",
    "started",
    "boot",
)  # of the run that published its state; the note in run.lock has them too
_NAME = re.compile(r"([0-9]{1,9})\.[0-9a-f]{8}\.json")


# ---- stop ------------------------------------------------------------------------------------------------
def request_stop(queue: Queue, *, now: bool) -> None:
    """Ask the live run to finish what is in flight and end, or to end at once."""
    data = json.dumps({"stop": True, "now": now}).encode()
    disk.publish(queue.control, data, tmp_dir=queue.tmp, sync=False)


def read_stop_request(queue: Queue) -> dict[str, Any] | None:
    """The request to stop, with `now`; None when there is none."""
    value = _load(queue.control)
    return value if isinstance(value, dict) else None


def clear_requests(queue: Queue) -> None:
    """Remove all requests: they are being done, or were meant for a run that is gone."""
    disk.unlink_quietly(queue.control)
    for path in _request_files(queue):
        with contextlib.suppress(OSError):
            disk.unlink(path)


# ---- pause, resume, set ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What a run is to change; None: nothing. `rate` in the notation of `--rate`."""

    paused: bool | None = None
    rate: str | None = None
    processes: int | None = None
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: object) -> ControlRequest:
        """The request that `to_json` wrote. Raises TypeError or ValueError when the value is none."""
        if not isinstance(value, dict):
            raise TypeError("not an object")
        request = cls(**value)
        if not isinstance(request.paused, bool | None):
            raise TypeError("paused is neither true nor false")
        for number, most in ((request.processes, MAX_PROCESSES), (request.threads, MAX_THREADS)):
            if number is not None and not (type(number) is int and 1 <= number <= most):
                raise ValueError("a number out of range")
        if request.rate is not None:
            _check_rate(request.rate)
        return request


@dataclass(frozen=True, slots=True)
class RunState:
    """What can be changed in a live run. It starts with the run's options; requests change it for this run only."""

    rate: str
    processes: int
    threads: int
    paused: bool = False

    def after(self, request: ControlRequest) -> RunState:
        """The state when this request is done."""
        return replace(self, **request.to_json())

    def changes(self, after: RunState) -> list[tuple[str, str]]:
        """The events that lead from this state to that one, as (event, reason): `pause`, `resume`, `set`."""
        found = []
        if self.paused != after.paused:
            found.append(("pause" if after.paused else "resume", "by user"))
        words = [
            f"{name} {getattr(self, name)} -> {getattr(after, name)}"
            for name in ("rate", "processes", "threads")
            if getattr(self, name) != getattr(after, name)
        ]
        return [*found, *([("set", ", ".join(words))] if words else [])]


def send_request(queue: Queue, request: ControlRequest) -> str:
    """Send a request to the live run; returns its file's path, which is gone when the run has done it.

    A later request has a higher number, unless all earlier ones are done; two at the same time may have the same
    number, and either order is right. Raises OSError.
    """
    disk.ensure_dir(queue.asked)
    last = max((_number(path) for path in _request_files(queue)), default=0)
    path = os.path.join(queue.asked, f"{last + 1:06d}.{os.urandom(4).hex()}.json")
    value = request.to_json()
    disk.publish(path, json.dumps({"ask": value, "crc32": _checksum(value)}).encode() + b"\n", sync=False)
    return path


class RequestQueue:
    """The requests to this run, in order."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._stuck: set[str] = set()

    def take(self) -> Iterator[ControlRequest | None]:
        """Each request once, None for a damaged one. Its file is removed when the caller takes the next one."""
        for path in _request_files(self._queue):
            if path in self._stuck:
                continue
            yield _read_request(path)
            try:
                disk.unlink(path)
            except FileNotFoundError:
                pass
            except OSError:  # the file stays, but must not be done again
                self._stuck.add(path)


def wait_until_done(queue: Queue, path: str, within_s: float = ANSWER_S) -> bool:
    """Wait until the request in this file is done; False when the run ends first or the time is up."""
    ends_at = time.monotonic() + within_s
    while os.path.exists(path):
        if time.monotonic() >= ends_at or living_holder(queue.run_lock) is None:
            return False
        time.sleep(POLL_S)
    return True


def _request_files(queue: Queue) -> list[str]:
    """The files of all requests, in order."""
    try:
        names = os.listdir(queue.asked)
    except OSError:
        return []
    paths = [os.path.join(queue.asked, name) for name in names if _NAME.fullmatch(name)]
    return sorted(paths, key=lambda path: (_number(path), path))


def _number(path: str) -> int:
    return int(os.path.basename(path).partition(".")[0])


def _checksum(value: object) -> int:
    return crc32(json.dumps(value, sort_keys=True).encode())


def _read_request(path: str) -> ControlRequest | None:
    value = _load(path)
    if not isinstance(value, dict) or value.get("crc32") != _checksum(value.get("ask")):
        return None
    try:
        return ControlRequest.from_json(value["ask"])
    except (TypeError, ValueError):
        return None


def _check_rate(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError("not a rate")
    try:
        parse_rate(text)
    except UsageError as exc:
        raise ValueError(str(exc)) from None


# ---- the run's state, for onlookers ----------------------------------------------------------------------
def publish_run_state(queue: Queue, state: RunState) -> None:
    """Publish the state of this process's run. When the disk refuses, others do not see it; nothing else follows."""
    identity = processes.identity()
    own = {name: identity[name] for name in _IDENTITY}  # no other field: earlier versions refuse them
    data = json.dumps({**own, **asdict(state)}).encode() + b"\n"
    with contextlib.suppress(OSError):
        disk.publish(queue.live, data, tmp_dir=queue.tmp, sync=False)


def remove_run_state(queue: Queue) -> None:
    """The run ends: nothing is published any more."""
    with contextlib.suppress(OSError):
        disk.unlink_quietly(queue.live)


def read_run_state(queue: Queue, run: dict[str, Any] | None) -> RunState | None:
    """The state of the run with this lock note; None when it published none, or a damaged one."""
    value = _load(queue.live)
    if run is None or not isinstance(value, dict):
        return None
    if any(value.get(name) != run.get(name) for name in _IDENTITY):
        return None
    try:
        state = RunState(**{name: value[name] for name in RunState.__dataclass_fields__})
    except KeyError:
        return None
    types = [type(part) for part in (state.rate, state.processes, state.threads, state.paused)]
    return state if types == [str, int, int, bool] else None


# ---- the run's end ---------------------------------------------------------------------------------------
def wait_for_run_end(
    queue: Queue, timeout_s: float, wait: Callable[[int, float], None] = processes.wait_for_end
) -> bool:
    """Wait until no run is live; False when the time is up first. Tests replace `wait`."""
    ends_at = time.monotonic() + timeout_s
    while (run := living_holder(queue.run_lock)) is not None:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            return False
        if processes.elsewhere(run):  # its pid means another process here
            time.sleep(min(left_s, ELSEWHERE_S))
        else:
            wait(int(run["pid"]), min(left_s, WATCH_S))
    return True


def _load(path: str) -> Any:
    """The JSON in a small file; None when it is missing or holds something else."""
    try:
        return json.loads(disk.read_small(path, MAX_BYTES) or b"null")
    except (ValueError, RecursionError):
        return None
