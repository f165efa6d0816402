"""Row 15: a worker killed, or stopped, at the moment it holds the lock of the budget that all share."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import recount
from commands import WORKER, Batch, Command, environment, kill, until, videos
from killing import Killer, repeated, slack
from nights import Place
from scorecard import Told, row

LATENCY_S = 0.1
OPTIONS = ("-p", "2", "-t", "8", "--grace", "3")
KILLS, STOPS = 3, 2  # a batch
SAID_S = 5.0
FREE_S = 1.0
ENOUGH = 300  # jobs that are left, for the others to want the lock while it is held
TAKER = Path(__file__).parents[1] / "budget" / "taker.py"


def _batch(place: Place, count: int, seed: int) -> tuple[Batch, Killer]:
    site = place.stand_in(seed=seed, latency_s=LATENCY_S)
    batch = place.batch(videos(count, seed), site)
    return batch, Killer(batch, random.Random(seed))


def _holds(pid: int, path: Path) -> bool:
    """Whether a process holds the lock of a file, by the kernel's own list."""
    stat = path.stat()
    file = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[4:6] == [str(pid), file]:
            return True
    return False


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    except OSError:  # it is gone, and holds nothing
        return True


def caught(run: Command, batch: Batch, dice: random.Random, seed: int) -> int:
    """Stop a worker at random moments until one is inside the lock; returns its pid."""
    ends_at = time.monotonic() + 60.0 * slack()
    while time.monotonic() < ends_at:
        _work_for_all(batch, seed)
        assert run.live, f"the run ended before a worker was caught: {run.said()}"
        claims = recount.workers(batch.queue)
        for pid in [member for member in run.members(WORKER) if member in claims]:
            with contextlib.suppress(ProcessLookupError):  # one that was killed before
                for _ in range(20):
                    os.kill(pid, signal.SIGSTOP)
                    until(lambda pid=pid: _stopped(pid), 5.0, "a process to stop", each_s=0.0)  # type: ignore[misc]
                    if _holds(pid, batch.queue / "budget"):
                        return pid
                    os.kill(pid, signal.SIGCONT)
                    time.sleep(dice.uniform(0.0, 0.01))
    raise AssertionError("no worker was caught inside the lock")


def _work_for_all(batch: Batch, seed: int) -> None:
    """More jobs, if it has taken so long to catch somebody that few are left: who has none does not want the lock."""
    assert batch.site is not None
    requests = sum(batch.site.stats()["requests"].values())
    if len(batch.ids) - requests // 2 < ENOUGH:
        batch.ids = videos(len(batch.ids) + ENOUGH, seed)
        batch.file.write_text("".join(f"{video_id}\n" for video_id in batch.ids))
        assert batch.does("seed", batch.file).code == 0


def _goes_on(batch: Batch, within_s: float) -> float:
    site = batch.site
    assert site is not None
    seen, began_s = sum(site.stats()["requests"].values()), time.monotonic()
    until(lambda: sum(site.stats()["requests"].values()) > seen, within_s, "requests to go on", each_s=0.005)
    return time.monotonic() - began_s


def _told(batch: Batch) -> list[str]:
    return [event["reason"] for event in recount.events(batch.queue) if event["event"] == "budget_stuck"]


@row(15, "budget-holder-killed", "the holder of the budget's lock is killed", trials=9, quick=1)
def killed(place: Place, seed: int) -> Told:
    """The kernel frees the lock with its holder: the others go on at once."""
    batch, killer = _batch(place, 600, seed)
    free_s = []
    with batch.start(*OPTIONS) as run:
        for _ in range(KILLS):
            until(lambda: len(recount.workers(batch.queue)) == 2, 20.0 * slack(), "two workers")
            pid = caught(run, batch, killer.dice, seed)
            claim = recount.workers(batch.queue)[pid]
            kill(pid)
            killer.in_flight.update(recount.busy(claim))  # before its directory is taken apart
            free_s.append(_goes_on(batch, 10.0 * slack()))
        ended = run.wait(120 * slack())
        batch.gone(run)
    assert ended.code == 0, ended.said
    assert max(free_s) <= FREE_S * slack(), free_s
    assert not _told(batch)
    batch.clean()
    rows = batch.rows()
    assert {value["status"] for value in rows.values()} == {"ok"}
    assert batch.site is not None
    cost = repeated(rows, (arrival["video_id"] for arrival in batch.site.arrivals()), killer.in_flight)
    return Told(KILLS, f"on after {max(free_s):.2f} s at most, {cost} requests repeated")


