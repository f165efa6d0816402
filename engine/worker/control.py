"""What passes between a worker process and its supervisor, who need not import what a worker works with."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from engine.settings import Settings


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """How a worker process ended: why, how many jobs it made final, and a message when something is wrong."""

    why: str  # stop | recycle | memory (there is none) | error
    finals: int = 0
    message: str = ""
    exit_code: int = 0


class WorkerControl:
    """What a worker process is asked to do. Any thread may change it.

    `stop`: begin nothing more, finish what is in flight (set at the end of the work as well). `abort`: end waits
    within attempts, too. `budget`: the budget's settings from now on.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.budget = settings.budget
        self.stop = threading.Event()
        self.abort = threading.Event()
