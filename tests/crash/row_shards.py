"""Batches with `--store shards` under the faults that a store can suffer from: kills, steps to disk, power cuts."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from nights import Place
from power_resume import resume
from power_trace import available
from power_variants import SHARD_VARIANTS
from row_full import filled
from row_kills import OPTIONS, group_killed, worker_killed
from row_power import NO_STRACE, STATES, caught, cuts
from row_repair import OPTIONS as REPAIR_OPTIONS
from row_repair import repaired
from row_steps import LIVES, lives
from row_steps import SHARDS as PARTS
from scorecard import Told, repeats, row, share

QUICK_STATES = 8
STORE = ("--store", "shards")
STEPS = {
    "die": (4, "kill -9 at the k-th step to disk", 1),
    "torn": (4, "the same, half a write done", 0),
    "twice": (4, "killed at a step, then one to three times while it recovers", 0),
    "short": (6, "the k-th write takes half", 0),
    "full": (6, "no room from the k-th step on", 0),
    "eio": (7, "the k-th fsync fails, then a power cut", 1),
}

for _fault, (_number, _text, _quick) in STEPS.items():
    row(_number, f"shards-step-{_fault}", f"shards: {_text}", trials=PARTS, quick=_quick)(
        lives(_fault, PARTS, "shards")
    )


BROKEN = {"a short write": "short", "cut too early": "torn"}  # which fault shows it


@row(6, "shards-step-controls", "shards: broken engines, each of which is caught", trials=len(BROKEN))
def step_controls(place: Place, seed: int) -> Told:
    """Not a fault but the proof that the others can fail: step by step until one is a violation."""
    name = list(BROKEN)[seed % len(BROKEN)]
    root = place.root / "lives"
    root.mkdir()
    command = [sys.executable, LIVES, root, BROKEN[name], str(seed), "0", "1", "shards", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1700, check=False)
    assert done.returncode == 1, f"{name}: nothing is wrong: {done.stdout}{done.stderr}"
    where = done.stderr.partition(", then")[0]
    assert where.startswith("command "), done.stderr
    return Told(1, f"{name}: caught at {where}")


@row(6, "shards-disk-full", "shards: a small file system fills up at some moment", trials=20)
def disk_full(place: Place, seed: int) -> str | Told:
    return filled(place, seed, STORE)


@row(1, "shards-kill-worker", "shards: kill -9 a worker", trials=10)
def kill_worker(place: Place, seed: int) -> Told:
    """Its replacement takes the shards over while the other one writes its own."""
    return worker_killed(place, seed, (*OPTIONS, *STORE))


@row(
    16,
    "shards-repair",
    "shards: tokens, manifest, caches, shards, their index lost or changed; repaired",
    trials=20,
)
def repair(place: Place, seed: int) -> Told:
    return repaired(place, seed, (*REPAIR_OPTIONS, *STORE))


@row(3, "shards-kill-group", "shards: kill -9 everything, again and again", trials=10, quick=1)
def kill_group(place: Place, seed: int) -> Told:
    return group_killed(place, seed, (*OPTIONS, *STORE))


@row(5, "shards-power-cut", "shards: power cut at any step", trials=12, quick=1, inside=True)
def power_cut(place: Place, seed: int) -> Told:
    """In a test run few states, and one broken engine is caught on the same recording."""
    after = ("", "kill", "cut")[(seed - 1) % 3]
    control = SHARD_VARIANTS[0] if share() == "quick" else None
    states = repeats(STATES, QUICK_STATES)
    return cuts(seed, states, after, next_run=partial(resume, options=STORE), options=STORE, control=control)


@row(5, "shards-power-cut-controls", "shards: broken engines, each of which is caught", trials=1, inside=True)
def power_cut_controls(place: Place, seed: int) -> Told:
    if not available():
        return NO_STRACE
    return caught(seed, SHARD_VARIANTS, STORE, partial(resume, options=STORE))
