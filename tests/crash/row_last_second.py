"""Row 23: everything is killed with -9 in the last second, when all jobs are final and not all rows are there."""

from __future__ import annotations

import random
import time
from pathlib import Path

import recount
from commands import Command, until, videos
from killing import Killer, same_status, slack
from nights import Place
from scorecard import Told, repeats, row

VIDEOS = 60
KILLS = 5  # trials a call, each with a batch of its own
LATENCY_S = 0.05
OPTIONS = ("-p", "2", "-t", "8")
FINISHED, STOPPED = 0, 23
LATE_S = 0.4  # the manifest is behind by at most the monitor's second


def _over(queue: Path) -> bool:
    """Whether nothing is left to do, by the files: a row a job, and no token but in filed/."""
    left = [
        path
        for place in ("pending", "workers", "deferred", "done")
        for path in (queue / place).rglob("*.*.*")
    ]
    return len(recount.manifest(queue)) == VIDEOS and not [path for path in left if path.is_file()]


@row(23, "kill-at-the-end", "kill -9 in the last second, again and again", trials=10, quick=1)
def kill_at_the_end(place: Place, seed: int) -> Told:
    """`finished` is said where all rows are there and only there; the next run brings them without a request."""
    site = place.stand_in(seed=seed, latency_s=LATENCY_S)
    dice = random.Random(seed)
    lacked = 0
    kills = repeats(KILLS, 2)
    for number in range(kills):
        batch = place.batch(videos(VIDEOS, seed * KILLS + number), site, f"batch-{number}")
        with batch.start(*OPTIONS) as run:
            until(
                lambda batch=batch, run=run: len(_final(batch.queue)) == VIDEOS or not run.live,  # type: ignore[misc]
                60.0 * slack(),
                "all jobs to be final",
            )
            if number % 2:  # else at once
                time.sleep(dice.uniform(0.0, LATE_S))
            Killer(batch, dice).group(run)
            assert run.wait().code in (-9, 0), run.said()
        same_status(batch)
        lacked += not _over(batch.queue)
        _told_truly(batch.queue, over=_over(batch.queue))
        asked = sum(site.stats()["requests"].values())
        assert batch.run(*OPTIONS, timeout_s=90 * slack()).code == 0
        assert sum(site.stats()["requests"].values()) == asked, "the next run fetched what was final"
        _told_truly(batch.queue, over=True)
        batch.clean()
    return Told(kills, f"rows lacked {lacked} times of {kills}")


def _final(queue: Path) -> dict[str, object]:
    return dict(recount.folded(queue)) if (queue / "journal").exists() else {}


def _told_truly(queue: Path, *, over: bool) -> None:
    """`status` and `wait` say so, in words and by their exit codes."""
    code = FINISHED if over else STOPPED
    for args in (("status", "--json", "--exit-code"), ("wait",)):
        with Command(args[0], "-q", queue, *args[1:]) as command:
            ended = command.wait(30.0 * slack())
        state = "finished" if over else "stopped"
        assert (ended.code, state in ended.said) == (code, True), ended
