"""Which egresses are closed for long, for people: a few by name, many in one line."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from engine.budget import EgressView
from engine.units import duration

NAMED = 3  # egresses that have a line of their own
AGAIN_S = 60.0  # the least time between two lines about many


class Closings:
    """Events of egresses that close for long: the first few a minute are told alone, the others once a minute."""

    def __init__(self) -> None:
        self._told: deque[float] = deque(maxlen=NAMED)
        self._held: list[dict[str, Any]] = []
        self._summed_at = float("-inf")

    def holds(self, event: dict[str, Any], now: float) -> bool:
        """Whether it is kept for the next line about many."""
        if not self._held and (len(self._told) < NAMED or now - self._told[0] > AGAIN_S):
            self._told.append(now)
            return False
        self._held.append(event)
        return True

    def summary(self, now: float, *, at_end: bool = False) -> str | None:
        """The line about those that were kept, when it is time for it."""
        if not self._held or (now - max(self._summed_at, self._told[-1]) < AGAIN_S and not at_end):
            return None
        held, self._held, self._summed_at = self._held, [], now
        egresses = {str(event.get("egress")): event for event in held}
        counts = Counter(str(event.get("event")) for event in egresses.values())
        what = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
        longest = max(egresses.values(), key=lambda event: float(event["wait_s"]))
        return (
            f"{held[-1].get('at')}  {len(egresses):,} more egresses closed ({what});"
            f" the longest: {longest.get('egress')}, for {duration(float(longest['wait_s']))}"
        )


def waiting(egresses: Sequence[EgressView], longer_than_s: float, now: float) -> Iterator[str]:
    """At the start of a run: those that are still closed from the last one, and until when."""
    closed = sorted((each for each in egresses if each.open_in_s > longer_than_s), key=lambda e: e.open_in_s)

    def at(wait_s: float) -> str:
        return f"{duration(wait_s)}, at {time.strftime('%H:%M', time.localtime(now + wait_s))}"

    if len(closed) <= NAMED:
        for egress in closed:
            yield f"{egress.name} is {egress.state}; tried again in {at(egress.open_in_s)}"
        return
    counts = Counter(egress.state for egress in closed)
    yield (
        f"{len(closed):,} of {len(egresses):,} egresses are closed"
        f" ({', '.join(f'{state} {count:,}' for state, count in counts.most_common())});"
        f" the first is tried again in {at(closed[0].open_in_s)}, the last in {at(closed[-1].open_in_s)}"
    )
