"""How machines share a ledger: the pure decisions. `share_hold` has the steps that they are taken in.

What makes each job end in exactly one row:

1. A hold's number is given once (`create`), and a hold writes parts under its own number alone.
2. A hold takes over parts that are disjoint, and leaves out each row whose id it took over or has brought.
3. `done/` names parts. It is created only when their ids are exactly the share's, and the first one stands.

A machine that is thought dead may go on writing parts for ever: no `done/` names them. Clocks are never compared. A
beat is watched, and it is dead when it has not changed for long enough by the clock of whoever watches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.fleet.names import PartName, ShareKey

FRUITLESS_HOLDS = 5  # in a row, none of which was left in good order: the share is set aside


@dataclass(frozen=True, slots=True)
class Brought:
    """A part as a hold knows it: its name, its ids, and what `done/` says of it."""

    name: PartName
    ids: frozenset[str]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FleetAsked:
    """What `engine fleet pause|resume|set|stop` have asked for until now."""

    number: int = 0  # of the last request that was read
    paused: bool = False
    stopped: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)  # rate, processes, threads

    def after(self, number: int, ask: Mapping[str, Any]) -> FleetAsked:
        what = ask.get("ask")
        chosen = ask.get("settings")
        settings = {**self.settings, **chosen} if isinstance(chosen, dict) else self.settings
        paused = {"pause": True, "resume": False}.get(str(what), self.paused)
        stopped = {"stop": True, "resume": False}.get(str(what), self.stopped)
        return FleetAsked(number, paused, stopped, settings)


# ---- pure decisions --------------------------------------------------------------------------------------
def next_number(taken: Iterable[int]) -> int:
    return max(taken, default=0) + 1


def disjoint(parts: Iterable[Brought], wanted: frozenset[str]) -> list[Brought]:
    """The parts that a new hold takes over: in order, each that shares no id with those before it.

    Two holds that were at work at once may have brought the same id. Then one of the two parts is left to nobody.
    """
    chosen: list[Brought] = []
    seen: set[str] = set()
    for part in sorted(parts, key=lambda part: part.name):
        if part.ids and part.ids <= wanted and not part.ids & seen:
            chosen.append(part)
            seen |= part.ids
    return chosen


def complete(parts: Sequence[Brought], wanted: frozenset[str]) -> bool:
    """Whether these parts hold each of these ids exactly once, and no other."""
    ids = [video_id for part in parts for video_id in part.ids]
    return len(ids) == len(wanted) and set(ids) == wanted


def fruitless(holds: Iterable[int], gone: Iterable[int], fruitful: Iterable[int]) -> int:
    """How many of the last holds brought nothing and were not left in good order: each died, it seems."""
    good = max((*gone, *fruitful), default=0)
    return sum(number > good for number in holds)


class Watched:
    """Since when something looks the same, by the clock of whoever looks."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: object = self
        self._since_s = clock()

    def unchanged_s(self, value: object) -> float:
        """Look at it: for how many seconds it has not changed."""
        now = self._clock()
        if value != self._seen:
            self._seen, self._since_s = value, now
        return now - self._since_s


def later_row(rows: Iterable[tuple[ShareKey, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """Of the rows of one id, that of the latest generation."""
    return max(rows, key=lambda each: each[0].generation)[1]


def to_bytes(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"


def from_bytes(data: bytes | None) -> dict[str, Any]:
    """The object in a file of the ledger; empty when there is none or it is damaged."""
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
