"""Row 13: a suspend, played by SIGSTOP: of all processes, of one worker, of the one that holds the budget's lock.

A minute later they go on. Nobody is taken for dead or robbed, no deadline ran meanwhile, nothing is fetched twice,
and the requests that were not sent meanwhile do not come in a burst.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import recount
from commands import WORKER, Batch, until, videos
from killing import slack
from nights import Place
from patience import BUSY
from scorecard import row, share

FEW = ("-p", "2", "-t", "4")
DEADLINE_S = 3.0
STOPPED_S = {"quick": 5.0, "tenth": 20.0, "whole": 60.0}
RATE_PER_S = 8.0
BURST = 2  # slots that an idle egress keeps
WAIT_S = 240.0


def _deadline() -> str:
    """Shorter than the stop where the machine lets a request be answered in that; a crowded one needs longer."""
    return f"{DEADLINE_S * max(1.0, slack() / BUSY):g}"


def _requests(batch: Batch) -> int:
    assert batch.site is not None
    return sum(batch.site.stats()["requests"].values())


def _tell(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _stands(pid: int) -> bool:
    """Whether all threads of a process are stopped."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats)


def _nothing_happened(batch: Batch) -> None:
    """As if nobody had been stopped: no timeout, no death, no second request."""
    rows = batch.rows()
    assert {value["status"] for value in rows.values()} == {"ok"}
    assert {value["attempts"] for value in rows.values()} == {1}
    assert not [
        journal_line for verb, journal_line in recount.journal_lines(batch.queue) if verb in ("try", "died")
    ]
    events = {event["event"] for event in recount.events(batch.queue)}
    assert not events & {"slot_died", "monitor_died", "block", "network_lost"}, events
    assert _requests(batch) == 2 * len(rows), "nothing was fetched twice"
    batch.clean()


def _most_in_a_second(times_s: list[float]) -> int:
    return max(bisect.bisect_left(times_s, at_s + 1.0) - i for i, at_s in enumerate(times_s))


@row(13, "suspend-all", "all processes of a run stopped for a minute", trials=5, quick=1, waits=True)
def everything(place: Place, seed: int) -> str:
    dice, stopped_s = random.Random(seed), STOPPED_S[share()]
    site = place.stand_in(seed=seed, latency_s=0.3)
    batch = place.batch(videos(40, seed), site)
    wire = place.root / "wire"
    pace = ("--rate", f"{RATE_PER_S:g}/s", "--deadline", _deadline())
    with batch.start(*FEW, *pace, ENGINE_WIRE_LOG=str(wire)) as run:
        batch.seen(dice.randrange(8, 40), within_s=90.0)
        pids = run.members()
        assert len(pids) >= 4, "supervisor, monitor and two workers"
        _tell(pids, signal.SIGSTOP)
        time.sleep(stopped_s)
        dice.shuffle(pids)
        for pid in pids:
            _tell([pid], signal.SIGCONT)
            time.sleep(dice.uniform(0.0, 0.15))  # they do not wake up all at once
        back_s = time.monotonic()
        ended = run.wait(WAIT_S)
        batch.gone(run)
    assert ended.code == 0, ended.said
    _nothing_happened(batch)
    sent_s = sorted(float(line.split()[0]) for line in wire.read_bytes().splitlines())
    # Who had its permit before sends at once: one a thread at most, and only within the time it is good for.
    burst = _most_in_a_second([at_s for at_s in sent_s if at_s > back_s - 2.0])
    late = RATE_PER_S if slack() > BUSY else 0  # on a busy machine some leave a second later than they may
    assert burst <= RATE_PER_S + BURST + 2 + late, f"{burst} requests in one second after {stopped_s:g} s"
    return f"{len(pids)} processes stopped for {stopped_s:g} s, at most {burst} requests in a second after it"


@row(13, "suspend-worker", "one worker stopped for a minute", trials=5)
def worker(place: Place, seed: int) -> str:
    """The others go on; what it holds stays its own."""
    dice, stopped_s = random.Random(seed), STOPPED_S[share()]
    site = place.stand_in(seed=seed, latency_s=0.3)
    batch = place.batch(videos(200, seed), site)
    with batch.start(*FEW, "--deadline", _deadline()) as run:
        batch.seen(dice.randrange(8, 60), within_s=90.0)
        pid = dice.choice(run.members(WORKER))
        claim = recount.workers(batch.queue)[pid]
        os.kill(pid, signal.SIGSTOP)
        until(lambda: _stands(pid), 10.0, "it does not stop")  # a thread may be amid a rename
        held, before = _hold(claim), len(_final(batch))
        time.sleep(stopped_s)
        assert _hold(claim) == held, "its claims are left alone"
        others = len(_final(batch)) - before
        os.kill(pid, signal.SIGCONT)
        ended = run.wait(WAIT_S)
        batch.gone(run)
    assert ended.code == 0, ended.said
    assert held, "it was at work when it was stopped"
    assert others > 10, "the other worker went on"
    _nothing_happened(batch)
    return (
        f"one worker stopped for {stopped_s:g} s with {len(held)} names held, {others} jobs final meanwhile"
    )


def _hold(claim: Path) -> list[str]:
    return sorted([*(path.name for path in claim.iterdir()), *recount.busy(claim)])


def _final(batch: Batch) -> set[str]:
    return {
        journal_line["video_id"]
        for verb, journal_line in recount.journal_lines(batch.queue)
        if verb == "final"
    }


@row(13, "suspend-holder", "a worker stopped for a minute while it holds the budget's lock", trials=5)
def holder(place: Place, seed: int) -> str:
    """Everybody waits for it, which costs no deadline."""
    stopped_s = STOPPED_S[share()]
    site = place.stand_in(seed=seed, latency_s=0.02)
    batch = place.batch(videos(800, seed), site)
    tries, pids = 0, []
    with batch.start(*FEW, "--deadline", _deadline()) as run:
        batch.seen(8, within_s=90.0)
        inode = os.stat(batch.queue / "budget").st_ino
        while not pids:
            pids = [member for member in run.members(WORKER) if _caught(member, inode)]
            tries += 1
            assert run.live, f"never found with the lock in {tries} tries"
        (pid,) = pids
        before = len(_final(batch))
        time.sleep(stopped_s)
        assert _holds(pid, inode)
        waited = len(_final(batch)) - before
        os.kill(pid, signal.SIGCONT)
        ended = run.wait(WAIT_S)
        batch.gone(run)
    assert ended.code == 0, ended.said
    _nothing_happened(batch)
    return f"caught at try {tries + 1}, stopped for {stopped_s:g} s, {waited} jobs final meanwhile"


def _caught(pid: int, inode: int) -> bool:
    """Stop a worker; unless it has the lock, it goes on."""
    for _ in range(20):
        _tell([pid], signal.SIGSTOP)
        if _holds(pid, inode):
            time.sleep(0.05)  # the last of its threads may stop a moment after the first
            if _holds(pid, inode):
                return True
        _tell([pid], signal.SIGCONT)
        time.sleep(0.003)
    return False


def _holds(pid: int, inode: int) -> bool:
    """Whether this process has the lock on the file with this inode, by the kernel's list."""
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        mine = "->" not in fields and fields[1] == "FLOCK" and fields[4] == str(pid)
        if mine and fields[5].rpartition(":")[2] == str(inode):
            return True
    return False
