"""A whole run in this process: the engine's own start, worker and monitor over a canned fetch, without a network.

Everything but processes and sockets is real: seeding, recovery, budget, worker threads, journals, manifest, and the
supervisor's judgement whether the batch is finished. `staged` makes a queue in which each sort of file is there
and each state of a chunk.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from support import Hand, add, file_rows, ids, lines, reclaim

from engine.budget import BudgetSettings, Outcome, Rate
from engine.budget.limiter import Budget
from engine.cli import invoke
from engine.errors import DiskError, Exit, UsageError
from engine.model import (
    Cue,
    EgressSpec,
    Failure,
    Fetched,
    Kind,
    Metadata,
    NotFetched,
    Permit,
    RequestCost,
    Transcript,
)
from engine.monitor.monitor import Monitor
from engine.monitor.recount import recount
from engine.output import destination, publisher
from engine.queue import claims, control, dead_workers, events
from engine.queue.directory import Queue, deferred_chunks, open_queue
from engine.queue.making import make_queue
from engine.recovery.startup import recover
from engine.run.supervisor import Supervisor, hold
from engine.seeding import seed
from engine.seeding.seed import Seeding
from engine.settings import Frozen, Settings, check_rehearsal, freeze
from engine.storage import disk
from engine.storage.locks import take_or_say_who
from engine.worker import main
from engine.worker.context import Resources, rss_bytes
from engine.worker.control_video import ControlVideo
from engine.worker.further_permits import FurtherPermits
from engine.worker.main import MainLoop, WorkerControl

JOBS, CHUNK = (24, 12), 4
IDS = ids(sum(JOBS))
EGRESSES = tuple(EgressSpec(f"p00{n} host:{n}", f"http://u:p@host:{n}") for n in (1, 2))
SPECIAL = {IDS[3]: Kind.PRIVATE, IDS[6]: Kind.NETWORK, IDS[25]: Kind.NO_LANGUAGE}  # how these end
ROUNDS = 8


@contextlib.contextmanager
def small() -> Iterator[None]:
    """Small chunks, short waits, and no disk to wait for: these trials are not about power."""
    with (
        patch.object(seed, "chunk_size", lambda jobs, cores: CHUNK),
        patch.object(main, "IDLE_S", 0.004),
        patch.object(main, "PAUSE_S", 0.0),
        patch.object(disk, "_fsync", lambda fd: None),
        patch.object(disk, "_fdatasync", lambda fd: None),
    ):
        yield


def canned(video_id: str) -> Fetched | NotFetched:
    """What becomes of a video, always the same."""
    kind = SPECIAL.get(video_id)
    if kind is not None:
        return NotFetched(Failure(kind, "it said no"), RequestCost(1, 100))
    text = Transcript("en", "English", False, (Cue(0.0, 1.0, f"Hello {video_id}"),))
    return Fetched(Metadata(title=f"About {video_id}"), text, RequestCost(2, 1000))


class CannedResources(Resources):
    """The real ones but for the network."""

    def __init__(self, control: WorkerControl) -> None:
        settings = control.settings
        queue = Queue(settings.queue)
        self.stop, self.abort = control.stop, control.abort
        self.client: Any = SimpleNamespace()
        self.budget = Budget.open(queue.budget, settings.egresses, settings.budget)
        self.permits = FurtherPermits(self.budget, self.abort)
        self.fetcher: Any = SimpleNamespace(fetch=self._fetch)
        self.fetched: list[str] = []
        self.control = ControlVideo(settings, self.budget, self.fetcher, self.abort)
        self.rss_bytes = rss_bytes()

    def _fetch(self, video_id: str, permit: Permit) -> Fetched | NotFetched:
        self.fetched.append(video_id)
        return canned(video_id)

    def close(self) -> None:
        self.budget.close()


class Worker(MainLoop):
    """A worker that ends when there is nothing more to claim."""

    def _fill(self) -> bool:
        filled = super()._fill()
        if not filled and not self.scheduler.chunks:
            self.control.stop.set()
        return filled


def staged(root: Path) -> Queue:
    """A queue at rest after a crash: chunks filed, done, held by a dead worker, deferred with rows and without,
    pending; two segments; and every other file a queue can have."""
    with small():
        queue = make_queue(str(root / "queue"))
        os.makedirs(root / "out", exist_ok=True)
        frozen = Frozen(str(root / "out"))
        destination.claim(queue, frozen.output)
        queue.write_batch({**queue.read_batch(), "frozen": frozen.to_json()})
        add(queue, IDS[: JOBS[0]])
        early = {IDS[number] for number in (12, 13)}
        hand = Hand(queue, lambda name: -1.0 if name in early else SPECIAL.get(name, "ok"))
        hand.work(1)
        hand.close()
        file_rows(queue)  # chunk 0 filed
        hand = Hand(queue, lambda name: -1.0 if name in early else SPECIAL.get(name, "ok"))
        chunks = [hand.worker.claim(time.time()) for _ in range(4)]
        held = [chunk for chunk in chunks if chunk is not None]
        hand.chunk(held[2], move=False)  # chunk 3: two final, two open, rows in the manifest, deferred below
        file_rows(queue)
        hand.worker.give_back(held[2], time.time() - 5)
        hand.chunk(held[0])  # chunk 1 done, not filed
        hand.chunk(held[1], sync=False, move=False)  # chunk 2 held, its lines not synced
        hand.decide = lambda name: -1.0
        hand.chunk(held[3])  # chunk 4 deferred, nothing but tries
        hand.worker.begin(0, held[1].name, IDS[8])
        hand.worker.begin(1, held[1].name, IDS[11])
        with open(queue.journal(held[1]), "ab") as file:
            file.write(b'final {"video_id": "torn')
        hand.output.close()
        hand.die()
        dead_workers.record_death(queue, hand.worker.id)
        add(queue, IDS[JOBS[0] :])
        hand = Hand(queue, lambda name: SPECIAL.get(name, "ok"))
        for chunk in list(iter(lambda: hand.worker.claim(time.time()), None)):
            if chunk.segment == 1 and chunk.k == 0:
                hand.chunk(chunk)
            else:
                deferred = (chunk.segment, chunk.k) in ((0, 3), (0, 4))
                hand.worker.give_back(chunk, time.time() - 5 if deferred else None)
        hand.close()
        file_rows(queue)
        _laid_out(queue)
    return queue


def _laid_out(queue: Queue) -> None:
    with Budget_open(queue) as budget:
        permit = budget.take(stop=threading.Event())
        assert permit is not None
        budget.report(permit, Outcome.OK, job=IDS[0])
    for name in ("captions", "tickets"):  # as engines before 2026-11-26 left them
        Path(queue.path(name)).write_bytes(b"%020d" % 1000)
    control.request_stop(queue, now=True)
    control.send_request(queue, control.ControlRequest(paused=True, rate="9/s", threads=3))
    control.publish_run_state(queue, control.RunState("9/s", 1, 3, paused=True))
    events.emit(queue, "start", "1 x 2", run="r")
    events.emit(queue, "slot_died", "{SIGKILL(-9)}", slot=0, worker="r.0.1", jobs=[IDS[8]])
    with take_or_say_who(queue.seed_lock, "seeding"):
        Seeding(queue).add(lines([]))
    Path(queue.rejects).write_text('file,line,text,reason\nlist.txt,2,x,"no id, no address"\n')
    for lock in (queue.run_lock, queue.monitor_lock):
        Path(lock).write_text('{"pid": 4194303, "started": "1", "boot": "x", "threads": 2}\n')
    filed = next(name for name in sorted(os.listdir(queue.filed(0))))
    intent = {"schema_version": 1, "chunks": {f"000000.{filed}": [IDS[3]]}}
    total = zlib.crc32(json.dumps(intent).encode())
    Path(queue.retry).write_text(json.dumps({**intent, "crc32": total}) + "\n")


@contextlib.contextmanager
def Budget_open(queue: Queue) -> Iterator[Budget]:
    budget = Budget.open(queue.budget, EGRESSES, BudgetSettings(Rate("none"), 60.0), new_run=True)
    try:
        yield budget
    finally:
        budget.close()


def resume(root: Path) -> int:
    """`engine run videos.txt` without its processes; returns the exit code. Raises EngineError as that does."""
    queue = open_queue(str(root / "queue"))
    check_rehearsal(queue, False)
    with hold(queue):
        control.clear_requests(queue)
        with take_or_say_who(queue.seed_lock, "seeding"):
            Seeding(queue).add(lines(IDS))
        destination.check(queue, str(root / "out"))
        batch = destination.claim(queue, str(root / "out"))
        frozen = freeze(queue, Frozen(str(root / "out")), frozenset())
        settings = Settings(
            queue=queue.root,
            frozen=frozen,
            batch=batch,
            egresses=EGRESSES,
            budget=BudgetSettings(Rate("none"), 60.0),
            threads=2,
            attempts=1,
            limit=1000,
        )
        with take_or_say_who(queue.seed_lock, "seeding"):
            recover(queue)
            recount(queue, time.time())
        publisher.sweep(frozen.output)
        supervisor = Supervisor(queue, settings, claims.run_id())
        supervisor._open_budget()
        for number in range(ROUNDS):
            _work(queue, settings, f"{supervisor.run_id}.0.{number}")
            with take_or_say_who(queue.monitor_lock, "monitor"):
                monitor = Monitor(queue)
                monitor.finish()
                monitor.close()
            supervisor._receive()
            supervisor._poll()
            if supervisor._end is not None:
                break
            _time_passes(queue)
        assert supervisor._end is not None, "the run does not end"
        return supervisor._conclude()


def _work(queue: Queue, settings: Settings, worker_id: str) -> None:
    control = WorkerControl(settings)
    resources = CannedResources(control)
    try:
        report = Worker(control, resources, worker_id).run()
    finally:
        resources.close()
    if report.why == "error":
        assert report.exit_code != Exit.BUG, report.message
        raise (UsageError if report.exit_code == Exit.USAGE else DiskError)(report.message)


def _time_passes(queue: Queue) -> None:
    """Whatever is deferred is due."""
    for _, chunk, name in deferred_chunks(queue):
        os.rename(os.path.join(queue.deferred, name), os.path.join(queue.deferred, f"{0:010d}~{chunk.name}"))


def told(*args: str) -> tuple[int, str, str]:
    """A command in this process: (exit code, stdout, stderr). An exception that is none for people escapes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = invoke(list(args))
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return code, out.getvalue(), err.getvalue()


__all__ = ["IDS", "JOBS", "reclaim", "resume", "small", "staged", "told"]
