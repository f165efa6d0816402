"""Real commands of which one process runs under strace, and has the k-th call of a sort fail or kill it.

So the seam in `engine.storage.disk` is not believed blindly: whatever way a step takes to the kernel, it is met here.
strace counts the calls of each thread for itself; the first thread to come to its k-th is hit, and with an
injected error each of them.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import recount
from commands import Command, Ended, until, videos
from nights import Place

from engine.rehearsal import Rehearsal

HERE = Path(__file__).resolve().parent
JOBS, THREADS, REQUESTS_A_JOB = 6, 2, 2
OPTIONS = ("-p", "1", "-t", str(THREADS), "--grace", "3")
WHAT = {  # role: what its command line holds
    "worker": "popen_loky",
    "monitor": "engine.monitor.monitor",
    "supervisor": " run ",
    "seed": " seed ",
    "retry": " retry ",
}
CALLS = (
    "fsync",
    "fdatasync",
    "rename",
    "write",
    "pwrite64",
    "unlink",
    "mkdir",
    "rmdir",
    "ftruncate",
    "openat",
)
MAY_FAIL = ("events.jsonl", "status.json", "live.json", ".lock")  # writes whose loss is no reason to stop
_UNUSED_CWD = re.compile(r'AT_FDCWD<[^>]*>, (?="/)')  # strace says where we are, also before a full path
_LINE = re.compile(r"^(?:(\d+) +)?(\w+)\((.*)$")


def there() -> bool:
    """Whether strace can be used here."""
    return shutil.which("strace") is not None


@dataclass(frozen=True)
class Call:
    """A line of strace's log: who, which call (the how-manieth of its sort in that thread), and the rest."""

    thread: str
    name: str
    number: int
    text: str

    @property
    def injected(self) -> bool:
        return "(INJECTED)" in self.text

    def concerns(self, root: Path) -> bool:
        text = _UNUSED_CWD.sub("", self.text)
        return str(root) in text and (self.name != "openat" or "O_CREAT" in text)


def read_log(path: Path) -> list[Call]:
    """The calls of a log, in order."""
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        match = _LINE.match(line)
        if match is None:
            continue  # a signal, an exit, the second half of a call
        key = (match[1] or "", match[2])
        counts[key] += 1
        found.append(Call(*key, counts[key], match[3]))
    return found


class Traced:
    """A small batch at which traced commands work. `role` says which process is traced."""

    def __init__(self, place: Place, site: Rehearsal, role: str, name: str, seed: int) -> None:
        self.role = role
        self.batch = place.batch(videos(JOBS, seed), site, name)
        self.log = self.batch.root / "strace.log"

    def environment(self, *args: str) -> dict[str, str]:
        follow = ["-f"] if self.role in ("worker", "monitor") else []
        args = ("-q", "-y", "-s", "0", "-o", str(self.log), *follow, *args)
        path = os.pathsep.join([str(HERE / "traced_site"), *filter(None, [os.environ.get("PYTHONPATH")])])
        once = self.batch.root / "once"
        once.unlink(missing_ok=True)
        return {
            "PYTHONPATH": path,
            "TRACED_WHAT": WHAT[self.role],
            "TRACED_ARGS": json.dumps(args),
            "TRACED_ONCE": str(once),
        }

    def prepare(self) -> None:
        """What must be there before the traced command."""
        if self.role == "retry":
            site = self.batch.site
            assert site is not None
            site.play("members", replace=True)
            ended = self.batch.run(*OPTIONS)
            assert ended.code in (0, 3), ended.said
            site.play(replace=True)

    def command(self, *args: str) -> Ended:
        """Give the command whose process is traced with these arguments; wait for its end, and for strace's."""
        env = self.environment(*args)
        if self.role in ("seed", "retry"):
            more = [str(self.batch.file)] if self.role == "seed" else ["--absent"]
            command = Command(self.role, *more, "-q", self.batch.queue, **env)
            self.batch.pids.append(command.pid)
        else:
            command = self.batch.start(*OPTIONS, **env)
        with command:
            ended = command.wait(120.0)
            self.batch.gone(command)
        assert "Traceback" not in ended.said, ended.said
        until(lambda: not _tracers(self.log), 10.0, "strace to end")
        return ended

    def finish(self) -> None:
        """The same again without strace, then all must be there."""
        if self.role == "retry":
            ended = self.batch.does("retry", "--absent")
            assert ended.code == 0, ended.said
        ended = self.batch.run(*OPTIONS)
        assert ended.code == 0, ended.said
        self.batch.clean()
        assert {row["status"] for row in self.batch.rows().values()} == {"ok"}, self.batch.rows()


