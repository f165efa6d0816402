"""Commands and rehearsal servers without the start of an interpreter, which is a third of what a short one costs.

A process that has imported the engine, and has done nothing else, forks for each of them: `Warm` is such a fork. It
has a session, descriptors, an environment and a directory of its own, and goes on as `engine` does after its imports.
Whoever is started with the engine's own processes (monitor, workers, lister) is started as always. What a test says
about the start itself, and every run that is killed or steered, takes a `Command` that is a process from the start.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from engine.process.environment import environment
from engine.rehearsal import Address, Rehearsal, RehearsalSettings

_COMMANDS = "export failures rehearse report retry run seed set status stop verify wait"
_MODULES = "engine.rehearsal.__main__ engine.rehearsal.server engine.run.supervisor"
# Variables that are read before the first line of a program.
_AT_THE_START = ("PYTHON", "LANG", "LC_", "LD_", "TZ", "OPENBLAS", "_ENGINE")
_MOST_BYTES = 200_000


class Warm:
    """A fork: what a test needs of `subprocess.Popen`."""

    def __init__(
        self,
        what: str,
        args: Sequence[str],
        env: dict[str, str],
        files: Sequence[int],
        umask: int = -1,
        cwd: str = "",
    ) -> None:
        self.returncode: int | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            asked = json.dumps([what, [*args], env, umask, cwd or os.getcwd()]).encode()
            _ask(asked, [*files, theirs.fileno()])
        self._told, self._lines = ours, b""
        self._telling = threading.Lock()
        self.pid = int(self._line(0))

    def _line(self, flags: int) -> bytes:
        while b"\n" not in self._lines:
            more = self._told.recv(64, flags)
            assert more, "the process that forks is gone"
            self._lines += more
        line, _, self._lines = self._lines.partition(b"\n")
        return line

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        with self._telling, contextlib.suppress(BlockingIOError):
            if self.returncode is None:
                self.returncode = int(self._line(socket.MSG_DONTWAIT))
                self._told.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        limit_s = time.monotonic() + (timeout or 86_400.0)
        while (code := self.poll()) is None:
            if time.monotonic() > limit_s:
                raise subprocess.TimeoutExpired("a fork", timeout or 0.0)
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def start(settings: RehearsalSettings | None = None) -> Rehearsal:
    """`engine.rehearsal.start`, its interpreter warm."""
    settings = settings or RehearsalSettings()
    (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
    process: Any = Warm("rehearsal", ["rehearsal"], environment(), (theirs_in, theirs_out, 2))
    os.close(theirs_in)
    os.close(theirs_out)
    process.stdin, process.stdout = open(ours_in, "wb", buffering=0), open(ours_out, "rb")
    process.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")
    ready = json.loads(process.stdout.readline() or b"{}")
    assert "port" in ready, ready
    return Rehearsal(process, Address(**ready))


def fits(env: dict[str, str]) -> bool:
    """Whether a fork can have this environment: what is read at the start of an interpreter is as it is here."""

    def early(variables: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith(_AT_THE_START)}

    return early(env) == early({**os.environ})


class _Source:
    """The process that forks, one for each process of tests; it ends with that."""

    lock = threading.Lock()
    asked: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None
    owner = 0  # a fork of a process of tests has no right to it


def _ask(message: bytes, files: list[int]) -> None:
    assert len(message) < _MOST_BYTES
    with _Source.lock:
        if _Source.asked is None or _Source.owner != os.getpid():
            _Source.asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            _Source.owner = os.getpid()
            with theirs:
                _Source.process = subprocess.Popen(
                    [sys.executable, __file__, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        socket.send_fds(_Source.asked, [message], files)


def close() -> None:
    """End the process that forks, if there is one, when all its forks have ended."""
    with _Source.lock:
        if _Source.asked is not None and _Source.process is not None and _Source.owner == os.getpid():
            _Source.asked.close()
            _Source.asked = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                _Source.process.wait(10.0)


# ---- in the process that forks ---------------------------------------------------------------------------
def _serve(asked: socket.socket) -> None:
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    for name in (*map("engine.cli.{}".format, _COMMANDS.split()), *_MODULES.split()):
        importlib.import_module(name)
    gc.freeze()
    while True:
        message, files, _, _ = socket.recv_fds(asked, _MOST_BYTES, 4)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG if message else 0)[0]:
                pass
        if not message:
            return
        if not os.fork():
            asked.close()
            _keep(message, files)
        for fd in files:
            os.close(fd)


def _keep(message: bytes, files: list[int]) -> None:
    """Fork, wait for the fork, and tell its number and how it ended."""
    pid = os.fork()
    if not pid:
        _become(message, files)
    told = files.pop()
    for fd in files:
        os.close(fd)
    os.write(told, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(message: bytes, files: list[int]) -> None:
    """Go on as the command."""
    try:
        what, args, env, umask, cwd = json.loads(message)
        os.setsid()
        for number, fd in enumerate(files[:3]):
            os.dup2(fd, number)
        os.closerange(3, 1024)
        os.chdir(cwd)
        if umask >= 0:
            os.umask(umask)
        os.environ.clear()
        os.environ.update(env)
        sys.argv[:] = args
        _MAIN[what](args)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


def _command(args: list[str]) -> None:
    from engine.cli import main

    main(args[1:])


def _rehearsal(args: list[str]) -> None:
    from engine.rehearsal.__main__ import main

    os._exit(main())


_MAIN: dict[str, Callable[[list[str]], Any]] = {"command": _command, "rehearsal": _rehearsal}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _serve(socket.socket(fileno=int(sys.argv[1])))
