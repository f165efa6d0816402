"""A stopped worker is neither robbed nor blamed, and what a kill leaves behind is found."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import pytest
import recount
from commands import WORKER, Batch, Ended, until, videos
from nights import Place, played

pytestmark = pytest.mark.crash
SLOW_S = 0.25
FEW = ("-p", "2", "-t", "4")


@dataclass(frozen=True)
class Suspended:
    batch: Batch
    ended: Ended
    held: list[str]  # in flight in the stopped worker
    kept: list[str]  # and still, when it went on
    others: int  # jobs that became final meanwhile


def suspended(place: Place) -> Suspended:
    """A worker stopped for longer than an attempt may take."""
    site = place.stand_in(seed=8, latency_s=SLOW_S)
    batch = place.batch(videos(150, 8), site)
    with batch.start(*FEW, "--deadline", "6") as run:
        batch.seen(12)
        pid = run.members(WORKER)[0]
        claim = until(lambda: recount.workers(batch.queue).get(pid), 20.0, "its directory")
        until(lambda: recount.busy(claim), 20.0, "it is at work")
        os.kill(pid, signal.SIGSTOP)
        held, before = recount.busy(claim), batch.status()
        time.sleep(7.0)
        until(lambda: batch.status()["ok"] > before["ok"] + 10, 60.0, "for the other worker to go on")
        kept, after = recount.busy(claim), batch.status()
        os.kill(pid, signal.SIGCONT)
        ended = run.wait()
        batch.gone(run)
    return Suspended(batch, ended, held, kept, after["ok"] - before["ok"])


@played(suspended)
def test_a_stopped_worker_keeps_its_jobs(night: Suspended) -> None:
    assert night.ended.code == 0, night.ended.said
    assert night.held, "it was at work when it was stopped"
    assert night.kept == night.held
    assert night.others > 10, "the other worker went on"
    rows = night.batch.rows()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {row["attempts"] for row in rows.values()} == {1}, "no false timeouts"
    assert night.batch.site is not None
    seen = sum(night.batch.site.stats()["requests"].values())
    assert seen == 2 * len(rows), "nothing was fetched twice"
    night.batch.clean()


def killed_at_work(place: Place) -> Batch:
    """A batch of which everything was killed at work."""
    batch = place.batch(videos(40, 8), place.stand_in(seed=8, latency_s=SLOW_S))
    with batch.start(*FEW) as run:
        batch.seen(8)
        until(lambda: len(recount.workers(batch.queue)) == 2, 20.0, "two workers")
        run.kill_all()
        assert not run.members()
    return batch


@played(killed_at_work)
def test_what_a_kill_leaves_is_found(night: Batch) -> None:
    """The checks of these tests see what they are there to see."""
    assert any("/workers/" in left for left in recount.leftovers(night.queue, night.out))
    with pytest.raises(AssertionError):
        night.clean()
    (night.out / "stray.md").write_text("?")
    with pytest.raises(AssertionError):
        recount.check_files(night.queue, night.out)
