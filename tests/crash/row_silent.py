"""Row 24: a helper process that is stopped; and a worker in which nothing moves any more.

Each is noticed from outside, said, and replaced; the batch ends as if nothing had happened. The seconds after which
silence counts are made shorter here.
"""

from __future__ import annotations

import os
import random
import signal
import time

import recount
from commands import LISTER, MONITOR, Command, until, videos
from injected import injected
from nights import Place
from scorecard import row

SILENT_S = 8.0
SHORTER = {
    "engine.run.helper_process": f"SILENT_S = {SILENT_S}",
    "engine.run.worker_process": f"SILENT_S = {SILENT_S}",
}
# Holds the interpreter's lock and sleeps: nothing else in the process runs meanwhile, as with an expression that
# does not end, but it takes no processor.
STANDS_STILL = """
import ctypes
_fetch = Fetcher.fetch

def _still(self, video_id, permit, *args, **kwargs):
    if video_id in {guilty!r}:
        ctypes.PyDLL(None).sleep(1000)
    return _fetch(self, video_id, permit, *args, **kwargs)

Fetcher.fetch = _still
"""


def _stop(run: Command, what: str) -> int:
    """Stop the helper process, and say which."""
    (pid,) = until(lambda: run.members(what), 30.0, f"for a process of {what}")
    os.kill(pid, signal.SIGSTOP)
    return pid


@row(
    24,
    "monitor-stopped",
    "the monitor is stopped, also as the run ends",
    trials=12,
    quick=1,
    waits=True,
)
def monitor(place: Place, seed: int) -> str:
    """By turns the batch ends by itself, or is stopped by `engine stop`, with the monitor stopped."""
    dice = random.Random(seed)
    site = place.stand_in(seed=seed)
    batch = place.batch(videos(120, seed), site)
    asked = seed % 2 == 1
    with batch.start(*("--rate", "40/s"), **injected(place.root, SHORTER)) as run:
        batch.seen(dice.randrange(10, 60))
        pid = _stop(run, MONITOR)
        if asked:
            assert batch.does("stop").code == 0
        ended = run.wait(120)
        batch.gone(run)
    assert "Traceback" not in ended.said, ended.said
    assert ended.code == (4 if asked else 0), ended.said
    silent = [event for event in recount.events(batch.queue) if event["event"] == "monitor_silent"]
    assert [f"pid {pid}" in event["reason"] for event in silent] == [True], silent
    assert "has not answered" in ended.err, ended.err
    assert set(batch.rows()) == set(recount.folded(batch.queue)), (
        "each job that is final has its row when the run has ended"
    )
    if asked:
        assert batch.run().code == 0
    batch.clean()
    return "stopped by command" if asked else ""


@row(24, "lister-stopped", "the lister is stopped (SIGSTOP) amid a channel", trials=8, quick=0, waits=True)
def lister(place: Place, seed: int) -> str:
    site = place.stand_in(seed=seed, latency_s=0.1)
    batch = place.batch(["@the-kiln"], site)
    with batch.start(**injected(place.root, SHORTER)) as run:
        _stop(run, LISTER)
        ended = run.wait(120)
        batch.gone(run)
    assert "Traceback" not in ended.said, ended.said
    assert ended.code in (0, 3), ended.said
    assert [event["event"] for event in recount.events(batch.queue)].count("lister_silent") == 1
    assert batch.status()["listings"]["open"] == 0
    assert batch.does("verify").code == 0
    return ""


@row(
    10,
    "worker-stands-still",
    "a fetch that keeps the interpreter to itself",
    trials=6,
    quick=1,
    waits=True,
)
def still(place: Place, seed: int) -> str:
    dice = random.Random(seed)
    site = place.stand_in(seed=seed)
    batch = place.batch(videos(40, seed), site)
    guilty = dice.choice(batch.ids)
    changes = {**SHORTER, "engine.youtube.fetcher": STANDS_STILL.format(guilty=[guilty])}
    began_s = time.monotonic()
    ended = batch.run("-p", "2", "-t", "4", **injected(place.root, changes), timeout_s=200)
    rows = batch.rows()
    assert ended.code == 3, ended.said
    assert (rows[guilty]["status"], rows[guilty]["kind"]) == ("failed", "poison")
    assert {row["status"] for name, row in rows.items() if name != guilty} == {"ok"}
    silent = [event for event in recount.events(batch.queue) if event["event"] == "worker_silent"]
    assert len(silent) >= 3, silent
    assert all(guilty in event["jobs"] for event in silent), silent
    assert "has stood still" in ended.err
    batch.clean()
    return f"{time.monotonic() - began_s:.0f} s"
