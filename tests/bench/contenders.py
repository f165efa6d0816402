"""The queues that `scripts/bench queue` compares: the engine's own, an honest SQLite, and four libraries.

Each can seed ids, work through them in a process (hold a job, keep its row, let go), and say how many rows it
holds. A contender's modules are imported where they are used: most are in the extra `bench`.
"""

from __future__ import annotations

import abc
import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rows import full_row, row_text

BATCH = 256  # as large as the engine's chunks
SYNC_S = 5.0


class Contender(abc.ABC):
    """One queue. `share`: how many of the jobs it gets."""

    name = ""
    durability = ""
    package = ""
    share = 1.0

    @abc.abstractmethod
    def seed(self, room: Path, names: list[str]) -> None:
        """Hold a job for each name."""

    @abc.abstractmethod
    def worker(self, room: Path, number: int) -> Callable[[], None]:
        """What a process does, ready to begin."""

    @abc.abstractmethod
    def rows(self, room: Path) -> int:
        """How many rows are kept."""

    def beside(self, room: Path) -> AbstractContextManager[object]:
        """What runs beside the workers; it ends when the queue has done what it still does after them."""
        return contextlib.nullcontext()


class Engine(Contender):
    """The engine's queue with its monitor running: the rows are counted in the manifest."""

    name = "engine"
    durability = "kill -9 at once, a power cut within 5 s; believed only after a look at its files"

    def seed(self, room: Path, names: list[str]) -> None:
        from engine.inputs import Line
        from engine.queue.making import make_queue
        from engine.seeding.seed import Seeding
        from engine.storage.locks import take_or_say_who

        queue = make_queue(str(room / "queue"))
        with take_or_say_who(queue.seed_lock, "seeding"):
            Seeding(queue).add(Line("ids", n, name, name, {"topic": "politics", "row": 4711}, None)
                               for n, name in enumerate(names))  # fmt: skip

    def worker(self, room: Path, number: int) -> Callable[[], None]:
        from engine.queue.claims import Worker, run_id
        from engine.queue.directory import open_queue

        queue = open_queue(str(room / "queue"))
        return lambda: self._work(Worker(queue, f"{run_id()}.{number}.1", 16))

    def _work(self, worker: Any) -> None:
        from engine.queue.job_state import fold
        from engine.queue.journal import Journal, JournalEntry, lines
        from engine.queue.segments import read_jobs

        while (chunk := worker.claim(time.time())) is not None:
            journal = Journal(worker.queue.journal(chunk))
            state = fold(lines(journal.path))
            synced_at = time.monotonic()
            for job in read_jobs(worker.queue.segment(chunk.segment), chunk):
                worker.begin(0, chunk.name, job.video_id)
                body = full_row(job.video_id)
                journal.write("final", body)
                state.apply(JournalEntry("final", body, journal.end, b""))
                worker.end(0)
                if time.monotonic() - synced_at >= SYNC_S:
                    journal.sync()
                    journal.write("synced", {"end": journal.end})
                    synced_at = time.monotonic()
            journal.sync()
            journal.write("synced", {"end": journal.end})
            journal.close()
            worker.finish(chunk)
        worker.close()

    @contextlib.contextmanager
    def beside(self, room: Path) -> Iterator[object]:
        command = [sys.executable, "-m", "engine.monitor.monitor", str(room / "queue")]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as monitor:
            yield None
            monitor.communicate(b"finish\n")
        if monitor.returncode:
            raise SystemExit("the monitor failed")

    def rows(self, room: Path) -> int:
        with open(room / "queue" / "manifest.jsonl", "rb") as file:
            return sum(1 for _ in file)


class Sqlite(Contender):
    """The best honest SQLite we know that makes the engine's promises: WAL, a lease a batch, each row committed as it
    comes, so that a kill -9 costs what was in flight and no more, and synced every five seconds."""

    name = "sqlite, rows committed one by one"
    durability = "kill -9 at once, a power cut within 5 s (WAL, synchronous=NORMAL)"
    synchronous = "NORMAL"
    _synced_at = 0.0

    def _open(self, room: Path) -> sqlite3.Connection:
        base = sqlite3.connect(room / "queue.db", isolation_level=None, timeout=60.0)
        for pragma in ("journal_mode=WAL", f"synchronous={self.synchronous}", "cache_size=-65536"):
            base.execute(f"PRAGMA {pragma}")
        return base

    def seed(self, room: Path, names: list[str]) -> None:
        base = self._open(room)
        base.execute("CREATE TABLE job (n INTEGER PRIMARY KEY, id TEXT UNIQUE, input TEXT)")
        base.execute("CREATE TABLE lease (first INTEGER PRIMARY KEY, owner TEXT)")
        base.execute("CREATE TABLE result (n INTEGER PRIMARY KEY, row TEXT)")
        data = json.dumps({"topic": "politics", "row": 4711})
        base.execute("BEGIN")
        base.executemany(
            "INSERT INTO job VALUES (?, ?, ?)", ((n, name, data) for n, name in enumerate(names))
        )
        base.executemany("INSERT INTO lease VALUES (?, NULL)", ((n,) for n in range(0, len(names), BATCH)))
        base.execute("COMMIT")
        base.close()

    def worker(self, room: Path, number: int) -> Callable[[], None]:
        base = self._open(room)

        def work() -> None:
            base.execute("BEGIN IMMEDIATE")
            first = self._take(base, number)
            base.execute("COMMIT")
            while first is not None:
                span = (first, first + BATCH)
                jobs = base.execute("SELECT n, id, input FROM job WHERE n >= ? AND n < ?", span).fetchall()
                done = ((n, row_text(name)) for n, name, data in jobs if json.loads(data))
                first = self._settle(base, first, done, number)
            base.close()

        return work

    def _take(self, base: sqlite3.Connection, number: int) -> int | None:
        take = (
            "UPDATE lease SET owner = ? WHERE first = "
            "(SELECT first FROM lease WHERE owner IS NULL ORDER BY first LIMIT 1) RETURNING first"
        )
        got = base.execute(take, (f"w{number}",)).fetchone()
        return None if got is None else int(got[0])

    def _settle(
        self, base: sqlite3.Connection, first: int, done: Iterable[tuple[int, str]], number: int
    ) -> int | None:
        """Keep the rows as they come, and take the next lease."""
        for item in done:
            base.execute("INSERT INTO result VALUES (?, ?)", item)
        if time.monotonic() - self._synced_at >= SYNC_S:
            base.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._synced_at = time.monotonic()
        base.execute("BEGIN IMMEDIATE")
        base.execute("UPDATE lease SET owner = 'done' WHERE first = ?", (first,))
        got = self._take(base, number)
        base.execute("COMMIT")
        return got

    def rows(self, room: Path) -> int:
        return int(self._open(room).execute("SELECT count(*) FROM result").fetchone()[0])


