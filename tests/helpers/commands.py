"""Real commands against the rehearsal: how the end-to-end and the crash tests start, watch and check them.

Nothing here looks into a run through the engine's own code: commands are processes, and what they leave behind
is read from the files by `recount`. Only the stand-in is used as a library, for its handle and its knowledge
of what becomes of each video.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Self

import recount
from patience import HANG_S, Limit, until
from warm import Warm, fits

from engine.rehearsal import Rehearsal, invented_ids, parse_scenario
from engine.rehearsal.scenarios import video_fault

PROCESSES, THREADS = 1, 16  # who wants to see processes beside each other says so
LATENCY_S = 0.05
MONITOR, LISTER, WORKER = (
    "engine.monitor.monitor",
    "engine.run.lister",
    "popen_loky",
)  # what their command lines hold
_SCRIPT = Path(sys.executable).with_name("engine")
COMMAND = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-m", "engine"]
# Left by runs that were killed and never taken up again; a process of today may have the number of one of them.
_OLD_SEMAPHORES = frozenset(os.listdir("/dev/shm"))
_KINDS = {"members": "members_only", "age": "age_restricted", "region": "region_blocked"}


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would set an option of the command."""
    names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ENGINE_") and k not in names}
    # The mask's own checks would add requests to runs whose requests are counted.
    return {**kept, "COLUMNS": "120", "ENGINE_MASK": "off", **more}


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative for a signal) and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


# Options of one value, by each of their names: an option given twice is refused.
_ONCE = {
    name: names[-1]
    for names in (
        ("-q", "--queue"),
        ("-o", "--output"),
        ("-p", "--processes"),
        ("-t", "--threads"),
        ("-l", "--languages"),
        ("--rate",),
        ("--progress",),
        ("--ca-bundle",),
        ("--attempts",),
        ("--deadline",),
    )
    for name in names
}


def last_wins(args: Sequence[str | os.PathLike[str]]) -> list[str]:
    """These arguments, of an option that is given more than once only the last: defaults come first in a test."""
    texts = [str(arg) for arg in args]
    last = {_ONCE[text]: at for at, text in enumerate(texts) if text in _ONCE}
    gone = {at for at, text in enumerate(texts) if text in _ONCE and last[_ONCE[text]] != at}
    return [text for at, text in enumerate(texts) if at not in gone and at - 1 not in gone]


