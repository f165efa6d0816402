"""6: no room. Exit 13 with the place in the message, nothing lost; with room again it goes on where it was."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from pathlib import Path

from commands import Batch, until, videos
from nights import Place
from row_steps import NO_STRACE, SHARDS, lives
from scorecard import Told, row
from traced import WHAT, Sweep, there

SWEEPS = [(role, call) for role in WHAT for call in ("write", "pwrite64", "openat", "mkdir", "rename")]
SIZE_KIB = 16 << 10
JOBS, PROCESSES, THREADS, REQUESTS_A_JOB = 80, 2, 4, 2

row(6, "step-short", "the k-th write takes half, every k", trials=SHARDS)(lives("short", SHARDS))
row(6, "step-full", "no room from the k-th step on, every k", trials=SHARDS, quick=1)(lives("full", SHARDS))


@row(6, "call-enospc", "strace: ENOSPC from every k-th call, of each process and command", trials=len(SWEEPS))
def refused(place: Place, seed: int) -> Told:
    """All k of one call of one process."""
    if not there():
        return NO_STRACE
    role, call = SWEEPS[seed % len(SWEEPS)]
    sweep = Sweep(place, role, seed)
    numbers = sweep.places((call,)).get(call, [])
    hits = sum(sweep.trial(call, k, "error=ENOSPC") for k in numbers)
    return Told(hits, f"{role} {call}: {hits} of {len(numbers)}")


@row(6, "disk-full", "a small file system fills up at some moment", trials=50, quick=1)
def disk_full(place: Place, seed: int) -> str | Told:
    return filled(place, seed)


def filled(place: Place, seed: int, store: tuple[str, ...] = ()) -> str | Told:
    """A real run on a small tmpfs that fills up; with room again it goes on. `store`: how records are stored."""
    luck = random.Random(seed)
    disk = place.root / "disk"
    if not _mounted(place, disk):
        return Told(0, "not played: no file system can be mounted here")
    site = place.stand_in(seed=8, latency_s=0.02)
    batch = Batch(disk / "batch", site, videos(JOBS, seed))
    options = ("-p", str(PROCESSES), "-t", str(THREADS), *store)
    after = luck.choice((0, *[luck.randrange(JOBS * REQUESTS_A_JOB) for _ in range(4)]))
    slack = luck.choice((0, 0, 100, 4096, 20_000))
    if not after:
        _fill(disk, slack)
    with batch.start(*options) as run:
        if after:
            batch.seen(after, 60.0)
            _fill(disk, slack)
        ended = run.wait(90.0)
        batch.gone(run)
    assert "Traceback" not in ended.said, ended.said
    # The last bytes may have been enough for what was left.
    assert ended.code == 13 or (ended.code == 0 and after), (ended.code, ended.said)
    if ended.code == 13:
        assert "No space left" in ended.said, ended.said
        assert str(disk) in ended.said, f"it does not say where: {ended.said}"
    if (batch.queue / "FORMAT").exists():
        assert batch.does("status", "--json").code == 0
    for _ in range(luck.choice((0, 1, 2)) if ended.code == 13 else 0):
        again = batch.run(*options)
        assert again.code == 13, (again.code, again.said)
    if luck.random() < 0.5:
        (disk / "ballast").unlink()
    else:
        subprocess.run(["mount", "-o", f"remount,size={4 * SIZE_KIB}k", disk], check=True)
    ended = batch.run(*options)
    assert ended.code == 0, ended.said
    batch.clean()
    seen = sum(site.stats()["requests"].values())
    return f"full after {after} requests with {slack} bytes left, {seen} requests for {JOBS} videos"


def _mounted(place: Place, disk: Path) -> bool:
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tmpfs", disk]
    with contextlib.suppress(OSError):
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            place._stack.callback(lambda: until(lambda: _unmounted(disk), 10.0, f"to unmount {disk}"))
            return True
    return False


def _unmounted(disk: Path) -> bool:
    return subprocess.run(["umount", disk], capture_output=True, check=False).returncode == 0


def _fill(disk: Path, slack: int) -> None:
    """Take all room but this much. Whoever gives a block back meanwhile loses it too."""
    fd = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with contextlib.suppress(OSError):
        while os.write(fd, bytes(65536)):
            pass
    with contextlib.suppress(OSError):
        while os.write(fd, bytes(512)):
            pass
    os.ftruncate(fd, max(0, os.fstat(fd).st_size - slack))
    os.close(fd)
