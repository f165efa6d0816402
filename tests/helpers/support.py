"""Small batches for tests: seeded queues, a worker that needs no network, and faults at every step to disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.inputs import Line
from engine.model import Cue, Job, Kind, Metadata, Record, Transcript
from engine.monitor.monitor import Monitor
from engine.output import destination
from engine.output.publisher import TakenError, intact, sweep
from engine.output.stores import open_store, output_remover
from engine.queue import claims, dead_workers, journal
from engine.queue.directory import Queue
from engine.queue.job_state import ChunkState, JobState, fold
from engine.queue.journal import Journal
from engine.queue.making import make_queue, raise_format
from engine.queue.marker import formats_of, id_of, store_of
from engine.queue.names import SHARDS_FORMAT
from engine.queue.segments import Chunk, read_jobs
from engine.seeding.seed import Seeding
from engine.settings import Frozen
from engine.storage import disk
from engine.storage.locks import take_or_say_who
from engine.storage.processes import boot_id
from engine.storage.timestamps import utc

OK = "ok"
_WORKERS = itertools.count()
Outcome = str | Kind | float  # "ok", why not, or for how many seconds the job waits


def video_id(number: int) -> str:
    """An id like real ones: its last character carries four bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = alphabet[(number % 16) * 4]
    number //= 16
    for _ in range(10):
        text = alphabet[(number * 29 + 7) % 64] + text
        number //= 64
    return text


def ids(count: int, start: int = 0) -> list[str]:
    return [video_id(start + number) for number in range(count)]


def lines(names: Iterable[str]) -> Iterator[Line]:
    """Input lines; every third has columns of its own."""
    for number, name in enumerate(names):
        yield Line(
            "list.txt", number + 1, name, name, {"row": number, "topic": "ä"} if number % 3 == 0 else {}, None
        )


def add(queue: Queue, names: Iterable[str]) -> None:
    """Seed these ids, as one seeding."""
    with take_or_say_who(queue.seed_lock, "seeding"):
        Seeding(queue).add(lines(names))


def batch(root: Path, count: int = 40, *, segments: int = 1, store: str = "files", first: int = 0) -> Queue:
    """A queue of `count` jobs in so many segments, from this id on; its output directory is beside it."""
    queue = make_queue(str(root / "queue"))
    each = count // segments
    for number in range(segments):
        add(queue, ids(each, first + number * each))
    os.makedirs(root / "out", exist_ok=True)
    frozen = {"output": str(root / "out"), "languages": ["en"], "formats": ["md"]}
    destination.claim(queue, str(root / "out"))
    if store == "shards":
        raise_format(queue, SHARDS_FORMAT)
        frozen |= {"formats": [], "store": store}
    queue.write_batch({**queue.read_batch(), "frozen": frozen})
    return queue


def output_of(queue: Queue) -> str:
    return str(queue.read_batch()["frozen"]["output"])


def batch_of(queue: Queue) -> str:
    return id_of(queue.read_batch())


