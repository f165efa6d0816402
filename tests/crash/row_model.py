"""Row 3, a model: any order of seed, claim, settle, defer, die, recover, retry, stop, against a truth in memory."""

from __future__ import annotations

import hypothesis
from hypothesis import HealthCheck
from hypothesis.stateful import run_state_machine_as_test
from nights import Place
from queue_model import QueueModel
from scorecard import Told, row

QUEUES, STEPS = 50, 40


@row(
    3,
    "model",
    "any order of seed, claim, settle, defer, die, recover, retry, stop",
    trials=20,
    inside=True,
)
def model(place: Place, seed: int) -> Told:
    """So many queues of so many steps each; a trial is one queue."""
    run = hypothesis.seed(seed)
    machine = type("Machine", (QueueModel,), {})
    settings = hypothesis.settings(
        max_examples=QUEUES, stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    run_state_machine_as_test(run(machine), settings=settings)
    return Told(QUEUES)
