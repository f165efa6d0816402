"""A run as a child process: `python -m engine run`, started, watched and ended by another program.

Its options are arguments, but for the proxies, which may hold passwords: they go by a pipe. Its standard input is
another pipe, whose end tells it that the program is gone. What it prints for people is read when it has ended; how
far it is, is read from the queue's files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Any, Literal, Self, TypedDict

from engine.errors import (
    DiskError,
    EngineError,
    Exit,
    HeldError,
    NoProxyError,
    NoQueueError,
    RunDiedError,
    UsageError,
    did_you_mean,
)
from engine.monitor import status
from engine.monitor.batch_status import BatchStatus
from engine.network.proxies import parse_proxy, read_proxies
from engine.process import environment
from engine.queue.directory import Queue
from engine.storage.locks import living_holder
from engine.storage.processes import SIGNALS

_ERRORS: dict[int, type[EngineError]] = {
    Exit.USAGE: UsageError,
    Exit.NO_QUEUE: NoQueueError,
    Exit.HELD: HeldError,
    Exit.NO_PROXY: NoProxyError,
    Exit.DISK: DiskError,
}
ENGINE = (sys.executable, "-P", "-m", "engine")
_SEEDS = "give it to Batch.seed"
_LEFT_OUT = {
    **dict.fromkeys(
        ("column", "encoding", "keep_columns", "max_results", "newest", "sheet", "since", "skip_known"),
        _SEEDS,
    ),
    "no_mask": "give mask=False",
    "progress": "give on_status",
    "queue": "give it to Batch",
    "until_stdin_ends": "a run ends with its program, unless it is detached",
    "verbose": "read events.jsonl in the queue",
}
_MARKS = ("engine: ", "Error: ")  # in front of the message that a command ends with


class RunOptions(TypedDict, total=False):
    """The options of `engine run` by their long names, with an underscore for each hyphen.

    `engine run --help` says what each does.
    What is left out is what `engine run` would take: its variable, the queue's `engine.toml`, the default.
    `proxy` is one proxy or several, `proxies` a file of them.
    """

    all_languages: bool
    attempts: int
    budget: str | os.PathLike[str]
    ca_bundle: str | os.PathLike[str]
    control_video: str | Iterable[str]
    deadline: float
    export: str | Iterable[str]
    fetch: Literal["lean", "full"]
    format: str | Iterable[str]
    generated_only: bool
    grace: float
    languages: str | Iterable[str]
    limit: int
    manual_only: bool
    mask: bool | Literal["auto", "on", "off"]
    max_bytes: str
    max_duration: str
    max_requests: int
    metadata: Literal["basic", "full"]
    no_memory: bool
    notify: str
    on_block: Literal["wait", "stop"]
    output: str | os.PathLike[str]
    output_lost: bool
    processes: int
    profile: str
    proxies: str | os.PathLike[str]
    proxy: str | Iterable[str]
    rate: str | float
    replace: bool
    rotating: bool
    sequential: bool
    store: Literal["files", "shards"]
    threads: int
    translate: str
    ways: str
    ytdlp_options: str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended: its exit code (see `engine --help`), what it said for people, and the status after it.

    `exit_code` 0: all final, none failed; 3: finished, some failed; 4: stopped by `stop` or a limit; 5: every egress
    is blocked (with `on_block="stop"`); 129, 130, 143: stopped by a signal. Everything else is raised.
    """

    exit_code: int
    messages: tuple[str, ...]
    status: BatchStatus

    @property
    def finished(self) -> bool:
        """Whether every job is final."""
        return self.exit_code in (Exit.OK, Exit.SOME_FAILED)


