"""Checks whether this machine is fit for a run: one check for each thing that has made runs fail, and its remedy.

It owns the checks of software, host and file systems; `engine doctor` prints them, and a run repeats none of them. A
check leaves nothing behind and sends nothing to the network, except one request through each proxy it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.doctor.filesystem import belongs, names, output_place, queue_place
from engine.doctor.finding import Finding, Level, problem
from engine.doctor.host import SHM, authorities, descriptors, proxies, shared_memory
from engine.doctor.software import clients, clock, packages, python
from engine.errors import EngineError
from engine.model import EgressSpec

__all__ = ["Asked", "Finding", "Level", "examine"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the run would be given."""

    queue: str
    output: str
    processes: int
    threads: int
    egresses: tuple[EgressSpec, ...] = ()
    ca_bundle: str | None = None


def examine(asked: Asked) -> Iterator[Finding]:
    """Run every check and yield its findings as they come. Never raises for what it finds."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", python),
        ("packages", packages),
        ("clients", clients),
        ("clock", lambda: clock(asked.queue)),
        ("open files", lambda: descriptors(asked.processes, asked.threads, max(1, len(asked.egresses)))),
        (SHM, shared_memory),
        ("ca bundle", lambda: authorities(asked.ca_bundle)),
        ("queue", lambda: queue_place(asked.queue)),
        ("output", lambda: output_place(asked.output, asked.queue)),
        ("output", lambda: names(asked.output)),
        ("output", lambda: belongs(asked.queue)),
        ("proxies", lambda: proxies(asked.egresses, asked.ca_bundle)),
    ]
    for about, check in checks:
        try:
            yield from check()
        except EngineError as exc:
            yield problem(about, str(exc), "see there")
        except OSError as exc:
            yield problem(about, exc.strerror or str(exc), "fix that first, then look again")
