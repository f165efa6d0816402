"""Row 14: ten `engine run` at once on one queue, with `seed` and `status` beside."""

from __future__ import annotations

import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import recount
from commands import Batch, Command, Ended, engine, until, videos
from killing import slack
from nights import Place
from scorecard import Told, repeats, row

ROUNDS, RUNS, LOOKS = 2, 10, 3
LATENCY_S = 1.5
REFUSED_S = 1.0


def _timed(*args: object) -> tuple[Ended, float]:
    began_s = time.monotonic()
    ended = engine(*map(str, args), timeout_s=60.0)
    return ended, time.monotonic() - began_s


def _round(batch: Batch, dice: random.Random, names: list[str]) -> tuple[Command, list[Ended], list[float]]:
    """Ten runs at once, each with a video of its own, and onlookers; returns the winner, the refused, and how
    long `status` took."""
    runs = [Command(*batch.run_args(name, "-p", "1", "-t", "2")) for name in names[:RUNS]]
    batch.pids += [run.pid for run in runs]
    with ThreadPoolExecutor(LOOKS + 1) as pool:
        looks = [pool.submit(_timed, "status", "-q", batch.queue, "--json") for _ in range(LOOKS)]
        seeding = pool.submit(_timed, "seed", "-q", batch.queue, names[RUNS])
        status_s = []
        for look in looks:
            ended, took_s = look.result()
            assert ended.code in (0, 10), ended.said
            assert json.loads(ended.out)["total"] <= len(set(batch.ids)) + 2
            status_s.append(took_s)
        assert seeding.result()[0].code == 0, seeding.result()[0].said
    until(lambda: sum(run.live for run in runs) <= 1, 30.0 * slack(), "nine to be refused")
    (winner,) = [run for run in runs if run.live]
    refused = []
    for run in runs:
        if run is not winner:
            with run:
                refused.append(run.wait())
                batch.gone(run)
    batch.ids += [names[runs.index(winner)], names[RUNS]]
    return winner, refused, status_s


def _seeded(batch: Batch) -> list[str]:
    """The ids in the segments; none while small segments are gathered, when a job may be seen in two of them."""
    try:
        return sorted(recount.seeded(batch.queue))
    except (AssertionError, OSError):
        return []


@row(14, "ten-at-once", "ten `engine run` at once, `seed` and `status` beside", trials=25, quick=1)
def ten_at_once(place: Place, seed: int) -> Told:
    """One works; nine exit 11, name it and have seeded nothing. Then it ends in some way, and again."""
    dice, rounds = random.Random(seed), repeats(ROUNDS, 1)
    batch = place.batch([], place.stand_in(seed=seed, latency_s=min(8.0, LATENCY_S * slack())))
    names, looks_s = videos(rounds * (RUNS + 1) + 1, seed), []
    assert batch.does("seed", names[-1]).code == 0
    batch.ids = [names[-1]]
    for number in range(rounds):
        mine = names[number * (RUNS + 1) : (number + 1) * (RUNS + 1)]
        winner, refused, status_s = _round(batch, dice, mine)
        looks_s += status_s
        with winner:
            assert [ended.code for ended in refused] == [11] * (RUNS - 1), refused
            assert all(str(winner.pid) in ended.err for ended in refused), refused
            assert not [ended.said for ended in refused if "Traceback" in ended.said]
            until(lambda: _seeded(batch) == sorted(batch.ids), 20.0 * slack(), "who was refused has seeded")
            how = dice.choice(["end", "INT", "kill"])
            if how == "kill":
                winner.kill_all()
            elif how == "INT":
                winner.signal(signal.SIGINT)
            assert winner.wait(60.0).code in (0, 130, -signal.SIGKILL), winner.said()
            batch.gone(winner)
    assert batch.run().code == 0
    batch.clean()
    assert {value["status"] for value in batch.rows().values()} == {"ok"}
    return Told(rounds, f"status within {max(looks_s):.2f} s, twelve processes starting beside")


@row(14, "refused-soon", "a second run, beside one at work", trials=1, quiet=True)
def refused_soon(place: Place, seed: int) -> Told:
    """It is refused within a second, and `status` answers as soon."""
    batch = place.batch(videos(60, seed), place.stand_in(seed=seed, latency_s=LATENCY_S))
    took_s, looks_s = [], []
    with batch.start("-p", "1", "-t", "4") as run:
        batch.seen(4)
        for _ in range(10):
            ended, this_s = _timed(*batch.run_args(videos(1, seed + 1)[0]))
            assert ended.code == 11, ended.said
            took_s.append(this_s)
            ended, this_s = _timed("status", "-q", batch.queue, "--json")
            assert ended.code == 0, ended.said
            looks_s.append(this_s)
        assert run.live
        run.kill_all()
    assert recount.seeded(batch.queue) == batch.ids
    for times_s in (took_s, looks_s):
        assert max(times_s) <= REFUSED_S * slack(), times_s
    return Told(10, f"refused within {max(took_s):.2f} s, status within {max(looks_s):.2f} s")
