"""4: death at every step to disk, from inside at the seam of `durable` and from outside at the system call."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from nights import Place
from scorecard import Told, row
from traced import CALLS, WHAT, Sweep, there

LIVES = Path(__file__).with_name("lives.py")
SHARDS = 96
NO_STRACE = Told(0, "not played: strace is not here")
SWEEPS = [(role, call) for role in WHAT for call in CALLS]


def lives(fault: str, shards: int, store: str = "files") -> Callable[[Place, int], Told]:
    """A play of every so-manieth step of a small batch's life, whose records are stored in this way."""

    def play(place: Place, seed: int) -> Told:
        root = place.root / "lives"
        root.mkdir()
        command = [sys.executable, LIVES, root, fault, str(seed), str(seed % shards), str(shards), store]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1700, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return Told(told["trials"], f"{told['trials']} of {told['steps']} steps")

    play.__qualname__ = f"lives-{fault}-{store}"
    return play


row(4, "step-killed", "kill -9 at the k-th step to disk, every k of a batch's life", trials=SHARDS)(
    lives("die", SHARDS)
)
row(4, "step-torn", "the same, half a write done", trials=SHARDS, quick=1)(lives("torn", SHARDS))
row(4, "step-twice", "killed at a step, then one to three times while it recovers", trials=20, quick=1)(
    lives("twice", SHARDS)
)


@row(4, "call-killed", "strace: kill -9 at every k-th call, of each process and command", trials=len(SWEEPS))
def killed(place: Place, seed: int) -> Told:
    """All k of one call of one process."""
    if not there():
        return NO_STRACE
    role, call = SWEEPS[seed % len(SWEEPS)]
    sweep = Sweep(place, role, seed)
    numbers = sweep.places((call,)).get(call, [])
    hits = sum(sweep.trial(call, k, "signal=KILL") for k in numbers)
    return Told(hits, f"{role} {call}: {hits} of {len(numbers)}")


@row(4, "call-killed-once", "strace: kill -9 at a k-th call by luck", trials=20, quick=1)
def killed_once(place: Place, seed: int) -> Told:
    if not there():
        return NO_STRACE
    luck = random.Random(seed)
    role, call, k = (
        luck.choice(list(WHAT)),
        luck.choice(("fdatasync", "rename", "pwrite64")),
        luck.randint(1, 6),
    )
    hit = Sweep(place, role, seed).trial(call, k, "signal=KILL")
    return Told(1, f"{role} {call} {k}: {'killed' if hit else 'not so many'}")
