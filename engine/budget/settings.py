"""What a run sets, and the small values that callers of the budget exchange with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from engine.budget.rate import Rate

LOOK_AHEAD_S = 0.020  # a slot may be reserved this long before it is due, and used this long after
SLOW_LOOK_AHEAD_S = 0.050  # the same below SLOW_RATE_PER_S, where 50 ms cost nothing
SLOW_RATE_PER_S = 100.0
BURST = 2
FAST_BURST = 20
FAST_RATE_PER_S = 500.0

NONE = 0.0  # `configured` in a record: no pacing
AUTO = -1.0  # `configured` in a record: find the rate out
MAX_OPEN_S = 6 * 3600.0  # no Retry-After keeps an egress open for longer, nor does a clock that jumped
PROBE_S = 30.0  # a probe that has said nothing for so long is given up
NETWORK_PROBE_S = 15.0
MIN_PROBE_S = 5.0
NO_CAPTIONS_S = 60.0  # the first cool-down of an egress that shows nobody captions
CONFIRM_EACH_S = 60.0  # between two confirming fetches by one egress


class Outcome(Enum):
    """What became of a request, as far as its egress is concerned."""

    OK = "ok"
    BLOCKED = "blocked"  # 429, captcha, "not a bot"
    VIDEO_BLOCKED = "video blocked"  # the same to a video that had been refused before, while others passed
    NETWORK = "network"  # no connection, no name, no route
    TIMEOUT = "timeout"  # no answer in time, or not the whole of it
    EXIT = "exit"  # a connection was lost behind a rotating gateway, which itself could be reached
    OTHER = "other"  # an answer that is neither: garbled, a server error
    NO_CAPTIONS = "no captions"  # a control video came without captions: a block that does not say so
    EXIT_NO_CAPTIONS = "exit, no captions"  # the same behind a rotating gateway: it says so of one exit
    DEAD = "dead"  # the egress can never work as configured (407)


# Lost on the way, and not an answer.
LOST = frozenset({Outcome.NETWORK, Outcome.TIMEOUT, Outcome.EXIT})


class EgressHealth(NamedTuple):
    """How an egress stands after an outcome was reported, as far as it tells whose failure that was.

    in_trouble  it is blocked, offline or retired, or was so after the request had been sent
    confirmed   the incident under way is its own: a second job or a control video failed as well
    ok_at       its last success (monotonic clock); 0: none
    """

    in_trouble: bool = False
    confirmed: bool = False
    ok_at: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """The settings all processes of a run share.

    `pace` divides all times of the controller (cool-downs, increases, holds), never the rate and never a
    Retry-After: it is for rehearsals (ENGINE_BUDGET_PACE).
    """

    rate: Rate
    pace: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 < self.pace < 1e6):
            raise ValueError(
                f"ENGINE_BUDGET_PACE is {self.pace}; it must be a number above 0, 1 is real time"
            )

    @property
    def configured(self) -> float:
        """The rate as a record keeps it: the interval in seconds, `NONE` or `AUTO`."""
        return (
            1 / self.rate.per_s if self.rate.kind == "fixed" else (NONE if self.rate.kind == "none" else AUTO)
        )

    @property
    def max_open_s(self) -> float:
        """The longest cool-down."""
        return MAX_OPEN_S

    @property
    def confirm_each_s(self) -> float:
        """The least time between two confirming fetches by one egress."""
        return min(CONFIRM_EACH_S / self.pace, MAX_OPEN_S)

    def probe_s(self, network: bool) -> float:
        """How long a probe may be out before another may take its place."""
        return max((NETWORK_PROBE_S if network else PROBE_S) / self.pace, MIN_PROBE_S)


def look_ahead_s(interval: float) -> float:
    """How long before its time a slot may be reserved, and how long after it is still good:
    the same length."""
    return SLOW_LOOK_AHEAD_S if interval * SLOW_RATE_PER_S > 1.0 else LOOK_AHEAD_S


def burst(interval: float) -> int:
    """How many unused slots an idle egress keeps."""
    return BURST if interval * FAST_RATE_PER_S > 1.0 else FAST_BURST