class RunHandle:
    """A run at work in a child process, as `Batch.start` returns it. Leaving the `with` block stops it.

    When the program that started it ends, however it ends, the run finishes what is in flight and stops; the next run
    goes on. A detached one goes on by itself.
    """

    def __init__(self, root: str, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._root = root
        self._process = process
        self._said = said
        self._result: RunResult | EngineError | None = None
        self._lock = threading.Lock()
        self._begun = False  # whether it has been seen to hold the queue
        _live.add(self)  # its pipe must stay open also when the caller drops the handle

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def status(self) -> BatchStatus:
        """How far the batch is. Until the process has begun to work, `state` is `starting`."""
        begun = self._begun or not self.running
        if not begun:
            holder = living_holder(Queue(self._root).run_lock)
            begun = self._begun = holder is not None and holder.get("pid") == self.pid
        found = BatchStatus.from_json(status.collect(self._root))
        return found if begun else replace(found, state="starting")

    def wait(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the end of the run.

        Raises TimeoutError after `timeout_s`, and the run goes on. Raises UsageError, NoQueueError, HeldError,
        NoProxyError, DiskError or RunDiedError when the run ended so.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the run (pid {self.pid}) has not ended within {timeout_s:g} s") from None
        result = self._finish(code)
        if isinstance(result, EngineError):
            raise result
        return result

    def stop(self, *, now: bool = False) -> None:
        """Have it finish what is in flight and end, or with `now` end at once. `wait` says when it has."""
        if self.running:
            self._process.terminate()
            if now:
                self._process.send_signal(signal.SIGINT)  # a second signal

    def _finish(self, code: int) -> RunResult | EngineError:
        """Read what it printed, once, and release its pipes."""
        with self._lock:
            if self._result is None:
                self._result = self._ended(code)
                self._close()
            return self._result

    def _ended(self, code: int) -> RunResult | EngineError:
        if -code in SIGNALS:  # before the run could handle any
            code = 128 - code
        self._said.seek(0)
        said = lines_of(self._said.read())
        if code in (*_ERRORS, Exit.BUG) or code < 0:
            return error_of("the run", self._root, self.pid, code, said)
        return RunResult(code, said, self.status())

    def _close(self) -> None:
        _live.discard(self)
        self._said.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        try:
            code = self._process.wait()
        except KeyboardInterrupt:  # a second one
            self.stop(now=True)
            self._process.wait()
            raise
        with contextlib.suppress(EngineError, OSError):  # `wait` raises what is wrong with the queue
            self._finish(code)


_live: set[RunHandle] = set()


def lines_of(data: bytes) -> tuple[str, ...]:
    """What a command printed for people, line by line."""
    return tuple(line for line in data.decode("utf-8", "replace").splitlines() if line.strip())


def error_of(what: str, root: str, pid: int, code: int, said: tuple[str, ...]) -> EngineError:
    """The exception for a command's exit code (negative: a signal) and what it said."""
    begins = [at for at, line in enumerate(said) if line.startswith(_MARKS)]
    lines = said[begins[-1] :] if begins else said[-1:]
    lines = tuple(line.removeprefix(_MARKS[0]).removeprefix(_MARKS[1]) for line in lines)
    if code == Exit.NO_QUEUE:  # what the command line says there is for who types
        lines = (f"no queue in {root}: Batch.seed makes one",)
    if code not in _ERRORS:
        name = f"was ended by {signal.Signals(-code).name}" if code < 0 else "met a bug"
        return RunDiedError(f"{what} (pid {pid}) {name}", *lines, code=code, path=root, pid=pid)
    holder = living_holder(Queue(root).run_lock) if code == Exit.HELD else None
    return _ERRORS[code](*lines, path=root, pid=int(holder["pid"]) if holder else None)


def _leave_to_parent() -> None:
    """In a forked child: close its copies of the pipes, else runs would not notice the end of the parent."""
    for run in _live:
        if run._process.stdin is not None:
            run._process.stdin.close()
    _live.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


def start_run(root: str, options: RunOptions, *, detached: bool, rehearsal: bool = False) -> RunHandle:
    """Start a run of this queue, or a rehearsal with a server of its own, and return at once; see `Batch.start`."""
    refuse_unknown("run", options, RunOptions)
    proxies = _proxies(options.pop("proxy", ()), options.pop("proxies", None))
    verb = ["rehearse", "--videos=0"] if rehearsal else ["run"]
    command = [*ENGINE, *verb, f"--queue={root}", "--progress=none", *arguments({**options, "notify": None})]
    variables = own_environment()
    if notify := options.get("notify"):  # may hold a secret, which a command line would show to all
        variables["ENGINE_NOTIFY"] = notify
    pipes: tuple[int, ...] = ()
    if proxies:
        variables.pop("ENGINE_PROXY", None)  # else both would be used
        pipes = os.pipe()
        command += [f"--proxies=/dev/fd/{pipes[0]}"]
    if not detached:
        command += ["--until-stdin-ends"]
    said = tempfile.TemporaryFile()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=variables,
            pass_fds=pipes[:1],
            start_new_session=True,  # a terminal's ^C comes to this process alone, which then stops the run
        )
    except BaseException:
        for fd in pipes:
            os.close(fd)
        said.close()
        raise
    run = RunHandle(root, process, said)
    if pipes:
        os.close(pipes[0])
        _write(pipes[1], "\n".join(proxies))
    return run


def refuse_unknown(method: str, options: Mapping[str, Any], known: type) -> None:
    """Raise TypeError for an option that a method of `Batch` does not have."""
    for name in sorted(options.keys() - known.__annotations__.keys()):
        hint = _LEFT_OUT.get(name) if method == "run" else None
        hint = f": {hint}" if hint else did_you_mean(name, known.__annotations__)
        raise TypeError(f"Batch.{method} has no option {name!r}{hint}")


def own_environment() -> dict[str, str]:
    """The environment of this process, by which a child finds the same modules."""
    variables = dict(os.environ)
    if modules := environment.environment().get("PYTHONPATH"):
        variables["PYTHONPATH"] = modules
    return variables


def arguments(options: Mapping[str, Any]) -> list[str]:
    """Options as arguments of the command line."""
    found = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            found += [flag] if value else ["--no-mask"] if name == "mask" else []
        elif value is not None:
            several = (
                [value] if isinstance(value, str | os.PathLike) or not isinstance(value, Iterable) else value
            )
            found += [
                f"{flag}={os.fspath(each) if isinstance(each, os.PathLike) else each}" for each in several
            ]
    return found


def _proxies(proxy: str | Iterable[str], file: str | os.PathLike[str] | None) -> list[str]:
    """All proxies as URLs. Raises UsageError, which never shows a password."""

    given = [proxy] if isinstance(proxy, str) else proxy
    urls = [parse_proxy(text, f"proxy {number}") for number, text in enumerate(given, 1)]
    return urls + (read_proxies(os.fspath(file))[0] if file is not None else [])


def _write(fd: int, text: str) -> None:
    """Write to a pipe and close it. A reader that ends before it has read all reports why itself."""
    with contextlib.suppress(OSError), open(fd, "w", encoding="utf-8") as pipe:
        pipe.write(text)
