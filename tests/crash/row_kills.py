"""Rows 1, 2 and 3: workers, the supervisor, the monitor and whole groups killed with -9, at random moments."""

from __future__ import annotations

import random
import signal
import time

import recount
from commands import MONITOR, WORKER, Batch, Command, expected_kinds, kinds, until, videos
from killing import Killer, nobody_is_blamed, repeated, same_status, slack
from nights import Place
from scorecard import Told, repeats, row

KILLS = 5  # a batch
ABSENT, FLAKY = "absent=0.06", "flaky=0.06"
LATENCY_S = 0.25
OPTIONS = ("-p", "2", "-t", "4", "--deadline", "3")
SLOT_BACK_S = 1.0
FETCHING_S = 5.0
MANY = 1_000_000


def batch_of(place: Place, count: int, seed: int) -> tuple[Batch, Killer]:
    site = place.stand_in(seed=seed, latency_s=LATENCY_S, scenarios=(ABSENT, FLAKY))
    batch = place.batch(videos(count, seed), site)
    return batch, Killer(batch, random.Random(seed))


def whole(batch: Batch, seed: int, killer: Killer) -> str:
    """I1, I2, I4, I5 and I3: everything is there once, as the site has it, and little was asked for twice."""
    batch.clean()
    rows = batch.rows()
    assert kinds(rows) == expected_kinds(batch.ids, ABSENT, seed)
    assert recount.folded(batch.queue) == rows, "the manifest is not what the journals say"
    same_status(batch)
    assert batch.site is not None
    asked = [arrival["video_id"] for arrival in batch.site.arrivals()]
    cost = repeated(rows, asked, killer.in_flight, ABSENT, FLAKY, seed=seed, outages=killer.outages)
    return f"{killer.in_flight.total()} in flight at kills, {cost} requests repeated"


def at_work(batch: Batch, run: Command, began_s: float) -> float:
    """The run has sent something since it was started; returns how long that took, in s."""
    site = batch.site
    assert site is not None
    seen = sum(site.stats()["requests"].values())
    until(
        lambda: not run.live or sum(site.stats()["requests"].values()) > seen,
        4 * FETCHING_S * slack(),
        "the run does not fetch",
        each_s=0.01,
    )
    return time.monotonic() - began_s


