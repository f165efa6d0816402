"""The places of a fleet's machines, and which of them is free: where the driver sends the next share.

Dask would send a share to a worker at once, by threads and by times that it expects, and have it wait there though
another worker has a place free: it keeps no task with resources back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from engine.fleet.join import RESOURCE

# The states that a worker knows of a task that runs there.
_RUNNING = ("executing", "long-running", "cancelled", "resumed")


@dataclass(frozen=True, slots=True)
class Machine:
    """The worker of a machine: its places, and how many tasks ran there when it last said so.

    Those of an earlier driver are among them, which the scheduler has forgotten.
    """

    places: int
    running: int = 0

    @classmethod
    def from_identity(cls, worker: Mapping[str, Any]) -> Self:
        """Of what a scheduler says of a worker. One that is about to leave has no places."""
        leaving = worker.get("status", "running") != "running"
        places = 0 if leaving else int(worker.get("resources", {}).get(RESOURCE, 0))
        states = worker.get("metrics", {}).get("task_counts", {})
        return cls(places, sum(states.get(state, 0) for state in _RUNNING))


def machines(workers: Mapping[str, Mapping[str, Any]]) -> dict[str, Machine]:
    """The machines of these workers, by address."""
    return {address: Machine.from_identity(worker) for address, worker in workers.items()}


class FreePlaces:
    """The places that are free; whoever takes one gets it at the machine with most of them."""

    def __init__(self, there: Mapping[str, Machine], out: Iterable[str]) -> None:
        """`out`: the address of the worker of each share that is out."""
        given = Counter(out)
        self._free = {
            address: machine.places - max(machine.running, given[address])
            for address, machine in there.items()
        }

    def take(self, but: str | None = None) -> str | None:
        """The address of the worker whose place is now taken; None when no place is free on a machine other than
        `but`."""
        open_to = [address for address, free in self._free.items() if free > 0 and address != but]
        if not open_to:
            return None
        chosen = max(open_to, key=self._free.__getitem__)
        self._free[chosen] -= 1
        return chosen
