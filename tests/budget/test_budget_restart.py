"""What a run starts from when the one before it ended amid a block."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from patience import shares_s

from engine.budget import Budget, BudgetSettings, Outcome, parse_rate, snapshot
from engine.model import EgressSpec

DIRECT = (EgressSpec("direct"),)


def test_a_run_without_pacing_is_not_slowed_by_the_block_of_a_paced_one(tmp_path: Path) -> None:
    """Nothing is known about a rate that was too much: the next block will tell."""
    path, stop = str(tmp_path / "budget"), threading.Event()
    paced = Budget.open(path, DIRECT, BudgetSettings(parse_rate("20/s"), pace=50), new_run=True)
    permit = paced.take(stop=stop)
    assert permit is not None
    paced.report(permit, Outcome.BLOCKED, job="a")
    paced.close()
    free = Budget.open(path, DIRECT, BudgetSettings(parse_rate("none"), pace=50), new_run=True)
    probe = free.take(stop=stop)
    assert probe is not None
    free.report(probe, Outcome.OK, job="b")
    begun = time.monotonic()
    for _ in range(50):
        assert free.take(stop=stop) is not None
    assert snapshot(path)[0].rate_per_s is None
    assert shares_s(begun) < 20  # at the floor of 0.3/s it would be minutes
    free.close()
