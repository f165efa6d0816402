"""Where a queue is made by real commands, some of which die or hang at a step of our choice: for `make_queues`."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import recount
from commands import Command, Ended, engine, until, videos
from injected import injected

SHORT = {
    "engine.rehearsal.generated_videos": "CUES = 8"
}  # transcripts of eight lines: the archives stay small
STEPS = (
    "_open",
    "_write",
    "_pwrite",
    "_fsync",
    "_fdatasync",
    "_rename",
    "_unlink",
    "_mkdir",
    "_rmdir",
    "_truncate",
)
BEFORE = "\nimport collections, os, signal, sys, time\n_seen = collections.Counter()\n"
DIE = """
def _dying(real):
    def call(*args, **more):
        _seen["steps"] += "-q" in sys.argv  # the command itself, not what it starts
        if _seen["steps"] == {step}:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)
    return call
for _name in {names}:
    globals()[_name] = _dying(globals()[_name])
"""
HANG = """
def _nth(what):
    _seen[what] += 1
    return _seen[what]
def _hanging(real):
    def call(*args, **more):
        if {when}:
            {first}
            open({mark!r}, "a").close()
            time.sleep(600)
        return real(*args, **more)
    return call
{name} = _hanging({name})
"""


class Workshop:
    """Where one queue is made: `root` is packed, `room` is not."""

    def __init__(self, base: Path) -> None:
        self.base, self.root, self.room = base, base / "root", base / "room"
        self.fresh()

    @property
    def queue(self) -> Path:
        return self.root / "queue"

    def fresh(self) -> None:
        for path in (self.root, self.room):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)

    def list(self, jobs: int, seed: int = 1) -> list[str]:
        found = videos(jobs, seed)
        (self.root / "videos.txt").write_text("".join(f"{text}\n" for text in found))
        return found

    def env(self, **changes: str) -> dict[str, str]:
        named = {name.replace("__", "."): BEFORE + text for name, text in changes.items()}
        return injected(self.room, {**SHORT, **named})

    def args(self, verb: str, *more: str) -> list[str]:
        args = [verb, "-q", str(self.queue)]
        if verb in ("rehearse", "run"):
            args += ["-o", str(self.root / "out"), "--progress", "none", "-p", "2", "-t", "4"]
        return args + [str(self.root / text[2:]) if text.startswith("./") else text for text in more]

    def does(self, verb: str, *more: str, code: int = 0, env: dict[str, str] | None = None) -> Ended:
        """A command to its end."""
        ended = engine(*self.args(verb, *more), timeout_s=120.0, **(env or self.env()))
        assert ended.code == code, (self.args(verb, *more), ended)
        return ended

    def start(self, verb: str, *more: str, env: dict[str, str] | None = None) -> Command:
        return Command(*self.args(verb, *more), **(env or self.env()))

    def hang(self, name: str, when: str, mark: str, first: str = "pass") -> str:
        """The change that has a call hang, after `first`, and leave a mark."""
        return HANG.format(name=name, when=when, first=first, mark=str(self.room / mark))

    def marked(self, *marks: str) -> None:
        for mark in marks:
            until((self.room / mark).exists, 60.0, f"for the mark {mark}")

    def lines(self, verb: str, *fields: str) -> list[dict[str, Any]]:
        found = [value for journal_line, value in recount.journal_lines(self.queue) if journal_line == verb]
        return [value for value in found if all(value.get(field) not in (None, False) for field in fields)]

    def wait(self, what: Callable[[], Any], why: str) -> Any:
        return until(what, 90.0, why)

    def dying(self, verb: str, *more: str, reached: Callable[[], bool], ready: Callable[[], object]) -> None:
        """Have a command die at its first step to disk, its second, … each time on a queue made ready, until it
        dies where it was to be."""
        for step in count(1):
            self.fresh()
            ready()
            env = self.env(engine__durable=DIE.format(step=step, names=STEPS))
            ended = engine(*self.args(verb, *more), **env)
            assert ended.code == -signal.SIGKILL, f"never there in {step} steps: {ended}"
            if reached():
                return