def told(values: list[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.2f} s (max {max(values):.2f})" if values else "-"


def _through(batch: Batch, killer: Killer, seed: int) -> None:
    """Wait for the jobs that kills have hit: whoever meets three deaths in a row is rightly taken for poison."""
    wanted = expected_kinds(killer.in_flight, ABSENT, seed)  # the news that there are no captions may be held
    hit = {name for name, kind in wanted.items() if kind != "no_captions"}
    until(lambda: hit <= set(recount.folded(batch.queue)), 30.0 * slack(), f"jobs of killed workers: {hit}")


@row(1, "kill-worker", "kill -9 a worker", trials=10, quick=1)
def kill_worker(place: Place, seed: int) -> Told:
    """Kills of one batch: the other slot is never touched, the killed one is back within a second."""
    return worker_killed(place, seed, OPTIONS)


def worker_killed(place: Place, seed: int, options: tuple[str, ...]) -> Told:
    """The same, of a run with these options."""
    kills = repeats(KILLS, 3)
    batch, killer = batch_of(place, 120, seed)
    back_s: list[float] = []
    with batch.start(*options) as run:
        while len(back_s) < kills:
            if len(back_s) % 2 == 0:
                _through(batch, killer, seed)
            until(lambda: len(recount.workers(batch.queue)) == 2, 20.0 * slack(), "two workers")
            time.sleep(killer.dice.uniform(0.0, 1.2))
            before = set(recount.workers(batch.queue))
            victim = killer.worker(run)
            killed_s = time.monotonic()
            assert victim is not None, f"no worker to kill: {run.said()}"
            until(
                lambda before=before: set(recount.workers(batch.queue)) - before,  # type: ignore[misc]
                20.0 * slack(),
                "no new worker",
                each_s=0.005,
            )
            back_s.append(time.monotonic() - killed_s)
            assert _died(batch) <= len(back_s) + _replaced_for_silence(batch), "another slot was touched"
        ended = run.wait(90 * slack())
        batch.gone(run)
    assert ended.code == 0, ended.said
    assert max(back_s) <= SLOT_BACK_S * 1.5 * slack(), back_s
    assert kills <= _died(batch) <= kills + _replaced_for_silence(batch)
    return Told(kills, f"slot back after {told(back_s)}; {whole(batch, seed, killer)}")


def _died(batch: Batch) -> int:
    """How many workers died; one that ended because nothing was left for it did not."""
    return sum(event["event"] == "slot_died" for event in recount.events(batch.queue))


def _replaced_for_silence(batch: Batch) -> int:
    """How many workers the supervisor replaced because a crowded machine let them stand still."""
    return sum(event["event"] == "worker_silent" for event in recount.events(batch.queue))


@row(2, "kill-supervisor", "kill -9 the supervisor", trials=5, quick=1)
def kill_supervisor(place: Place, seed: int) -> Told:
    """Its workers and its monitor leave within a second, nobody is blamed, and the next run goes on."""
    kills = repeats(KILLS, 2)
    batch, killer = batch_of(place, 90, seed)
    for _ in range(kills):
        with batch.start(*OPTIONS) as run:
            until(lambda: recount.workers(batch.queue) or not run.live, 20.0 * slack(), "a worker")
            time.sleep(killer.dice.uniform(0.0, 1.2))
            assert run.live, "the batch is too small for so many kills"
            killer.supervisor(run)
            assert run.wait().code == -signal.SIGKILL
        same_status(batch)
    nobody_is_blamed(batch)
    assert batch.run(*OPTIONS, timeout_s=90 * slack()).code == 0
    nobody_is_blamed(batch)
    return Told(kills, f"orphans gone after {told(killer.orphans_s)}; {whole(batch, seed, killer)}")


@row(2, "kill-monitor", "kill -9 the monitor", trials=5, quick=1)
def kill_monitor(place: Place, seed: int) -> Told:
    """Another takes over; the workers do not notice."""
    kills = repeats(KILLS, 2)
    batch, killer = batch_of(place, 90, seed)
    with batch.start(*OPTIONS) as run:
        until(lambda: len(recount.workers(batch.queue)) == 2, 20.0 * slack(), "two workers")
        workers = set(run.members(WORKER))
        for _ in range(kills):
            until(lambda: run.members(MONITOR), 10.0 * slack(), "no new monitor")
            time.sleep(killer.dice.uniform(0.0, 1.0))
            assert killer.monitor(run) is not None, "the batch is too small for so many kills"
        assert workers == set(run.members(WORKER))
        ended = run.wait(90 * slack())
        batch.gone(run)
    assert ended.code == 0, ended.said
    assert [event["event"] for event in recount.events(batch.queue)].count("monitor_died") == kills
    return Told(kills, whole(batch, seed, killer))


@row(3, "kill-group", "kill -9 everything, again and again", trials=10, quick=1)
def kill_group(place: Place, seed: int) -> Told:
    """Runs of one batch killed, some while they seed or recover; all that is lost is what was in flight."""
    return group_killed(place, seed, OPTIONS)


def group_killed(place: Place, seed: int, options: tuple[str, ...]) -> Told:
    """The same, of runs with these options."""
    kills = repeats(KILLS, 3)
    batch, killer = batch_of(place, 110, seed)
    fetching_s: list[float] = []
    for number in range(kills):
        began_s = time.monotonic()
        with batch.start(*options) as run:
            if number % 3 == 2:
                time.sleep(killer.dice.uniform(0.02, 0.8))  # wherever it is by then
            else:
                fetching_s.append(at_work(batch, run, began_s))
                time.sleep(killer.dice.uniform(0.0, 1.5))
            killer.group(run)
            assert run.wait().code in (-signal.SIGKILL, 0), run.said()
        if (batch.queue / "FORMAT").exists():
            same_status(batch)
    assert batch.run(*options, timeout_s=90 * slack()).code == 0
    assert max(fetching_s) <= FETCHING_S * slack(), fetching_s
    nobody_is_blamed(batch)
    return Told(kills, f"fetching after {told(fetching_s)}; {whole(batch, seed, killer)}")


@row(3, "kill-group-of-a-million", "kill -9 everything, in a queue of 1,000,000", trials=1, quiet=True)
def kill_group_of_a_million(place: Place, seed: int) -> Told:
    """After each kill the next run is fetching within five seconds."""
    batch, killer = batch_of(place, 0, seed)
    batch.file.write_text("\n".join(videos(MANY, seed)))
    assert batch.does("seed", batch.file).code == 0
    fetching_s: list[float] = []
    for _ in range(2 * KILLS):
        began_s = time.monotonic()
        command = Command(*batch.run_args(*OPTIONS))
        batch.pids.append(command.pid)
        with command as run:
            fetching_s.append(at_work(batch, run, began_s))
            time.sleep(killer.dice.uniform(0.5, 3.0))
            killer.group(run)
    assert max(fetching_s) <= FETCHING_S * slack(), fetching_s
    assert same_status(batch)["total"] == MANY
    nobody_is_blamed(batch)
    with Command(*batch.run_args(*OPTIONS, "--limit", "20")) as run:
        assert run.wait(60).code == 4
    batch.clean(finished=False)
    verified = batch.does("verify")
    assert verified.code == 0, verified.said
    return Told(2 * KILLS, f"fetching after {told(fetching_s)}")
