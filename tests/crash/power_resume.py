"""After the power cut: a state of the disk is laid out, and the next `engine run` goes on from there.

The run is the command itself, with recovery, locks, laps and monitor as they are. Only the processes are not:
its supervisor is replaced by a loop in this one, its fetches are answered here, and its fsyncs are spared.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from commands import unpaced
from power_ops import Files

from engine.budget.limiter import Budget
from engine.cli import invoke
from engine.model import Cue, Failure, Fetched, Kind, Metadata, NotFetched, Permit, RequestCost, Transcript
from engine.monitor import status
from engine.monitor.monitor import Monitor
from engine.network import client
from engine.output import publisher, stores
from engine.queue import dead_workers
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.run import supervisor
from engine.settings import Settings
from engine.storage import disk, processes
from engine.storage.locks import take_or_say_who
from engine.worker import main
from engine.worker.context import Resources
from engine.worker.main import MainLoop, WorkerControl, WorkerReport
from engine.youtube import clients

WORKERS = 4  # more than any damage needs; a queue that is not finished by then never will be
WORKER_S = 20.0
THREADS = 2


def lay(files: Files, root: Path) -> None:
    """Make a directory hold exactly these files."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for path in sorted(files):
        data = files[path]
        if data is None:
            os.mkdir(root / path)
        else:
            fd = os.open(root / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, data)
            os.close(fd)


@dataclass
class Resumed:
    """What the next run did: its exit code, what it said, and how often it asked for each video."""

    code: int = 0
    said: str = ""
    fetched: collections.Counter[str] = field(default_factory=collections.Counter)


class Site:
    """Answers as the recorded run's stand-in did in kind, with other words: what is new can be told from old."""

    def __init__(self, kinds: Mapping[str, str | None]) -> None:
        self.kinds = kinds
        self.fetched: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def fetch(self, video_id: str, permit: Permit, **_: object) -> Fetched | NotFetched:
        with self._lock:
            self.fetched[video_id] += 1
        kind = self.kinds[video_id]
        if kind is not None:
            return NotFetched(Failure(Kind(kind), "it says no again"), RequestCost(1, 100))
        cues = (Cue(0.0, 1.0, f"once more {video_id}"),)
        return Fetched(
            Metadata(title=f"Again {video_id}"), Transcript("en", "English", False, cues), RequestCost(2, 999)
        )


class Inside:
    """What `engine run` takes for its supervisor: workers and monitor one after the other, in this process."""

    def __init__(self, site: Site, queue: Queue, settings: Settings, run_id: str, _: object) -> None:
        self.site, self.queue, self.settings, self.run_id = site, queue, settings, run_id
        self.message = ""

    def run(self) -> int:
        Budget.open(self.queue.budget, self.settings.egresses, self.settings.budget, new_run=True).close()
        for number in range(WORKERS):
            self._work(number)
            with take_or_say_who(self.queue.monitor_lock, "monitor"):
                monitor = Monitor(self.queue)
                monitor.finish()
                monitor.close()
            if status.finished(self.queue):
                break
        else:
            raise AssertionError(f"not finished after {WORKERS} workers")
        frozen = self.settings.frozen
        remover = stores.output_remover(frozen.output, self.settings.batch, frozen.formats, frozen.store)
        dead_workers.reclaim(self.queue, "", remover)
        if not worker_ids(self.queue):
            publisher.sweep(self.settings.frozen.output)
        return 3 if status.recount(self.queue, time.time()).counts.failed else 0

    def _work(self, number: int) -> None:
        control = WorkerControl(self.settings)
        resources = Resources(self.settings, control.stop, control.abort)
        resources.fetcher = resources.control._fetcher = self.site  # type: ignore[assignment]
        loop = MainLoop(control, resources, f"{self.run_id}.0.{number}")
        reports: list[WorkerReport] = []
        thread = threading.Thread(target=lambda: reports.append(loop.run()), name="worker")
        thread.start()
        ends_at = time.monotonic() + WORKER_S
        while thread.is_alive() and self._work_left() and time.monotonic() < ends_at:
            time.sleep(0.003)
        control.stop.set()
        loop.scheduler.attention.set()
        thread.join(WORKER_S)
        resources.budget.close()
        assert reports, f"a worker that hangs, with {self._work_left()} in hand"
        assert reports[0].why == "stop", reports[0].message
        assert time.monotonic() < ends_at, "a worker that gets nowhere"

    def _work_left(self) -> int:
        """Tokens that are not done. A token moves to where it is looked for later, or back to deferred/."""
        tokens = len(deferred_chunks(self.queue))
        tokens += sum(len(chunks_in(self.queue.pending(number), number)) for number in self.queue.segments())
        tokens += sum(len(chunks_in(self.queue.path("workers", name))) for name in worker_ids(self.queue))
        return tokens + len(deferred_chunks(self.queue))


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Another boot of the machine, on which nothing is synced for real and no main loop waits long."""
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (disk, "_fsync", lambda fd: None),
            (disk, "_fdatasync", lambda fd: None),
            (main, "IDLE_S", 0.01),
            (main, "PAUSE_S", 0.001),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        stack.enter_context(mock.patch.object(processes, "boot_id", lambda: "the next boot"))
        # Nobody goes through either.
        stack.enter_context(mock.patch.object(client, "Client"))
        stack.enter_context(mock.patch.object(clients, "installed_clients", lambda: clients.CLIENTS))
        yield


def resume(
    root: Path, listed: Path | None, kinds: Mapping[str, str | None], options: tuple[str, ...] = ()
) -> Resumed:
    """The next `engine run` with these options on the queue and output below `root`, with or without the list.

    Raises AssertionError when it does not get to its end.
    """
    site = Site(kinds)
    args = [
        *unpaced(root),
        "-p",
        1,
        "-t",
        THREADS,
        "--proxy",
        "http://127.0.0.1:9",
        *options,
        *([listed] if listed else []),
    ]
    said = io.StringIO()
    with spared(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        with mock.patch.object(supervisor, "Supervisor", lambda *item: Inside(site, *item)):
            code = invoke([str(arg) for arg in args])
    return Resumed(code, said.getvalue(), site.fetched)
