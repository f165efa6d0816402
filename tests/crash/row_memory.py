"""Row 8: a worker that the kernel ends for want of memory, one that is refused memory, and a fetch that leaks.

The slot is at work again soon, the other jobs do not notice, and the memory of a worker process stays below what it
began with plus its allowance, however long it lives.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import recount
from commands import WORKER, Batch, until, videos
from injected import injected
from nights import Place
from scorecard import Told, row

FEW = ("-p", "2", "-t", "4")
MB = 1 << 20
CGROUPS = Path("/sys/fs/cgroup/memory")  # version 1
ALLOWANCE = 48 * MB  # of a leaking worker, in place of the 300 MB that are the engine's own
CHECK_S = 0.5  # how often a worker looks at its memory then
BACK_S = 10.0  # a second where nothing else runs


@contextlib.contextmanager
def short_of_memory(pid: int, limit: int) -> Iterator[Path]:
    """A memory cgroup for one process: what it takes from now on is counted, and ended for at the limit."""
    group = CGROUPS / f"engine-crash-{pid}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        (group / "cgroup.procs").write_text(str(pid))
        yield group
    finally:

        def removed() -> bool:
            with contextlib.suppress(OSError):
                for part in (group / "cgroup.procs").read_text().split():
                    (CGROUPS / "cgroup.procs").write_text(part)
                group.rmdir()
            return not group.exists()

        until(removed, 10.0, f"{group} cannot be removed")


@row(8, "out-of-memory", "a worker in a memory cgroup that is too small: the kernel ends it", trials=8)
def killed(place: Place, seed: int) -> str | Told:
    if not os.access(CGROUPS / "cgroup.procs", os.W_OK):
        return Told(0, "not played: no right to make a memory cgroup (version 1) here")
    dice = random.Random(seed)
    site = place.stand_in(seed=seed, latency_s=0.2)
    batch = place.batch(videos(120, seed), site)
    waits_s = []
    with batch.start(*FEW) as run:
        for turn in range(2):
            batch.seen(12 + 60 * turn, within_s=90.0)
            known = set(recount.workers(batch.queue))
            pid = sorted(known & set(run.members(WORKER)))[turn % len(known)]
            other = known - {pid}
            with short_of_memory(pid, dice.randrange(64, 512) << 10):
                until(lambda pid=pid: pid not in run.members(WORKER), 20.0, "the kernel to end it")
                ended_s = time.monotonic()
                until(lambda known=known: set(recount.workers(batch.queue)) - known, BACK_S, "a new worker")
            waits_s.append(time.monotonic() - ended_s)
            assert other <= set(run.members(WORKER)), "the other slot is left alone"
        ended = run.wait()
        batch.gone(run)
    assert ended.code == 0, ended.said
    assert {value["status"] for value in batch.rows().values()} == {"ok"}
    events = [event["event"] for event in recount.events(batch.queue)]
    assert events.count("slot_died") == 2, events
    batch.clean()
    return f"back {', '.join(f'{wait_s:.2f}' for wait_s in waits_s)} s after the kernel ended a worker"


@row(8, "memory-refused", "a worker that is refused more memory (RLIMIT_AS)", trials=6)
def refused(place: Place, seed: int) -> str:
    """Some answers unpack to 64 MB, which are never held whole; now and then a worker may have no more at all."""
    dice = random.Random(seed)
    site = place.stand_in(seed=seed, latency_s=0.1, scenarios=("huge=0.1",))
    batch = place.batch(videos(80, seed), site)
    with batch.start(*FEW) as run:
        batch.seen(dice.randrange(10, 60), within_s=90.0)
        pid = dice.choice(run.members(WORKER))
        more = dice.choice((0, 4, 12, 24)) * MB
        limit = _status_bytes(pid, "VmSize") + more
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
        ended = run.wait(120)
        batch.gone(run)
    assert ended.code == 3, ended.said
    assert "Traceback" not in ended.said, ended.said
    kinds = collections.Counter(value["kind"] for value in batch.rows().values())
    assert set(kinds) == {"too_large", None}, kinds
    batch.clean()
    deaths = [event["event"] for event in recount.events(batch.queue)].count("slot_died")
    return f"{more >> 20} MB more allowed: {deaths} deaths, {kinds[None]} ok, {kinds['too_large']} too large"


def _status_bytes(pid: int, name: str) -> int:
    """A field of /proc/PID/status in bytes, 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) << 10
    return 0


class Memory:
    """Watches the resident memory of a run's workers: the first and the highest seen of each."""

    def __init__(self, batch: Batch) -> None:
        self.first: dict[int, int] = {}
        self.most: dict[int, int] = {}
        self._batch = batch
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for pid in recount.workers(self._batch.queue):
                rss = _status_bytes(pid, "VmRSS")
                self.first.setdefault(pid, rss)
                self.most[pid] = max(rss, self.most.get(pid, 0))

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(5)


_LEAKY = """
_fetch, _LEAKED = Fetcher.fetch, []

def _leaky(self, video_id, permit, **more):
    _LEAKED.append(b"\\1" * {piece})
    return _fetch(self, video_id, permit, **more)

Fetcher.fetch = _leaky
"""


@row(8, "leak", "a fetch that leaks a megabyte each time", trials=6)
def leak(place: Place, seed: int) -> str:
    """A worker that has grown too much ends in good order and is replaced."""
    piece = random.Random(seed).randrange(MB // 2, MB)
    site = place.stand_in(seed=seed, latency_s=0.05)
    batch = place.batch(videos(400, seed), site)
    changes = {
        "engine.youtube.fetcher": _LEAKY.format(piece=piece),
        "engine.worker.main": f"GROWTH_BYTES, SYNC_S = {ALLOWANCE}, {CHECK_S}",
    }
    with Memory(batch) as memory:
        ended = batch.run(*FEW, "--rate", "60/s", **injected(place.root, changes), timeout_s=150)
    assert ended.code == 0, ended.said
    rows = batch.rows()
    assert {(value["status"], value["attempts"]) for value in rows.values()} == {("ok", 1)}
    assert sum(site.stats()["requests"].values()) == 2 * len(rows), "nothing was fetched twice"
    assert not [event for event in recount.events(batch.queue) if event["event"] == "slot_died"]
    # What a worker takes between two looks, and what it takes to begin with, come on top.
    allowed = ALLOWANCE + 40 * MB + piece * 30
    grown = {pid: most - memory.first[pid] for pid, most in memory.most.items()}
    assert max(grown.values()) <= allowed, {pid: number >> 20 for pid, number in grown.items()}
    assert len(grown) >= 4, "workers were replaced"
    batch.clean()
    most = max(grown.values()) >> 20
    leaked = len(rows) * piece >> 20
    return f"{leaked} MB leaked: {len(grown)} workers, none grew by over {most} MB"
