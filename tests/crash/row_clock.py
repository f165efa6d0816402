"""Row 12: the wall clock is set, by seconds to a month, forwards and back, during a run and between two.

The processes get a wall clock of their own by a small library that is preloaded into them (clock_shim.c, made by
the trial with the machine's compiler); the stand-in keeps the true one and tells when each request came.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import recount
from commands import Batch, Command, until, videos
from nights import Place
from patience import BUSY, Lateness, ends
from scorecard import Told, row

HOUR_S, MONTH_S = 3600.0, 30 * 86400.0
FEW = ("-p", "2", "-t", "4")
RATE_PER_S = 6.0  # so slow that a busy machine keeps it: what is measured is the clock, not the processor
WITHIN = 0.05
NO_COMPILER = "not played: there is no C compiler here"


class Clock:
    """The wall clock of a trial's processes."""

    def __init__(self, root: Path, library: Path) -> None:
        self._file = root / "offset"
        self.set(0.0)
        self.env = {"LD_PRELOAD": str(library), "CLOCK_SHIM_FILE": str(self._file)}

    def set(self, offset_s: float) -> None:
        """Let it differ so much from the true one."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("<q", int(offset_s * 1e9)))


def a_clock(root: Path) -> Clock | None:
    """A clock to set, None when the library cannot be made here."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = root / "clock_shim.so"
    source = Path(__file__).with_name("clock_shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return Clock(root, library)


@contextlib.contextmanager
def looked_at(batch: Batch, clock: Clock) -> Iterator[list[dict[str, Any]]]:
    """Ask for the status all the time, by the same clock: nothing in it is ever negative or goes back."""
    seen: list[dict[str, Any]] = []
    wrong: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            with Command("status", "-q", batch.queue, "--json", **clock.env) as command:
                ended = command.wait(30.0)
            if ended.code == 10:
                continue
            if ended.code:
                wrong.append(ended.said)
                return
            value = json.loads(ended.out)
            numbers = [value[name] for name in ("pending", "in_flight", "deferred", "ok", "absent", "failed")]
            numbers += [*value["rate_per_s"].values(), *(value["eta_s"] or {}).values()]
            numbers += [egress["open_in_s"] for egress in value["egresses"]]
            if min(numbers) < 0 or value["state"] == "stalled":
                wrong.append(str(value))
            if seen and any(value[name] < seen[-1][name] for name in ("total", "requests", "bytes", "ok")):
                wrong.append(f"{seen[-1]} and then {value}")
            seen.append(value)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        ends(thread)
    assert not wrong, wrong[0]


@row(
    12,
    "clock-steps",
    "the wall clock is set again and again by up to a month",
    trials=20,
    quick=1,
    waits=True,
)
def steps(place: Place, seed: int) -> str | Told:
    clock = a_clock(place.root)
    if clock is None:
        return Told(0, NO_COMPILER)
    dice = random.Random(seed)
    site = place.stand_in(seed=seed)
    batch = place.batch(videos(45, seed), site)
    offset_s, told = 0.0, 0
    with (
        Lateness() as machine,
        looked_at(batch, clock) as seen,
        batch.start(*FEW, "--rate", f"{RATE_PER_S:g}/s", **clock.env) as run,
    ):
        batch.seen(4, within_s=90.0)
        while run.live:
            time.sleep(dice.uniform(0.3, 1.2))
            offset_s = dice.choice((0.0, HOUR_S, -HOUR_S, MONTH_S, -MONTH_S, offset_s - 5.0, offset_s + 5.0))
            clock.set(offset_s)
            told += 1
        ended = run.wait()
        batch.gone(run)
    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said, ended.said
    _nobody_robbed(batch)
    arrived_s = sorted(arrival["t"] for arrival in site.arrivals())
    assert len(arrived_s) == 2 * len(batch.ids), "nothing was fetched twice"
    rate = (len(arrived_s) - 6) / (arrived_s[-1] - arrived_s[5])
    assert rate / RATE_PER_S - 1 <= WITHIN, rate
    assert rate / RATE_PER_S - 1 >= -WITHIN or machine.crowd > BUSY, (rate, machine)
    batch.clean()
    return f"{told} times set, {rate:.2f} requests a second of {RATE_PER_S:g}, {len(seen)} looks"


def _nobody_robbed(batch: Batch) -> None:
    """All jobs ok at the first attempt; no process was taken for dead."""
    assert {value["status"] for value in batch.rows().values()} == {"ok"}
    assert {value["attempts"] for value in batch.rows().values()} == {1}
    events = {event["event"] for event in recount.events(batch.queue)}
    assert not events & {"slot_died", "monitor_died", "block", "network_lost"}, events


@row(12, "clock-resume", "the wall clock is set between two runs, while jobs wait for a time", trials=20)
def resume(place: Place, seed: int) -> str | Told:
    """A run is killed while some jobs wait for their next attempt; by the next one's clock that may be long past
    or far ahead. Nobody waits for a clock that jumped."""
    clock = a_clock(place.root)
    if clock is None:
        return Told(0, NO_COMPILER)
    dice = random.Random(seed)
    site = place.stand_in(seed=seed, scenarios=("error500=0.5",))
    batch = place.batch(videos(40, seed), site)
    with batch.start(*FEW, **clock.env) as run:
        until(lambda: len(_waiting(batch)) >= 5, 20.0, "for jobs that wait")
        run.kill_all()
    waiting = len(_waiting(batch))
    by_s = dice.choice((HOUR_S, -HOUR_S, MONTH_S, -MONTH_S)) + dice.uniform(-20.0, 20.0)
    clock.set(by_s)
    began_s = time.monotonic()
    with looked_at(batch, clock) as seen, batch.start(*FEW, **clock.env) as run:
        ended = run.wait(90)
        batch.gone(run)
    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said, ended.said
    assert {value["status"] for value in batch.rows().values()} == {"ok"}
    assert max(value["attempts"] for value in batch.rows().values()) <= 5
    batch.clean()
    took_s = time.monotonic() - began_s
    return f"set by {by_s:+,.0f} s with {waiting} waiting: done {took_s:.1f} s later, {len(seen)} looks"


def _waiting(batch: Batch) -> set[str]:
    """The jobs that were tried and are not final."""
    found: set[str] = set()
    for verb, journal_line in recount.journal_lines(batch.queue):
        if verb == "try":
            found.add(journal_line["job"])
        elif verb == "final":
            found.discard(journal_line["video_id"])
    return found
