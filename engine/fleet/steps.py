"""What a machine asks of the ledger, as values, and the small patterns that the protocol is made of.

The protocol is written as generators that yield these values and are sent the answers. `perform` does so with a real
ledger. A simulation lets hundreds of machines take turns, each one step, and lets any of them die between two.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.fleet.objects import Objects, UnavailableError

T = TypeVar("T")
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Names:
    """List all names below a prefix."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Read:
    """Read a file, or its bytes from `start` to before `end`; None when there is none."""

    name: str
    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Write a file; the last one wins."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Create:
    """Write a file if there is none; the first one wins, and the others are answered False."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


Step = Names | Read | Put | Create | Pause
Steps = Generator[Step, Any, T]


def answer(objects: Objects, step: Step) -> Any:
    """What the ledger says to a step that is no pause."""
    match step:
        case Names(prefix):
            return objects.names(prefix)
        case Read(name, start, end):
            return objects.read(name, start, end)
        case Put(name, data):
            return objects.put(name, data)
        case Create(name, data):
            return objects.create(name, data)
    raise AssertionError(step)


def perform(objects: Objects, steps: Steps[T], pause: Callable[[float], object]) -> T:
    """Take all steps; returns what they come to. `pause` waits, and may raise to end it all."""
    said: Any = None
    failed: UnavailableError | None = None
    while True:
        try:
            step = steps.throw(failed) if failed is not None else steps.send(said)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        said, failed = None, None
        if isinstance(step, Pause):
            try:
                pause(step.seconds)
            except BaseException:
                steps.close()
                raise
            continue
        try:
            said = answer(objects, step)
        except UnavailableError as exc:
            failed = exc


def insist(step: Step, for_s: float) -> Steps[Any]:
    """Take a step again and again until the ledger answers. Raises UnavailableError after so many seconds."""
    waited, wait = 0.0, FIRST_WAIT_S
    while True:
        try:
            return (yield step)
        except UnavailableError:
            if waited >= for_s:
                raise
        yield Pause(wait)
        waited, wait = waited + wait, min(2 * wait, LONGEST_WAIT_S)


def create_ours(name: str, data: bytes, for_s: float) -> Steps[bool]:
    """Create a file whose content no other machine would write; whether it is there and ours.

    A request that is repeated may meet its own first, so a refusal is read back.
    """
    if (yield from insist(Create(name, data), for_s)):
        return True
    return bool((yield from insist(Read(name), for_s)) == data)
