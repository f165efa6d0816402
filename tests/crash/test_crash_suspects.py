"""A job that kills its process ends as poison, alone; a stopped worker is neither robbed nor blamed."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass

import pytest
import recount
from commands import WORKER, Batch, Ended, kill, until, videos
from nights import Place, played

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]
SLOW_S = 0.25
FEW = ("-p", "2", "-t", "4")


class Assassin:
    """Kills the worker in whose `inflight` a certain job shows, each time it does."""

    def __init__(self, batch: Batch, video_id: str) -> None:
        self.kills = 0
        self._batch, self._video_id = batch, video_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        dead: set[int] = set()
        while not self._over.wait(0.01):
            for pid, path in recount.workers(self._batch.queue).items():
                if pid not in dead and self._video_id in recount.busy(path):
                    kill(pid)
                    dead.add(pid)
                    self.kills += 1

    def __enter__(self) -> Assassin:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(5)


def poison(place: Place) -> tuple[Batch, str, int, Ended]:
    site = place.stand_in(seed=8, latency_s=SLOW_S)
    batch = place.batch(videos(60, 8), site)
    guilty = batch.ids[17]
    with Assassin(batch, guilty) as assassin:
        ended = batch.run(*FEW)
    return batch, guilty, assassin.kills, ended


@played(poison)
def test_a_job_that_kills_its_process_is_poison(night: tuple[Batch, str, int, Ended]) -> None:
    batch, guilty, kills, ended = night
    assert ended.code == 3, ended.said
    assert kills == 3, "one death in company, two alone"
    rows = batch.rows()
    assert (rows[guilty]["status"], rows[guilty]["kind"]) == ("failed", "poison")
    assert "3 times" in rows[guilty]["message"]
    others = [row for video_id, row in rows.items() if video_id != guilty]
    assert {row["status"] for row in others} == {"ok"}
    deaths = [body for verb, body in recount.journal_lines(batch.queue) if verb == "died"]
    assert [body["alone"] for body in deaths if body["job"] == guilty] == [False, True, True]
    batch.clean()
    assert [event["event"] for event in recount.events(batch.queue)].count("slot_died") == 3


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
    with batch.start(*FEW, "--deadline", "3") as run:
        batch.seen(12)
        pid = run.members(WORKER)[0]
        claim = recount.workers(batch.queue)[pid]
        os.kill(pid, signal.SIGSTOP)
        held, before = recount.busy(claim), batch.status()
        time.sleep(4.0)
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


def headless(place: Place) -> tuple[Batch, float, int, Ended, Ended]:
    """A run whose supervisor is killed alone, and the next."""
    site = place.stand_in(seed=8, latency_s=SLOW_S)
    batch = place.batch(videos(60, 8), site)
    with batch.start(*FEW) as run:
        batch.seen(12)
        killed_s = time.monotonic()
        run.signal(signal.SIGKILL)
        until(lambda: not run.members(WORKER), 5.0, "workers outlive their supervisor")
        took_s = time.monotonic() - killed_s
        batch.gone(run)
        in_flight = sum(len(recount.busy(path)) for path in recount.workers(batch.queue).values())
        killed = run.wait()
    return batch, took_s, in_flight, killed, batch.run()


@played(headless)
def test_workers_do_not_outlive_their_supervisor(night: tuple[Batch, float, int, Ended, Ended]) -> None:
    batch, took_s, in_flight, killed, ended = night
    assert killed.code == -signal.SIGKILL
    assert took_s < 2.0
    assert ended.code == 0, ended.said
    assert batch.site is not None
    assert sum(batch.site.stats()["requests"].values()) <= 2 * len(batch.ids) + 2 * in_flight
    assert not [body for verb, body in recount.journal_lines(batch.queue) if verb == "died"], (
        "nobody is blamed"
    )
    batch.clean()


def back_soon(place: Place) -> tuple[Batch, list[float], Ended]:
    """Workers killed in turn: how soon another is at work in the slot. The other slot is never touched."""
    site = place.stand_in(seed=8, latency_s=SLOW_S)
    batch = place.batch(videos(120, 8), site)
    waits = []
    with batch.start(*FEW) as run:
        batch.seen(12)
        victim, other = recount.workers(batch.queue)
        for _ in range(3):
            known = set(recount.workers(batch.queue))
            killed_s = time.monotonic()
            kill(victim)
            (new,) = until(
                lambda known=known: set(recount.workers(batch.queue)) - known, 10.0, "a new worker"
            )
            waits.append(time.monotonic() - killed_s)
            assert other in run.members(WORKER)
            victim, other = other, new  # in turn, for a job that meets three deaths would be blamed for them
        ended = run.wait()
        batch.gone(run)
    return batch, waits, ended


@played(back_soon)
def test_a_slot_is_back_soon_and_the_other_is_left_alone(night: tuple[Batch, list[float], Ended]) -> None:
    batch, waits, ended = night
    assert ended.code == 0, ended.said
    assert max(waits) < 10.0  # a second where nothing else runs
    print(f"back after {', '.join(f'{wait_s:.2f}' for wait_s in waits)} s")
    assert {row["status"] for row in batch.rows().values()} == {"ok"}
    batch.clean()


def test_what_a_kill_leaves_is_found(place: Place) -> None:
    """The checks of these tests see what they are there to see."""
    batch = place.batch(videos(40, 8), place.stand_in(seed=8, latency_s=SLOW_S))
    with batch.start(*FEW) as run:
        batch.seen(8)
        until(lambda: len(recount.workers(batch.queue)) == 2, 5.0, "two workers")
        run.kill_all()
        assert not run.members()
    assert any("/workers/" in left for left in recount.leftovers(batch.queue, batch.out))
    with pytest.raises(AssertionError):
        batch.clean()
    (batch.out / "stray.md").write_text("?")
    with pytest.raises(AssertionError):
        recount.check_files(batch.queue, batch.out)
