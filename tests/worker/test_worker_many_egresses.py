"""Many egresses, of which a twentieth each dies, hangs and is blocked: the threads are there for the others."""

from __future__ import annotations

import pytest
from thread_events import Run

SETTLED_S, STRETCH_S = 40.0, 64.0  # whole rounds: all egresses began at once


def passed(run: Run, spared: range) -> int:
    run.play(SETTLED_S + STRETCH_S)
    return sum(at >= SETTLED_S and egress in spared for at, egress in run.passed)


@pytest.mark.parametrize(
    ("egresses", "rate", "processes", "threads", "latency_s"),
    [
        (60, 0.5, 2, 4, 0.06),
        (200, 0.25, 2, 12, 0.06),
        pytest.param(400, 0.5, 8, 8, 0.15, marks=pytest.mark.long),
        pytest.param(1000, 0.5, 2, 64, 0.06, marks=pytest.mark.long),
        pytest.param(1000, 0.5, 8, 16, 0.15, marks=pytest.mark.long),
    ],
)
def test_the_others_keep_their_rate(
    egresses: int, rate: float, processes: int, threads: int, latency_s: float
) -> None:
    each = egresses // 20
    kinds = {
        n: kind for at, kind in enumerate(("gone", "hang", "429")) for n in range(at * each, (at + 1) * each)
    }
    spared = range(3 * each, egresses)
    runs = [Run(egresses, rate, processes, threads, trouble, SETTLED_S, latency_s) for trouble in ({}, kinds)]
    calm, troubled = (passed(run, spared) for run in runs)
    assert calm >= 0.98 * rate * len(spared) * STRETCH_S
    assert troubled >= 0.98 * calm, (troubled / calm, runs[1].most_hanging)
    assert runs[1].most_hanging <= each + processes  # one thread each, whichever process it is of
