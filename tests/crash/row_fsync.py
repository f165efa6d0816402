"""7: a sync that fails ends its process; nothing is vouched for that is not on the disk, then or later."""

from __future__ import annotations

from nights import Place
from row_steps import NO_STRACE, lives
from scorecard import Told, row
from traced import WHAT, Sweep, there

SHARDS = 24
SWEEPS = [(role, call) for role in WHAT for call in ("fsync", "fdatasync")]

row(
    7,
    "step-eio",
    "the k-th fsync fails and the kernel drops the pages, every k; then the power fails",
    trials=SHARDS,
    quick=1,
)(lives("eio", SHARDS))


@row(7, "call-eio", "strace: EIO from every k-th fsync, of each process and command", trials=len(SWEEPS))
def failing(place: Place, seed: int) -> Told:
    """All k of one call of one process."""
    if not there():
        return NO_STRACE
    role, call = SWEEPS[seed % len(SWEEPS)]
    sweep = Sweep(place, role, seed)
    numbers = sweep.places((call,)).get(call, [])
    hits = sum(sweep.trial(call, k, "error=EIO") for k in numbers)
    return Told(hits, f"{role} {call}: {hits} of {len(numbers)}")
