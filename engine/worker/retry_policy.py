"""What becomes of a job whose attempt failed: one table, one pure function.

| kinds                                                       | becomes                                    |
|-------------------------------------------------------------|--------------------------------------------|
| unavailable private members_only age_restricted             | absent, at once                            |
| region_blocked no_captions no_language                      |                                            |
| too_large po_token not_yet kept                             | failed, at once                            |
| network proxy timeout server_error garbled unknown          | 2, 10, 60 s, then every 15 min; failed     |
|                                                             | when the attempts are spent                |
| blocked                                                     | again after a while, no attempt spent;     |
|                                                             | failed when refused 3 times while others   |
|                                                             | passed                                     |

A job whose process died answers nothing; `is_poison` decides on the deaths instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.model import ABSENT_KINDS, Failure, Kind
from engine.queue.job_state import Death

WAITS_S = (2.0, 10.0, 60.0)
LONG_WAIT_S = 900.0
REFUSED_WAIT_S = 5.0
UNSETTLED_WAIT_S = 5.0
REFUSALS = 3
# An egress may be found guilty a little later than its victim's last attempt; so many more looks it gets.
BENEFIT_OF_DOUBT = 3

AT_ONCE = ABSENT_KINDS | {Kind.TOO_LARGE, Kind.PO_TOKEN, Kind.NOT_YET, Kind.KEPT, Kind.POISON}
RETRIED = frozenset({Kind.NETWORK, Kind.PROXY, Kind.TIMEOUT, Kind.SERVER_ERROR, Kind.GARBLED, Kind.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Settle:
    """The job is final, with this failure's kind."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Defer:
    """The job comes again after `wait_s`; `charged` says whether this attempt counts."""

    wait_s: float
    charged: bool


@dataclass(frozen=True, slots=True)
class History:
    """What a job has behind it, this attempt not counted.

    spent    attempts it paid for (given-back ones left out)
    refused  blocks it met while others passed
    tries    attempts of any sort
    fault    whose fault this attempt's failure is: True the egress's, False the job's own, None not known yet
    """

    spent: int = 0
    refused: int = 0
    tries: int = 0
    fault: bool | None = False


def decide(failure: Failure, history: History, attempts: int) -> Settle | Defer:
    """The verdict on a failed attempt when `attempts` are allowed."""
    kind = failure.kind
    if kind in AT_ONCE:
        return Settle(kind)
    if kind is Kind.BLOCKED:
        if history.refused >= REFUSALS:
            return Settle(kind)
        return Defer(REFUSED_WAIT_S, charged=False)
    if history.fault:
        return Defer(WAITS_S[0], charged=False)
    spent = history.spent + 1
    if spent < attempts:
        return Defer(wait_after(spent), charged=True)
    if history.fault is None and history.tries < attempts + BENEFIT_OF_DOUBT:
        return Defer(UNSETTLED_WAIT_S, charged=True)
    return Settle(kind)


DEATHS, DEATHS_ALONE = 3, 2  # one death in company, two alone
DEATHS_UNSURE = 8


def is_poison(deaths: Iterable[Death]) -> bool:
    """Whether a job kills its process: one death in company and two alone, with no other killer in sight.

    Where processes die without this job as well, someone kills them from outside (an operator, a machine short
    of memory), and two deaths alone are no proof: with a kill a second, a job that takes three seconds met
    them by chance in one batch of two. Then it takes eight.
    """
    deaths = list(deaths)
    alone = [death for death in deaths if death.alone]
    if len(alone) >= DEATHS_UNSURE:
        return True
    return len(deaths) >= DEATHS and sum(death.sure for death in alone) >= DEATHS_ALONE


def wait_after(spent: int) -> float:
    """How long a job waits after its n-th paid attempt, in seconds."""
    return WAITS_S[spent - 1] if spent <= len(WAITS_S) else LONG_WAIT_S