class Command:
    """One `engine` command in a session of its own. Leaving the context ends whatever is left of it."""

    def __init__(
        self,
        *args: str | os.PathLike[str],
        stdin: bytes | None = None,
        umask: int = -1,
        cwd: Path | None = None,
        warm: bool = False,
        **env: str,
    ) -> None:
        self.args = last_wins(args)
        variables = environment(**env)
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._stdin: IO[bytes] | int = subprocess.DEVNULL
        if stdin is not None:
            self._stdin = tempfile.TemporaryFile()
            self._stdin.write(stdin)
            self._stdin.seek(0)
        self.process: subprocess.Popen[bytes] | Warm
        if warm and fits(variables):
            with open(os.devnull, "rb") as nothing:
                stdin_fd = nothing.fileno() if isinstance(self._stdin, int) else self._stdin.fileno()
                files = (stdin_fd, self._out.fileno(), self._err.fileno())
                self.process = Warm(
                    "command", [*COMMAND[:1], *self.args], variables, files, umask, str(cwd or "")
                )
        else:
            self.process = subprocess.Popen(
                [*COMMAND, *self.args],
                stdin=self._stdin,
                stdout=self._out,
                stderr=self._err,
                env=variables,
                start_new_session=True,
                umask=umask,
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def live(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout_s: float = 60.0) -> Ended:
        """Wait for its end, so many shares at most."""
        limit = Limit(timeout_s)
        while (code := self.process.poll()) is None:
            if limit.over:
                said = self.said()
                self.kill_all()
                raise AssertionError(f"engine {' '.join(self.args)} did not end in {timeout_s:g} s\n{said}")
            time.sleep(0.01)
        return Ended(code, _read(self._out), _read(self._err))

    def said(self) -> str:
        return _read(self._out) + _read(self._err)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def members(self, what: str = "") -> list[int]:
        """The living processes of its session whose command line holds `what`."""
        return [pid for pid in session_members(self.pid) if what in command_line(pid)]

    def kill_all(self) -> None:
        """kill -9 the whole group, and whoever of the session is in another; all are dead when it returns."""
        if self.live:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        for pid in session_members(self.pid):
            kill(pid)
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill_all()
        for file in (self._out, self._err, self._stdin):
            if not isinstance(file, int):
                file.close()


def engine(
    *args: str | os.PathLike[str], stdin: bytes | None = None, timeout_s: float = 60.0, **env: str
) -> Ended:
    """Run a command to its end, its interpreter warm. It never ends in a traceback."""
    with Command(*args, stdin=stdin, warm=True, **env) as command:
        ended = command.wait(timeout_s)
    assert "Traceback" not in ended.said, ended.said
    return ended


def unpaced(root: Path) -> tuple[str | Path, ...]:
    """`run`, silent and without a rate, on the queue and the output below a directory."""
    return ("run", "-q", root / "queue", "-o", root / "out", "--rate", "none", "--progress", "none")


def _read(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "replace")


def session_members(session: int) -> list[int]:
    """The living processes of a session (zombies do nothing any more)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
                    found.append(int(name))
    return found


def kill(pid: int) -> None:
    """kill -9 a process; it is dead when this returns."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until(lambda: _state(pid) in (b"", b"Z", b"X"), 5.0, f"for {pid} to die", each_s=0.001)


def _state(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return b""


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


@dataclass
class Batch:
    """A queue, its output directory and its list of videos, and how its runs reach the stand-in."""

    root: Path
    site: Rehearsal | None = None
    ids: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)  # of all its runs
    warm: ClassVar[bool] = False  # `scripts/crash` starts each run from nothing

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(f"{video_id}\n" for video_id in self.ids))

    @property
    def queue(self) -> Path:
        return self.root / "queue"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def file(self) -> Path:
        return self.root / "videos.txt"

    def run_args(self, *more: str | os.PathLike[str], proxy: str | None = None) -> list[str]:
        """The arguments of a run of this batch; options in `more` win."""
        args = ["run", "-q", self.queue, "-o", self.out, "--rate", "none", "--progress", "none"]
        args += ["-p", PROCESSES, "-t", THREADS]
        if self.site is not None:
            args += ["--proxy", proxy or self.site.proxy_url, "--ca-bundle", self.site.ca_bundle]
        return last_wins((*args, *more))

    def start(self, *more: str | os.PathLike[str], proxy: str | None = None, **env: str) -> Command:
        """Start a run that seeds the list and goes on where the last one was; its interpreter is warm in a suite."""
        command = Command(*self.run_args(self.file, *more, proxy=proxy), warm=Batch.warm, **env)
        self.pids.append(command.pid)
        return command

    def run(
        self, *more: str | os.PathLike[str], proxy: str | None = None, timeout_s: float = 90.0, **env: str
    ) -> Ended:
        """A run to its end; nothing of it is left alive, and it never ends in a traceback."""
        with self.start(*more, proxy=proxy, **env) as command:
            ended = command.wait(timeout_s)
            self.gone(command)
        assert "Traceback" not in ended.said, ended.said
        return ended

    def does(self, name: str, *args: str | os.PathLike[str], **env: str) -> Ended:
        """Another command on this queue."""
        return engine(name, "-q", self.queue, *args, **env)

    def status(self) -> dict[str, Any]:
        ended = self.does("status", "--json")
        return json.loads(ended.out)

    def seen(self, count: int, within_s: float = 20.0) -> None:
        """Wait until the stand-in has seen so many requests."""
        site = self.site
        assert site is not None
        until(
            lambda: sum(site.stats()["requests"].values()) >= count, within_s, f"for {count} requests to come"
        )

    def gone(self, command: Command) -> None:
        """Nothing of a run that has ended is alive."""
        until(lambda: not command.members(), 3.0, f"orphans of run {command.pid}: {command.members()}")

    def rows(self) -> dict[str, dict[str, Any]]:
        """The manifest by id; each id once."""
        return recount.by_id(recount.manifest(self.queue))

    def clean(self, *, finished: bool = True) -> None:
        """Nothing is left of runs that have all ended: no claims, temporary files, semaphores, stray output."""
        left = recount.leftovers(self.queue, self.out)
        assert left == [], left
        until(lambda: not semaphores(self.pids), 30.0, f"semaphores in /dev/shm: {semaphores(self.pids)}")
        recount.check_files(self.queue, self.out)
        if finished:
            assert set(self.rows()) == set(self.ids)
            verified = self.does("verify")
            assert verified.code == 0, verified.said


