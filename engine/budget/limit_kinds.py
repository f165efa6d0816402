"""What kind of limit a block enforced: a rate, a bucket that refills, or so many an hour.

One block cannot tell. For each kind it says what the limit would have been, had it been of that kind; the kind whose
answers at two blocks agree best is believed. A bucket that refills in W seconds and is empty at the block has let
`limit * (s + W)` requests pass in the `s` seconds since it was last full: at most that for any other `s`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from engine.budget.volume import Volume, sent_since, sent_within

HOUR_S = 3600.0
REFILLS_S = (3.0, 5.6, 10.0, 18.0, 32.0, 56.0, 100.0, 180.0, 320.0, 560.0, 1000.0, 1800.0, 3600.0, 6000.0)
RATE, HOURLY = 0, len(REFILLS_S) + 1  # numbers of the kinds; those between are buckets
KINDS = HOURLY + 1
_WINDOWS_S = (REFILLS_S[0], *REFILLS_S, HOUR_S)
_LEAST_PER_S = 1e-6
_NOISE, _NOISE_S = 0.7, 60.0  # so many requests of chance in an answer, over so much longer than W
_EXACT = 0.003  # as a share: no answer is more exact than that
_MOST_MISFIT = 5.0  # of what is given
# To believe in a low limit wrongly costs more than another short block.
_TOO_SLOW, _TOO_SLOW_COSTLY = 1.5, 0.9
_LEAST_BURST, _LEAST_HOURLY = 4.0, 30.0  # fewer requests than this tell no bucket, no hour


class Belief(NamedTuple):
    """A kind of limit, and the limit in requests per second."""

    kind: int
    limit: float


def window_s(kind: int) -> float:
    """How long it takes until a limit of this kind is felt at the most, or forgotten."""
    return _WINDOWS_S[kind]


def answers(volume: Volume, rate: float, at: float) -> tuple[float, ...]:
    """What each kind says the limit was, in requests per second, if it was what refused a request at `at`."""
    slots = list(sent_since(volume, at))
    buckets = [max((sent / (span + refill) for span, sent in slots), default=0.0) for refill in REFILLS_S]
    hourly = sent_within(volume, at, HOUR_S) / HOUR_S
    return tuple(max(answer, _LEAST_PER_S) for answer in (rate, *buckets, hourly))


def believed(
    before: tuple[float, ...],
    now: tuple[float, ...],
    *,
    rate: float,
    held_s: float,
    costly: bool,
) -> Belief | None:
    """The kind of limit whose answers at two blocks agree best; None when those of no kind do.

    `rate` was sent at the second block; `held_s`: so long without a change before it, in which a limit that is felt
    sooner would have been. `costly`: a block is, so that a limit is rather believed too
    low than too high.
    """
    too_slow = _TOO_SLOW_COSTLY if costly else _TOO_SLOW
    best: tuple[float, Belief] | None = None
    for kind, limit, misfit in _candidates(before, now):
        window = _WINDOWS_S[kind]
        least = 0.0 if kind == RATE else _LEAST_HOURLY if kind == HOURLY else _LEAST_BURST
        felt_s = window * (1.5 if kind == HOURLY else 60.0)
        give = _NOISE / (limit * (window + _NOISE_S)) + _EXACT
        if misfit <= _MOST_MISFIT * give and window * rate >= least and held_s <= felt_s:
            cost = math.log(give) + (misfit / give) ** 2 / 2
            cost += too_slow * math.log(max(now[RATE] / limit, 1.0))
            if best is None or cost < best[0]:
                best = cost, Belief(kind, limit)
    return best[1] if best else None


def _candidates(before: tuple[float, ...], now: tuple[float, ...]) -> Iterator[tuple[int, float, float]]:
    """(kind, limit, how far two blocks disagree about it as a share); also the buckets between two that were asked,
    where their disagreements have different signs."""
    was = 0.0, 0.0
    for kind, (first, second) in enumerate(zip(before, now, strict=True)):
        middle, apart = math.log(first * second) / 2, math.log(second / first)
        yield kind, math.exp(middle), abs(apart)
        if RATE + 1 < kind < HOURLY and apart * was[1] < 0:
            share = was[1] / (was[1] - apart)
            between = was[0] + share * (middle - was[0])
            yield kind if share > 0.5 else kind - 1, math.exp(between), min(abs(was[1]), abs(apart)) / 2
        was = middle, apart