class Hand:
    """A worker that fetches nothing: it claims chunks and settles each job as it is told."""

    def __init__(self, queue: Queue, decide: Callable[[str], Outcome] = lambda _: OK) -> None:
        self.queue = queue
        self.decide = decide
        worker_id = f"{claims.run_id()}.0.{next(_WORKERS)}"
        frozen = Frozen.from_json(queue.read_batch()["frozen"])
        self.output = open_store(frozen, worker_id, batch_of(queue))  # first, as a worker does it
        self.worker = claims.Worker(queue, worker_id, 2)

    def work(self, chunks: int = 1_000_000, *, sync: bool = True, move: bool = True) -> int:
        """Work through so many chunks; returns how many there were."""
        for number in range(chunks):
            chunk = self.worker.claim(time.time())
            if chunk is None:
                return number
            self.chunk(chunk, sync=sync, move=move)
        return chunks

    def chunk(self, chunk: Chunk, *, sync: bool = True, move: bool = True) -> None:
        """Settle a chunk's open jobs; without `sync` nothing is promised, without `move` the token stays."""
        book = Journal(self.queue.journal(chunk))
        state = fold(journal.lines(book.path))
        self._look(book, state)
        self.output.open_chunk(chunk, state)
        waits: list[float] = []
        for job in read_jobs(self.queue.segment(chunk.segment), chunk):
            job_state = state.jobs.get(job.video_id)
            if job_state is not None and job_state.final is not None:
                continue
            if job_state is not None and not job_state.due(time.time()):
                waits.append(job_state.not_before)
                continue
            outcome = self.decide(job.video_id)
            if isinstance(outcome, float):
                waits.append(time.time() + outcome)
                book.write("try", {"job": job.video_id, "n": 1, "kind": "network", "not_before": waits[-1]})
            else:
                book.write("final", self.row(job, outcome, job_state, chunk))
        self.output.sync(self.output.touched())
        if sync:
            book.sync()
            book.write("synced", {"end": book.end})
        book.close()
        self.output.close_chunk(chunk)
        if move and waits:
            self.worker.give_back(chunk, min(waits))
        elif move:
            self.worker.finish(chunk)

    def _look(self, book: Journal, state: ChunkState) -> None:
        """Reopen the jobs whose row is not synced and whose files are not what it says."""
        for name in state.unsynced_finals():
            found = state.jobs[name].final or {}
            if found["status"] == OK and intact(self.output.root, found):
                self.output.touch(name, found["files"])
            elif found["status"] == OK:
                book.write("reopen", {"job": name, "why": "its files are not what the row says"})
                state.jobs[name] = state.jobs[name].reopened()

    def row(
        self, job: Job, outcome: Outcome, state: JobState | None = None, chunk: Chunk | None = None
    ) -> dict[str, Any]:
        now = utc()
        requests, body_bytes = (state.requests, state.bytes) if state else (0, 0)
        metadata = Metadata(title=f"About {job.video_id} ☂", channel="Someone", duration_s=60)
        common: dict[str, Any] = {
            "attempts": 1,
            "requests": requests + 2,
            "body_bytes": body_bytes + 1000,
            "egress": "direct",
            "elapsed_s": 0.1,
            "finished_at": now,
        }
        if isinstance(outcome, Kind):
            self.output.remove(job.video_id, state.rows if state else ())
            return journal.row(
                job,
                kind=outcome,
                message="it said no",
                **common,
            )
        transcript = Transcript("en", "English", False, (Cue(0.0, 1.0, f"Hello {job.video_id}"),))
        record = Record(job.video_id, metadata, transcript, job.input, now, batch=self.output.batch)
        try:
            files, sums = self.output.publish(record, state.rows if state else (), chunk)
        except TakenError:
            return self.row(job, Kind.KEPT, state, chunk)
        return journal.row(
            job,
            metadata=metadata,
            transcript=transcript,
            files=files,
            sha256=sums,
            **common,
        )

    def close(self) -> None:
        """Leave in good order."""
        self.output.close()
        self.worker.close()

    def die(self) -> None:
        """Leave as a killed process does: the kernel closes its descriptors, and that is all."""
        with contextlib.suppress(OSError):
            os.close(self.worker._inflight)
        if self.worker._lock.held:
            self.worker._lock.write_note(
                {"pid": os.getpid(), "started": "of another life", "boot": boot_id()}
            )
            self.worker._lock._close()


def file_rows(queue: Queue) -> None:
    """One monitor, until nothing moves any more."""
    with take_or_say_who(queue.monitor_lock, "monitor"):
        monitor = Monitor(queue)
        monitor.finish()
        monitor.close()


def reclaim(queue: Queue) -> None:
    found = queue.read_batch()
    remover = output_remover(output_of(queue), id_of(found), formats_of(found), store_of(found))
    dead_workers.reclaim(queue, "nobody", remover)


