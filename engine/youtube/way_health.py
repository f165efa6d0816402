"""Which ways are off, for whom and until when, and whether the mask is on: pure functions of health and time.

    works ── three failures, each while another way served the same video ──> off for an hour ──> tried once
      ^                                                                        ^                     │
      └────────────────────── serves the same video as another way ───────────┼─────────────────────┤
                                                                               └──── fails again ────┘

Failures count while the way serves nothing between them. With several egresses three on one of them put the way off
for that egress only; failures on two of them, three together, for all. What put it off for one egress counts as a
single failure then: another egress has to fail twice. While no way is answered, those that are off are asked as well:
they may be back, and nobody else serves a video to try them with. Times are of the wall clock, because processes
and runs share them; one that lies further ahead than it can have been set is a clock that jumped, and counts as past.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

FAILURES = 3
OFF_S = 3600.0
TRIAL_S = 120.0  # after so long, a trial that nobody heard of again may be made by another process
ALL = "*"  # every egress
REASON_CHARS = 200
_LAST_TIME = 1e11  # in the year 5138


@dataclass(frozen=True, slots=True)
class WayState:
    """failures  in a row, by egress
    off_until  by egress, or for `ALL`; it stays, past its time, until a trial has shown that the way works
    """

    failures: Mapping[str, int] = field(default_factory=dict)
    off_until: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    def off_for(self, egress: str) -> str | None:
        """Under which name it is off for an egress; None when it is not."""
        return next((name for name in (ALL, egress) if name in self.off_until), None)


@dataclass(frozen=True, slots=True)
class MaskState:
    """`proven`: the same video was once the same with and without. `off_until` of the wall clock, 0 when it is on."""

    proven: bool = False
    off_until: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Of all ways. `unheard`: videos in a row that no way was answered anything about."""

    ways: Mapping[str, WayState] = field(default_factory=dict)
    masks: Mapping[str, MaskState] = field(default_factory=dict)
    unheard: int = 0

    def way(self, name: str) -> WayState:
        return self.ways.get(name, WayState())

    def mask(self, name: str) -> MaskState:
        return self.masks.get(name, MaskState())

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "ways": {
                name: {"failures": dict(way.failures), "off_until": dict(way.off_until), "reason": way.reason}
                for name, way in self.ways.items()
            },
            "masks": {
                name: {"proven": mask.proven, "off_until": mask.off_until, "reason": mask.reason}
                for name, mask in self.masks.items()
            },
            "unheard": self.unheard,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError or AttributeError for what is none, or of another version."""
        if value["schema_version"] != 1:
            raise ValueError("health of another version")
        return cls(
            {
                str(name): WayState(
                    {str(egress): int(n) for egress, n in way["failures"].items()},
                    {str(egress): _time(until) for egress, until in way["off_until"].items()},
                    str(way["reason"]),
                )
                for name, way in value["ways"].items()
            },
            {
                str(name): MaskState(bool(mask["proven"]), _time(mask["off_until"]), str(mask["reason"]))
                for name, mask in value["masks"].items()
            },
            int(value["unheard"]),
        )


def _time(value: Any) -> float:
    """Seconds since 1970. Raises ValueError for what no calendar shows, TypeError for no number."""
    if not 0 <= value <= _LAST_TIME:
        raise ValueError("no time")
    return float(value)


def usable(health: Health, ways: Collection[str], egress: str) -> tuple[str, ...]:
    """The ways that are not off for an egress, in their order; all of them when no other is answered."""
    on = tuple(way for way in ways if health.way(way).off_for(egress) is None)
    if on and not health.unheard:
        return on
    return (*on, *(way for way in ways if way not in on))


def due(health: Health, ways: Collection[str], egress: str, now: float, pace: float = 1.0) -> str | None:
    """The first way whose time off is over for an egress, and which is to be tried again."""
    for name in ways:
        way = health.way(name)
        until = way.off_until.get(way.off_for(egress) or "", 0.0)
        if way.off_for(egress) is not None and not now < until <= now + OFF_S / pace:
            return name
    return None


def failed(
    health: Health,
    name: str,
    egress: str,
    reason: str,
    now: float,
    *,
    single: bool,
    served_since: bool = False,
    pace: float = 1.0,
) -> Health:
    """A way failed for a video that another way served.

    single        the run has one egress
    served_since  this egress was served by the way after its failure before
    """
    way = health.way(name)
    failures = {**way.failures, egress: (0 if served_since else way.failures.get(egress, 0)) + 1}
    several = single or len([n for n in failures.values() if n]) > 1
    off_until = dict(way.off_until)
    counted = sum(min(n, 1) if name in off_until and name != egress else n for name, n in failures.items())
    if counted >= FAILURES and several:
        off_until = {ALL: now + OFF_S / pace}
    elif failures[egress] >= FAILURES:
        off_until[egress] = now + OFF_S / pace
    state = WayState(failures, off_until, reason[:REASON_CHARS])
    return replace(health, ways={**health.ways, name: state})


def tried(health: Health, name: str, egress: str, now: float, pace: float = 1.0) -> Health:
    """A way that was off is about to be tried: no other process does so for a while."""
    way = health.way(name)
    scope = way.off_for(egress)
    if scope is None:
        return health
    off_until = {**way.off_until, scope: now + min(TRIAL_S, OFF_S) / pace}
    return replace(health, ways={**health.ways, name: replace(way, off_until=off_until)})


def failed_again(
    health: Health, name: str, egress: str, reason: str, now: float, pace: float = 1.0
) -> Health:
    """The trial of a way failed: it stays off for another hour."""
    way = health.way(name)
    scope = way.off_for(egress) or ALL
    state = replace(way, off_until={**way.off_until, scope: now + OFF_S / pace}, reason=reason[:REASON_CHARS])
    return replace(health, ways={**health.ways, name: state})


def works(health: Health, name: str, egress: str) -> Health:
    """A way served a video: it is on again where it was off, and its failures there count no longer."""
    way = health.way(name)
    scope = way.off_for(egress)
    off_until = {other: until for other, until in way.off_until.items() if other != scope}
    failures = {} if scope == ALL else {other: n for other, n in way.failures.items() if other != egress}
    ways = {other: state for other, state in health.ways.items() if other != name}
    if off_until or failures:
        ways[name] = WayState(failures, off_until, way.reason)
    return replace(health, ways=ways)


def mask_is_on(health: Health, name: str, now: float, pace: float = 1.0) -> bool:
    """Whether a way is asked for the needed fields only."""
    return not now < health.mask(name).off_until <= now + OFF_S / pace


def mask_agreed(health: Health, name: str) -> Health:
    """The same video was the same with and without the mask."""
    return replace(health, masks={**health.masks, name: MaskState(proven=True)})


def mask_differed(health: Health, name: str, reason: str, now: float, pace: float = 1.0) -> Health:
    """The mask changed an answer: it is off for an hour, and has to prove itself again."""
    state = MaskState(False, now + OFF_S / pace, reason[:REASON_CHARS])
    return replace(health, masks={**health.masks, name: state})
