"""Any order of what happens to a queue, a few examples of it; `scripts/crash model` plays many."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from queue_model import QueueModel


class TestQueueModel(QueueModel.TestCase):  # type: ignore[misc, name-defined]
    settings = settings(
        max_examples=12, stateful_step_count=20, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
