"""Row 17: no descriptors left, directories that cannot be written, directories that are gone.

Whenever and wherever it strikes: a clear message that says what to do, exit code 13 (2 when the run did not begin),
no traceback, nothing left alive, no attempt spent; and the next run goes on.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from commands import MONITOR, WORKER, Batch, Command, Ended, until, videos
from nights import Place
from scorecard import Told, row

from engine.errors import Exit

FEW = ("-p", "2", "-t", "8")
ENDS_S = 40.0


def _batch(place: Place, seed: int) -> Batch:
    return place.batch(videos(120, seed), place.stand_in(seed=seed, latency_s=0.1))


def _ended(batch: Batch, run: Command, codes: tuple[int, ...], *words: str) -> Ended:
    """How the run ended: with one of the codes, in one of the words unless all was well, and nothing worse."""
    ended = run.wait(ENDS_S)
    batch.gone(run)
    assert "Traceback" not in ended.said, ended.said
    assert ended.code in codes, ended
    assert ended.code == 0 or any(word in ended.err for word in words), ended.err
    return ended


def _goes_on(batch: Batch) -> None:
    """The next run does the rest, and no attempt was charged for what was no video's fault."""
    ended = batch.run(*FEW)
    assert ended.code == 0, ended.said
    batch.clean()
    rows = batch.rows().values()
    assert {(value["status"], value["attempts"]) for value in rows} == {("ok", 1)}


@row(
    17,
    "no-descriptors",
    "no descriptors left: from the start, or in one process amid a run",
    trials=10,
    quick=1,
)
def descriptors(place: Place, seed: int) -> str:
    dice = random.Random(seed)
    batch = _batch(place, seed)
    with batch.start(*FEW) as run:
        pid, who = run.pid, dice.choice(("start", "worker", "supervisor", "monitor"))
        if who == "start":
            limit = dice.randrange(6, 34)
        else:
            batch.seen(dice.randrange(5, 60), within_s=90.0)
            pids = {"worker": run.members(WORKER), "supervisor": [run.pid], "monitor": run.members(MONITOR)}
            pid = dice.choice(pids[who])
            limit = len(os.listdir(f"/proc/{pid}/fd")) - (6 if who == "worker" else 0) + dice.randrange(3)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        ended = _ended(batch, run, (Exit.OK, Exit.DISK), "ulimit -n")
    _goes_on(batch)
    return f"{limit} descriptors for the {who}: exit code {ended.code}"


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[Callable[[bool], None]]:
    """A mount of its own for a directory, which can be made read-only while its files are not being written."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", path, path], check=True)

    def read_only(yes: bool) -> None:
        how = f"remount,bind,{'ro' if yes else 'rw'}"
        command = ["mount", "-o", how, str(path)]
        until(
            lambda: not subprocess.call(command, stderr=subprocess.DEVNULL),
            20.0,
            how,
            each_s=0.005,
        )

    try:
        yield read_only
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@contextlib.contextmanager
def _immutable(path: Path) -> Iterator[None]:
    """A directory in which no name can be made or removed, not even by root."""
    subprocess.run(["chattr", "+i", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


def _may(place: Place) -> bool:
    """Whether mounts and attributes can be set here."""
    probe = place.root / "probe"
    try:
        with _bound(probe), _immutable(probe):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@row(
    17,
    "read-only",
    "the queue or the output cannot be written, from the start or from one moment on",
    trials=10,
)
def read_only(place: Place, seed: int) -> str | Told:
    if not _may(place):
        return Told(0, "not played: no right to mount here, or a file system without attributes")
    dice = random.Random(seed)
    batch = _batch(place, seed)
    what = ("output from the start", "queue from the start", "output", "output's names", "journal's names")[
        seed % 5
    ]
    if what.endswith("start"):
        assert batch.does("seed", batch.file).code == 0
        with _bound(batch.out if what.startswith("output") else batch.queue) as set_read_only:
            set_read_only(True)
            with batch.start(*FEW) as run:
                ended = _ended(
                    batch, run, (Exit.USAGE, Exit.DISK), "cannot be written", "Read-only file system"
                )
            set_read_only(False)
    else:
        with contextlib.ExitStack() as stack:
            set_read_only = stack.enter_context(_bound(batch.out))
            run = stack.enter_context(batch.start(*FEW))
            batch.seen(dice.randrange(5, 100), within_s=90.0)
            if what == "output":
                set_read_only(True)
                stack.callback(set_read_only, False)
            else:
                path = batch.out if what == "output's names" else batch.queue / "journal" / "000000"
                stack.enter_context(_immutable(path))
            ended = _ended(batch, run, (Exit.DISK,), "Mount it for writing", "Correct the permissions")
    _goes_on(batch)
    return f"{what}: exit code {ended.code}"


@row(
    17, "vanished", "a directory of the queue, the whole queue or the output is removed amid a run", trials=10
)
def vanished(place: Place, seed: int) -> str:
    dice = random.Random(seed)
    batch = _batch(place, seed)
    inner = dice.choice(("workers", "tmp", "pending", "deferred", "done", "filed", "journal", "budget"))
    what = ("output, for a while", "output", "queue", inner)[seed % 4]
    with batch.start(*FEW) as run:
        batch.seen(dice.randrange(5, 100), within_s=90.0)
        if what == "output, for a while":
            batch.out.rename(place.root / "away")
        else:
            _remove(batch.out if what == "output" else batch.queue if what == "queue" else batch.queue / what)
        codes = (Exit.DISK, Exit.NO_QUEUE, Exit.USAGE, *((Exit.OK,) if what == inner else ()))
        ended = _ended(batch, run, codes, "bring it back", "no queue", "must be there")
    if what == "output, for a while":
        shutil.rmtree(batch.out, ignore_errors=True)
        (place.root / "away").rename(batch.out)
    if what != "output":
        _goes_on(batch)
        return f"{what}: exit code {ended.code}"
    assert batch.run(*FEW).code == 0
    assert set(batch.rows()) == set(batch.ids)
    lost = [
        value
        for value in batch.rows().values()
        if not all((batch.out / name).exists() for name in value["files"].values())
    ]
    verified = batch.does("verify")
    assert verified.code == (Exit.DAMAGED if lost else 0), "what somebody removed is told, and not made up"
    assert all(value["video_id"] in verified.said for value in lost[:5]), verified.said
    return f"{what}: exit code {ended.code}, {len(lost)} rows without their files, which verify names"


def _remove(path: Path) -> None:
    """Remove a tree in which others are at work."""

    def gone() -> bool:
        if path.is_file():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()

    until(gone, 10.0, f"{path} to be gone", each_s=0.0)