def run_on_a_terminal(batch: Batch, *more: str | os.PathLike[str]) -> tuple[subprocess.Popen[bytes], int]:
    """A run in a session with a terminal of its own, and the terminal's other end."""
    master, slave = os.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [*COMMAND, *batch.run_args(batch.file, "--progress", "bar", *more)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(TERM="xterm"),
        preexec_fn=own_terminal,  # noqa: PLW1509 - a controlling terminal can be had in no other way
    )
    os.close(slave)
    batch.pids.append(process.pid)
    return process, master


def semaphores(pids: Iterable[int]) -> list[str]:
    """The named semaphores that processes of these numbers left in shared memory."""
    prefixes = tuple(f"sem.loky-{pid}-" for pid in pids)
    return [
        name for name in os.listdir("/dev/shm") if name.startswith(prefixes) and name not in _OLD_SEMAPHORES
    ]


def videos(count: int, seed: int) -> list[str]:
    return list(invented_ids(count, seed))


def kinds(rows: dict[str, dict[str, Any]]) -> dict[str, str | None]:
    return {video_id: row["kind"] for video_id, row in rows.items()}


def expected_kinds(ids: Iterable[str], scene: str, seed: int) -> dict[str, str | None]:
    """What the stand-in itself says becomes of each video under one permanent scene."""
    parsed = parse_scenario(scene)

    def kind(video_id: str) -> str | None:
        if not parsed.touches(seed, video_id):
            return None
        fault = video_fault(parsed, seed, video_id)
        return _KINDS.get(fault, fault)

    return {video_id: kind(video_id) for video_id in ids}


class Onlooker:
    """Asks `engine status --json` again and again while a run is at work, and checks what it is told."""

    NEVER_BACK = ("total", "requests", "bytes", "updated_at")

    def __init__(self, batch: Batch, pause_s: float) -> None:
        self._batch, self._pause_s = batch, pause_s
        self._answers: list[tuple[Ended, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(self._pause_s):
            began = time.monotonic()
            with Command("status", "-q", self._batch.queue, "--json", warm=True) as command:
                ended = command.wait(20.0)
            self._answers.append((ended, time.monotonic() - began))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(HANG_S)

    @property
    def last(self) -> dict[str, Any] | None:
        """What it was told last."""
        return json.loads(self._answers[-1][0].out) if self._answers else None

    def check(self, at_least: int) -> float:
        """The rules of a status hold for each answer and from one to the next; returns the median time in s."""
        last: dict[str, Any] | None = None
        assert len(self._answers) >= at_least
        for ended, _ in self._answers:
            assert ended.code in (0, 10), ended.said
            assert ended.err == "" or ended.code == 10, ended.err
            value = json.loads(ended.out)
            if value["state"] == "empty":
                assert last is None
                continue
            parts = ("pending", "in_flight", "deferred", "ok", "absent", "failed")
            assert value["total"] == sum(value[name] for name in parts), value
            assert min(value[name] for name in parts) >= 0, value
            value["final"] = value["ok"] + value["absent"] + value["failed"]
            for name in (*self.NEVER_BACK, "final"):
                assert last is None or value[name] >= last[name], (name, last, value)
            last = value
        return statistics.median(took_s for _, took_s in self._answers)


@contextlib.contextmanager
def watching(batch: Batch, pause_s: float) -> Iterator[Onlooker]:
    with Onlooker(batch, pause_s) as onlooker:
        yield onlooker