@row(
    15, "budget-holder-stopped", "the holder of the budget's lock is stopped", trials=13, quick=1, waits=True
)
def stopped(place: Place, seed: int) -> Told:
    """The others say so within five seconds and wait; nothing is lost, late or asked for twice."""
    batch, killer = _batch(place, 600, seed)
    said_s = []
    with batch.start(*OPTIONS) as run:
        for number in range(STOPS):
            until(lambda: len(recount.workers(batch.queue)) == 2, 20.0 * slack(), "two workers")
            pid, known = caught(run, batch, killer.dice, seed), len(_told(batch))
            began_s = time.monotonic()
            until(lambda known=known: len(_told(batch)) > known, SAID_S * 4 * slack(), "a word")  # type: ignore[misc]
            said_s.append(time.monotonic() - began_s)
            assert batch.status()["state"] == "running"
            if number == STOPS - 1 and seed % 2:
                run.signal(signal.SIGINT)  # it need not go on for the run to end
                busy = [name for path in recount.workers(batch.queue).values() for name in recount.busy(path)]
                killer.in_flight.update(busy)
                assert run.wait(6.0 * slack()).code == 130
                break
            os.kill(pid, signal.SIGCONT)
            _goes_on(batch, 10.0 * slack())
        else:
            assert run.wait(120 * slack()).code == 0, run.said()
        batch.gone(run)
        assert "kill -CONT" in run.said()
    assert max(said_s) <= SAID_S * slack(), said_s
    assert batch.run(*OPTIONS, timeout_s=120 * slack()).code == 0
    batch.clean()
    rows = batch.rows()
    assert {(value["status"], value["attempts"]) for value in rows.values()} == {("ok", 1)}, (
        "no false timeouts"
    )
    assert batch.site is not None
    repeated(rows, (arrival["video_id"] for arrival in batch.site.arrivals()), killer.in_flight)
    return Told(STOPS, f"said after {max(said_s):.1f} s at most")


@contextlib.contextmanager
def _holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A stopped process with the lock."""
    command = [sys.executable, str(TAKER), "hold", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@row(
    15,
    "budget-held-at-start",
    "a run starts, and a stopped process holds the budget's lock",
    trials=4,
    quick=1,
    waits=True,
)
def held_at_start(place: Place, seed: int) -> str:
    """It says why it does not begin, hears a signal meanwhile, and begins when the lock is free."""
    batch, _ = _batch(place, 20, seed)
    assert batch.run("--limit", "5").code == 4
    with _holder(batch.queue / "budget") as holder:
        with batch.start(*OPTIONS) as run:
            began_s = time.monotonic()
            until(lambda: "kill -CONT" in run.said(), SAID_S * 4 * slack(), "a word")
            said_s = time.monotonic() - began_s
            run.signal(signal.SIGTERM)
            ended = run.wait(2.0 * slack())
            assert ended.code == 143, ended.said
            assert "work remains" in ended.err
            batch.gone(run)
        with batch.start(*OPTIONS) as run:
            until(lambda: len(_told(batch)) == 2, SAID_S * 4 * slack(), "a word")
            holder.send_signal(signal.SIGKILL)
            assert run.wait(60 * slack()).code == 0
    assert said_s <= (SAID_S + 1.0) * slack(), said_s
    batch.clean()
    return f"said after {said_s:.1f} s"