def finish(queue: Queue, decide: Callable[[str], Outcome] = lambda _: OK) -> None:
    """Work off what is left and file it, as the next run would."""
    sweep(output_of(queue))
    reclaim(queue)
    for _ in range(4):
        hand = Hand(queue, decide)
        worked = hand.work()
        hand.close()
        file_rows(queue)
        if not worked:
            break
    sweep(output_of(queue))


def worked(
    root: Path,
    count: int = 40,
    decide: Callable[[str], Outcome] = lambda _: OK,
    segments: int = 1,
    store: str = "files",
) -> Queue:
    """A batch worked through."""
    queue = batch(root, count, segments=segments, store=store)
    finish(queue, decide)
    return queue


def some_fail(name: str) -> Outcome:
    """Of every ten ids some fail and some are absent."""
    return {0: Kind.NETWORK, 1: Kind.BLOCKED, 2: Kind.PRIVATE}.get(sum(name.encode()) % 10, OK)


def states(queue: Queue) -> dict[str, ChunkState]:
    """All journals folded, by path."""
    found = {}
    for segment in queue.segments():
        for name in sorted(os.listdir(queue.journal_dir(segment))):
            path = os.path.join(queue.journal_dir(segment), name)
            found[path] = fold(journal.lines(path))
    return found


def open_jobs(queue: Queue) -> set[str]:
    """The jobs that are not final, whatever their chunk's token says."""
    from engine.queue.segments import read_ids

    everything = {name for segment in queue.segments() for name in read_ids(queue.segment(segment))}
    final = {
        name for state in states(queue).values() for name, job in state.jobs.items() if job.final is not None
    }
    return everything - final


class Crash(BaseException):
    """The process is dead: from here on nothing reaches the disk."""


STEPS = (
    "_open",
    "_write",
    "_pwrite",
    "_fsync",
    "_fdatasync",
    "_rename",
    "_rename_noreplace",
    "_link",
    "_unlink",
    "_mkdir",
    "_rmdir",
    "_truncate",
)


def record(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps to disk, in order, from here on."""
    steps: list[str] = []

    def noted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            steps.append(name)
            return real(*args, **kwargs)

        return call

    for name in STEPS:
        monkeypatch.setattr(disk, name, noted(name, getattr(disk, name)))
    return steps


@contextmanager
def dying_at(step: int, *, torn: bool = False) -> Iterator[list[int]]:
    """Die at the `step`-th call (from 0) of anything in `durable` that changes the disk.

    With `torn` a write that is the last call leaves half of its bytes. Yields a list whose one number says how
    many calls there were.
    """
    calls = [0]
    patch = pytest.MonkeyPatch()

    def dying(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number, calls[0] = calls[0], calls[0] + 1
            if number < step:
                return real(*args, **kwargs)
            if number == step and torn and name in ("_write", "_pwrite"):
                real(args[0], bytes(args[1])[: len(args[1]) // 2], *args[2:])
            raise Crash

        return call

    for name in STEPS:
        patch.setattr(disk, name, dying(getattr(disk, name), name))
    try:
        yield calls
    finally:
        patch.undo()


def every_step(act: Callable[[], object], torn: bool = False) -> Iterator[tuple[int, bool]]:
    """Call `act` again and again, dying at step 0, 1, 2, …; the caller tidies up after each. Ends when it lives."""
    for step in itertools.count():
        died = False
        with dying_at(step, torn=torn):
            try:
                act()
            except Crash:
                died = True
        yield step, died
        if not died:
            return


def print_of(root: Path) -> dict[str, tuple[object, ...]]:
    """All that may not change where nothing may change: names, modes, times, and what is in the files and links."""

    def one(path: Path) -> tuple[object, ...]:
        about = path.lstat()
        small = stat.S_ISREG(about.st_mode) and about.st_size < 1 << 20
        data = path.read_bytes() if small else os.readlink(path) if path.is_symlink() else None
        return about.st_mode, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, data

    return {str(path): one(path) for path in (root, *sorted(root.rglob("*")))}


def damage(path: str, offset: int, byte: int = 0xFF) -> None:
    """Flip bits of one byte of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        was = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([was ^ byte]))