class SqliteByBatch(Sqlite):
    """The same with fewer promises: a batch's rows and the next lease in one commit."""

    name = "sqlite, a commit a batch"
    durability = f"kill -9 and a power cut cost up to {BATCH} finished jobs a process (WAL, synchronous=FULL)"
    synchronous = "FULL"

    def _settle(
        self, base: sqlite3.Connection, first: int, done: Iterable[tuple[int, str]], number: int
    ) -> int | None:
        rows = list(done)
        base.execute("BEGIN IMMEDIATE")
        base.executemany("INSERT INTO result VALUES (?, ?)", rows)
        base.execute("UPDATE lease SET owner = 'done' WHERE first = ?", (first,))
        got = self._take(base, number)
        base.execute("COMMIT")
        return got


class _Library(Contender):
    """A library's queue; the rows go to an append-only file of the process, one write a job."""

    def _keep(self, room: Path, number: int) -> Callable[[str], None]:
        file = open(room / f"rows-{number}.jsonl", "ab", buffering=0)
        return lambda name: file.write((row_text(name) + "\n").encode()) and None

    def rows(self, room: Path) -> int:
        return sum(path.read_bytes().count(b"\n") for path in room.glob("rows-*.jsonl"))


class LiteQueue(_Library):
    name = package = "litequeue"
    durability = "kill -9; jobs held by the dead stay held (WAL, NORMAL)"
    share = 0.05

    def seed(self, room: Path, names: list[str]) -> None:
        from litequeue import LiteQueue as Queue

        queue = Queue(str(room / "lite.db"))
        for name in names:
            queue.put(name)

    def worker(self, room: Path, number: int) -> Callable[[], None]:
        from litequeue import LiteQueue as Queue

        queue, keep = Queue(str(room / "lite.db")), self._keep(room, number)

        def work() -> None:
            while (message := queue.pop()) is not None:
                keep(message.data)
                queue.done(message.message_id)

        return work


class Huey(_Library):
    """Its storages as its consumers use them: take a message out, run it."""

    package = "huey"

    def __init__(self, kind: str, share: float) -> None:
        self.name = f"huey, {kind}"
        self.durability = "a job that is taken is gone with its process"
        self.kind, self.share = kind, share

    def _storage(self, room: Path) -> Any:
        from huey.storage import FileStorage, SqliteStorage

        if self.kind == "SQLite":
            return SqliteStorage("bench", filename=str(room / "huey.db"), fsync=True)
        return FileStorage("bench", path=str(room / "huey"))

    def seed(self, room: Path, names: list[str]) -> None:
        storage = self._storage(room)
        for name in names:
            storage.enqueue(name.encode())

    def worker(self, room: Path, number: int) -> Callable[[], None]:
        storage, keep = self._storage(room), self._keep(room, number)

        def work() -> None:
            while (data := storage.dequeue()) is not None:
                keep(bytes(data).decode())

        return work


class PersistQueue(_Library):
    name = "persist-queue, SQLiteAckQueue"
    package = "persist-queue"
    durability = "kill -9; may give a job to two processes"
    share = 0.02

    def _queue(self, room: Path) -> Any:
        from persistqueue import SQLiteAckQueue

        return SQLiteAckQueue(str(room / "persist"), auto_commit=True, multithreading=True)

    def seed(self, room: Path, names: list[str]) -> None:
        queue = self._queue(room)
        for name in names:
            queue.put(name)

    def worker(self, room: Path, number: int) -> Callable[[], None]:
        from persistqueue import Empty

        queue, keep = self._queue(room), self._keep(room, number)

        def work() -> None:
            with contextlib.suppress(Empty):
                while True:
                    name = queue.get(block=False)
                    keep(name)
                    queue.ack(name)

        return work


class DiskCache(_Library):
    name = "diskcache, Deque"
    package = "diskcache"
    durability = "a job that is taken is gone with its process"
    share = 0.1

    def seed(self, room: Path, names: list[str]) -> None:
        from diskcache import Deque

        Deque(names, directory=str(room / "deque"))

    def worker(self, room: Path, number: int) -> Callable[[], None]:
        from diskcache import Deque

        deque, keep = Deque(directory=str(room / "deque")), self._keep(room, number)

        def work() -> None:
            with contextlib.suppress(IndexError):
                while True:
                    keep(deque.popleft())

        return work


CONTENDERS: dict[str, Contender] = {
    engine.name: engine
    for engine in (
        Engine(),
        Sqlite(),
        SqliteByBatch(),
        LiteQueue(),
        Huey("SQLite", 0.05),
        Huey("file", 0.01),
        PersistQueue(),
        DiskCache(),
    )
}
