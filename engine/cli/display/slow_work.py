"""Progress of work that takes long: a line on stderr every two seconds, the first after two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from engine.cli import say

T = TypeVar("T")
EACH_S = 2.0


class SlowWork:
    """Call it after each step with what is done, how many, and of how many (0: unknown)."""

    def __init__(self, noun: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._noun = noun
        self._clock = clock
        self._say_at = clock() + EACH_S

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._clock() < self._say_at:
            return
        self._say_at = self._clock() + EACH_S
        say(f"{what} {done:,}{f' of {total:,}' if total else ''} {self._noun} …")

    def over(self, what: str, items: Iterable[T]) -> Iterator[T]:
        """The items as they come, with a line now and then."""
        for number, item in enumerate(items, 1):
            self(what, number, 0)
            yield item
