"""Killing the processes of a run, and knowing what was in flight in them."""

from __future__ import annotations

import collections
import random
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import recount
from commands import MONITOR, WORKER, Batch, Command, kill, until
from patience import crowd

from engine.rehearsal import parse_scenario

MOST_SLACK = 24.0
ORPHANS_S = 1.0  # who has lost the supervisor is gone by then
REQUESTS_PLAIN = 2  # of a video that nothing is wrong with
CROWDED = 12.0  # so many for each core
CONTROLS = 6  # rows of videos that may have been asked for as control videos, and how often each
REQUESTS_A_JOB = 3  # of a job in flight at a kill, sent again; on average


def slack() -> float:
    """How much longer than promised a time may be on a machine that has other work to do as well."""
    return min(MOST_SLACK, crowd())


@dataclass
class Killer:
    """Kills by a dice's say, and counts how often each job was in flight in what it killed."""

    batch: Batch
    dice: random.Random
    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    in_flight: collections.Counter[str] = field(default_factory=collections.Counter)
    orphans_s: list[float] = field(default_factory=list)  # how long they outlived their supervisor
    crowd: float = 1.0  # how many wanted each core, at the worst

    @property
    def outages(self) -> bool:
        """Whether the machine was so crowded that answers came later than the engine waits for them."""
        return max(self.crowd, crowd()) >= CROWDED

    def worker(self, run: Command) -> int | None:
        """kill -9 one worker that holds a claim; returns its pid, None when there is none."""
        claims = recount.workers(self.batch.queue)
        found = sorted(pid for pid in run.members(WORKER) if pid in claims)
        if not found:
            return None
        pid = self.dice.choice(found)
        kill(pid)
        self._note("worker", [claims[pid]])
        return pid

    def monitor(self, run: Command) -> int | None:
        """kill -9 the monitor; returns its pid, None when there is none."""
        found = run.members(MONITOR)
        if not found:
            return None
        kill(found[0])
        self._note("monitor", [])
        return found[0]

    def supervisor(self, run: Command) -> None:
        """kill -9 the supervisor alone; its workers and its monitor leave by themselves."""
        killed_s = time.monotonic()
        run.signal(signal.SIGKILL)
        until(
            lambda: not run.members(WORKER) and not run.members(MONITOR),
            (ORPHANS_S + 1.0) * slack(),
            "orphans of a killed supervisor",
        )
        self.orphans_s.append(time.monotonic() - killed_s)
        self._note("supervisor", recount.workers(self.batch.queue).values())
        self.batch.gone(run)

    def group(self, run: Command) -> None:
        """kill -9 everything of a run at once."""
        run.kill_all()
        self._note("group", recount.workers(self.batch.queue).values())

    def _note(self, what: str, claims: Iterable[Path]) -> None:
        # Read after the kill: nobody writes there any more, and nobody has cleared it yet.
        for path in claims:
            self.in_flight.update(recount.busy(path))
        self.kills[what] += 1
        self.crowd = max(self.crowd, crowd())


def repeated(
    rows: Mapping[str, Mapping[str, Any]],
    asked: Iterable[str],
    in_flight: collections.Counter[str],
    *scenes: str,
    seed: int = 0,
    outages: bool = False,
) -> int:
    """How many requests kills have cost: what the site was asked beyond what the rows own up to.

    `asked` is the video of each request that came. Only jobs that were in flight at a kill may have been asked
    for again, and those without captions: until something else speaks for that, it has no journal line. Who is
    touched by none of the `scenes` costs two requests, and two for each kill, whatever its row says; where there
    were `outages` besides, only the rows can tell.
    """
    seen = collections.Counter(name for name in asked if name in rows)
    # One an egress and minute is asked for as the control video, while some without captions are unconfirmed.
    more = {name: n - rows[name]["requests"] for name, n in seen.items() if name not in in_flight}
    controls = [name for name, n in more.items() if 0 < n <= CONTROLS and rows[name]["status"] == "ok"]
    for name in controls[:CONTROLS]:
        del seen[name]
    parsed = [parse_scenario(text) for text in scenes]
    often = {name: n for name, n in seen.items() if n > REQUESTS_PLAIN * (1 + in_flight[name])}
    plain = {
        name: n for name, n in often.items() if not any(scenario.touches(seed, name) for scenario in parsed)
    }
    assert outages or not plain, f"asked for more often than their kills explain: {plain}"
    over = {name: n - rows[name]["requests"] for name, n in seen.items()}
    over = {name: n for name, n in over.items() if n > 0}
    strange = {n: k for n, k in over.items() if n not in in_flight and rows[n]["kind"] != "no_captions"}
    assert not strange, f"fetched again, and not in flight at any kill: {strange}"
    cost, at_most = sum(over.values()), REQUESTS_A_JOB * in_flight.total()
    # Without a line, one without captions is fetched again after a kill; and a process asks for some of them again.
    bare = sum(rows[name]["kind"] == "no_captions" for name in over)
    assert cost <= at_most + 2 * REQUESTS_PLAIN * bare, (over, in_flight)
    return cost


def same_status(batch: Batch) -> dict[str, int]:
    """Nobody is at work: `status` says what a recount of the journals says; returns the counts."""
    value, rows = batch.status(), recount.folded(batch.queue).values()
    wanted = {**recount.tallied(batch.queue, rows), "in_flight": 0}
    assert {name: value[name] for name in wanted} == wanted, (wanted, value)
    return wanted


def nobody_is_blamed(batch: Batch) -> None:
    """No journal says that a job was in flight when its process died."""
    blamed = [body for verb, body in recount.journal_lines(batch.queue) if verb == "died"]
    assert not blamed, blamed


def poisoned(batch: Batch) -> set[str]:
    """The jobs that the engine takes for poison. A killer who hits the same job alone twice can make it wrong."""
    died = [body for verb, body in recount.journal_lines(batch.queue) if verb == "died"]
    alone = collections.Counter(body["job"] for body in died if body["alone"])
    found = {name for name, row in recount.folded(batch.queue).items() if row["kind"] == "poison"}
    assert all(alone[name] >= 2 for name in found), (found, died)
    return found


def bring_back(batch: Batch, *options: str) -> None:
    """Have those fetched after all: `retry` brings them back."""
    if poisoned(batch):
        assert batch.does("retry", "--kind", "poison").code == 0
        ended = batch.run(*options)
        assert ended.code in (0, 3), ended.said
