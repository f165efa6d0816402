"""The main job while workers, the monitor and whole runs are killed with -9, and started again."""

from __future__ import annotations

import collections
import random
import signal
import time
from dataclasses import dataclass, field

import pytest
import recount
from commands import MONITOR, WORKER, Batch, Command, kill, kinds, watching
from killing import bring_back
from main_job import OPTIONS, SEED, SETTINGS, undisturbed
from nights import Place

pytestmark = pytest.mark.crash
DECK = ["worker", "worker", "monitor", "group"]
REQUESTS_A_JOB = 3  # at most so many of a job in flight were sent and are sent again


@dataclass
class Killer:
    """Kills one of a run's processes, or all of them, and counts what was in flight in those."""

    batch: Batch
    dice: random.Random
    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    deck: list[str] = field(default_factory=list)
    in_flight: int = 0

    def kill(self, run: Command) -> None:
        """One kill, when there is something to kill."""
        if not self.deck:
            self.deck = self.dice.sample(DECK, len(DECK))
        what = self.deck.pop()
        if what == "group":
            claims = list(recount.workers(self.batch.queue).values())
            run.kill_all()
        else:
            found = run.members(MONITOR if what == "monitor" else WORKER)
            if not found:
                return
            pid = self.dice.choice(found)
            claim = recount.workers(self.batch.queue).get(pid)
            claims = [claim] if claim else []
            kill(pid)
        # Read after the kill: nobody writes there any more, and nobody has cleared it yet.
        self.in_flight += sum(len(recount.busy(path)) for path in claims)
        self.kills[what] += 1


def disturbed(place: Place, count: int, kills: int, *, dice: int, pause_s: float, reference: int) -> str:
    """Play the main job with so many kills and hold it against the undisturbed one; returns what to tell."""
    whole = undisturbed(reference, pause_s)
    site = place.stand_in(**{name: getattr(SETTINGS, name) for name in ("latency_s", "seed", "scenarios")})
    batch = place.batch(whole.batch.ids[:count], site)
    killer = Killer(batch, random.Random(dice))
    codes = []
    with watching(batch, pause_s) as onlooker:
        while not codes or codes[-1] not in (0, 3):
            with batch.start(*OPTIONS) as run:
                while run.live:
                    time.sleep(killer.dice.uniform(0.5, 1.3))
                    if killer.kills.total() < kills and run.live:
                        killer.kill(run)
                codes.append(run.wait().code)
                assert "Traceback" not in run.said(), run.said()
                batch.gone(run)
            assert codes[-1] in (0, -signal.SIGKILL), codes
    assert killer.kills.total() == kills
    bring_back(batch, *OPTIONS)
    rows = batch.rows()
    assert kinds(rows) == {video_id: whole.rows[video_id]["kind"] for video_id in batch.ids}
    seen = sum(site.stats()["requests"].values())
    wanted = sum(whole.requests[video_id] for video_id in batch.ids)
    assert seen <= wanted + REQUESTS_A_JOB * killer.in_flight, (seen, wanted, killer.in_flight)
    batch.clean()
    status_s = onlooker.check(at_least=5)
    return (
        f"{dict(killer.kills)}, {killer.in_flight} in flight at kills, {seen} requests ({wanted} undisturbed), "
        f"status {status_s:.3f} s"
    )


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dice", [SEED, SEED + 1])
def test_five_thousand_jobs_and_thirty_kills(place: Place, dice: int) -> None:
    print(disturbed(place, 5000, 30, dice=dice, pause_s=0.05, reference=5000))