def _tracers(log: Path) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"strace\0") and str(log).encode() in line:
                found.append(name)
    return found


class Sweep:
    """Trials of one role and one call, each on a batch of its own, at one stand-in."""

    def __init__(self, place: Place, role: str, seed: int) -> None:
        self.place, self.role, self.seed = place, role, seed
        self.site = place.stand_in(seed=8, latency_s=0.0)
        self._names = iter(range(1_000_000))

    def traced(self) -> Traced:
        item = Traced(self.place, self.site, self.role, f"batch{next(self._names)}", self.seed)
        item.prepare()
        return item

    def places(self, calls: tuple[str, ...]) -> dict[str, list[int]]:
        """By call: which calls of a thread, counted from 1, go to the queue or the output, undisturbed."""
        traced = self.traced()
        ended = traced.command("-e", f"trace={','.join(calls)}")
        assert ended.code == 0, ended.said
        traced.finish()
        found: dict[str, set[int]] = {name: set() for name in calls}
        for call in read_log(traced.log):
            if call.name in found and call.concerns(traced.batch.root):
                found[call.name].add(call.number)
        return {name: sorted(numbers) for name, numbers in found.items() if numbers}

    def trial(self, call: str, k: int, fault: str) -> bool:
        """One fault (`signal=KILL`, `error=EIO` …) at the k-th call; whether it hit something of ours."""
        traced = self.traced()
        before = self.requests()
        ended = traced.command("-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={k}")
        log = read_log(traced.log)
        if fault.startswith("error="):
            hit = self._stopped(traced, ended, log)
        else:
            hit = traced.log.exists() and "killed by SIGKILL" in traced.log.read_text(errors="replace")
            # A worker or a monitor is replaced, and the run goes on; any other command is over.
            alone = self.role in ("supervisor", "seed", "retry")
            assert ended.code == (-9 if hit and alone else 0), ended.said
            if not alone:  # it went on without it, and came to a clean end
                left = recount.leftovers(traced.batch.queue, traced.batch.out)
                assert left == [], left
        traced.finish()
        most = REQUESTS_A_JOB * (JOBS + THREADS)
        assert self.requests() - before <= most, f"{self.requests() - before} requests, at most {most}"
        return hit

    def _stopped(self, traced: Traced, ended: Ended, log: list[Call]) -> bool:
        """The process that was told of the error stopped, said where, and did not try that sync again."""
        hits = [call for call in log if call.injected and call.concerns(traced.batch.root)]
        grave = [call for call in hits if not any(name in call.text for name in MAY_FAIL)]
        assert ended.code in (0, 13), ended.said
        if grave:
            assert ended.code == 13, f"{ended.said}\nin spite of {grave}"
            # Each thread and process has its k-th call: one to a pipe or to shared memory may end the command first.
            elsewhere = any(call.injected and not call.concerns(traced.batch.root) for call in log)
            named = str(traced.batch.root) in ended.said
            assert named or elsewhere, f"it does not say where: {ended.said}\nin spite of {grave}"
        for call in hits:
            if call.name in ("fsync", "fdatasync"):
                path = call.text.partition("<")[2].partition(">")[0]
                later = [item for item in log[log.index(call) + 1 :] if f"<{path}>" in item.text]
                assert not later, f"a failed sync was tried again: {call} {later}"
        return bool(hits)

    def requests(self) -> int:
        return sum(self.site.stats()["requests"].values())


def sample(luck: random.Random, numbers: list[int], most: int) -> Iterator[int]:
    """At most so many of these, in order."""
    yield from sorted(luck.sample(numbers, min(most, len(numbers))))
