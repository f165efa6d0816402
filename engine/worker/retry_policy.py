"""What becomes of a job whose attempt failed: one table, decided once, when it happens, and never revised.

| kinds                                           | becomes                                                   |
|-------------------------------------------------|-----------------------------------------------------------|
| unavailable private members_only age_restricted | absent, at once (`no_captions` once it is confirmed:      |
| region_blocked no_captions no_language          | `engine.worker.unconfirmed`)                              |
| too_large po_token not_yet kept                 | failed, at once                                           |
| translation_refused                             |                                                           |
| server_error garbled unknown                    | charged: again after 2, 10, 60 s, then every 15 min;      |
|                                                 | failed when `--attempts` are charged                      |
| network proxy timeout                           | the egress's: again in 2 s, nothing charged;              |
|                                                 | else charged, as the line before                          |
| blocked                                         | again when others have passed, nothing charged; failed    |
|                                                 | when it was refused three times while others passed       |

`is_of_egress` decides whether a lost connection is the egress's failure or the job's, by what is known at that
moment. The first row that fits counts:

| the egress                                      | the failure is                                            |
|-------------------------------------------------|-----------------------------------------------------------|
| is blocked, offline or retired, or was so since | the egress's                                              |
| works: it had a success since this job was lost | the job's                                                 |
| lost fewer than 5 attempts in a row             | the egress's: nobody can know yet. The fifth opens it,    |
|                                                 | and a control video tells whether it works                |

If the process was suspended during the attempt, a timeout is not charged. Behind a rotating gateway the next
connection leaves by another exit, so a connection lost there charges nothing until the job has had three times
`--attempts` tries. From then on it charges.

An attempt whose process died has no result; `is_poison` decides by the deaths instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.budget import EgressHealth
from engine.model import ABSENT_KINDS, CONNECTION_KINDS, Failure, Kind
from engine.queue.job_state import Death

WAITS_S = (2.0, 10.0, 60.0)
LONG_WAIT_S = 900.0
REFUSED_WAIT_S = 0.0  # a refused job waits for others to pass, not for a time (`engine.worker.scheduler`)
REFUSALS = 3
EXITS_LOST = (
    3  # times --attempts: tries of a job in which a rotating gateway's lost connections charge nothing
)
DEATHS_ALONE = 2

AT_ONCE = ABSENT_KINDS | {
    Kind.TOO_LARGE,
    Kind.PO_TOKEN,
    Kind.TRANSLATION_REFUSED,
    Kind.NOT_YET,
    Kind.KEPT,
    Kind.POISON,
}


@dataclass(frozen=True, slots=True)
class Finish:
    """The job is final, with this failure's kind."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The job comes again after `wait_s`. `charged`: this attempt counts. `others_passed`: this block counts towards
    the three that end the job, because other jobs passed."""

    wait_s: float
    charged: bool = False
    others_passed: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """A job's earlier attempts, without this one.

    charged   attempts that count
    tries     attempts of any sort
    refused   whether it was ever blocked
    refusals  how often it was blocked while others passed
    lost_at   when its connection was lost and that was the egress's, in this process (monotonic clock); 0: never
    """

    charged: int = 0
    tries: int = 0
    refused: bool = False
    refusals: int = 0
    lost_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else an attempt's failure is judged by: how its egress stands, whether its connection was lost behind a
    rotating gateway, whether the machine was suspended meanwhile."""

    health: EgressHealth = EgressHealth()  # noqa: RUF009 - frozen
    lost_exit: bool = False
    suspended: bool = False


def decide(failure: Failure, past: Past, circumstances: Circumstances, attempts: int) -> Finish | RetryLater:
    """What becomes of a job after this failure when `attempts` are allowed."""
    kind = failure.kind
    if kind in AT_ONCE:
        return Finish(kind)
    if kind is Kind.BLOCKED:
        counts = past.refused and not circumstances.health.confirmed
        if past.refusals + counts >= REFUSALS:
            return Finish(kind)
        return RetryLater(REFUSED_WAIT_S, others_passed=counts)
    if failure.dead_egress or (
        kind in CONNECTION_KINDS and is_of_egress(kind, past, circumstances, attempts)
    ):
        return RetryLater(WAITS_S[0])
    charged = past.charged + 1
    return RetryLater(wait_after(charged), charged=True) if charged < attempts else Finish(kind)


def is_of_egress(kind: Kind, past: Past, circumstances: Circumstances, attempts: int) -> bool:
    """Whether a connection that was lost or hung is the egress's failure, and not the job's."""
    health = circumstances.health
    if health.in_trouble or (kind is Kind.TIMEOUT and circumstances.suspended):
        return True
    if circumstances.lost_exit:
        return past.tries < EXITS_LOST * attempts
    return not 0 < past.lost_at < health.ok_at


def is_poison(deaths: Iterable[Death]) -> bool:
    """Whether a job kills its process: it died twice with nothing else in flight. After a first death, in company
    or not, a job runs alone."""
    return sum(death.alone for death in deaths) >= DEATHS_ALONE


def wait_after(charged: int) -> float:
    """How long a job waits after its n-th charged attempt, in seconds."""
    return WAITS_S[charged - 1] if charged <= len(WAITS_S) else LONG_WAIT_S
