"""When does `no_captions` come too often to be true? Pure functions.

A soft block looks like an ordinary answer: the video plays, its caption list is empty, and the second opinion
by the same address agrees. One such answer says nothing; the share of them says much. So each egress keeps what
its last 200 attempts came to (captions shown, or none), and every stretch of them that ends now is compared
with the share of `no_captions` before: how probable is it to meet so many by chance?

The probability is bounded from above by Chernoff's inequality, `P[X >= k] <= exp(-n * KL(k/n || share))` for n
draws, which needs no table and is exact for k = n: with 2 % before, four in a row are 1.6e-7. A list sorted by
channel has honest stretches of that sort; an alarm costs some dozen requests and changes no verdict by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW = 200
BARE_MIN = 5  # fewer are never a jump, whatever the share before
CHANCE = 1e-6
HORIZON = 300.0  # attempts that the share before remembers
PRIOR_BARE, PRIOR_TOTAL = 1.0, 20.0  # what is thought of a batch before anything is known of it
_MASK = (1 << WINDOW) - 1


@dataclass(frozen=True, slots=True)
class Share:
    """The share of `no_captions` among what was believed so far; old attempts fade."""

    bare: float = 0.0
    total: float = 0.0

    @property
    def value(self) -> float:
        """Between 0 and 1, both excluded."""
        return (self.bare + PRIOR_BARE) / (self.total + PRIOR_TOTAL)

    def add(self, *, bare: bool) -> Share:
        """With one more attempt."""
        keep = 1 - 1 / HORIZON
        return Share(self.bare * keep + bare, self.total * keep + 1)

    @classmethod
    def of(cls, bare: int, total: int) -> Share:
        """That of a batch so far, with no more weight than the horizon gives it."""
        scale = min(1.0, HORIZON / total) if total > 0 else 0.0
        return cls(bare * scale, total * scale)


@dataclass(frozen=True, slots=True)
class History:
    """What the last attempts came to, the latest in the lowest bit: 1 no captions, 0 captions shown."""

    bits: int = 0
    length: int = 0

    def add(self, *, bare: bool) -> History:
        """With one more attempt; what is older than the window is forgotten."""
        return History((self.bits << 1 | bare) & _MASK, min(self.length + 1, WINDOW))

    def jump(self, share: float) -> tuple[int, int] | None:
        """(without captions, attempts) of the least probable stretch that ends now, if it is improbable."""
        worst, found, bare = CHANCE, None, 0
        for total in range(1, self.length + 1):
            if not self.bits >> (total - 1) & 1:
                continue  # a stretch that begins with captions is never the least probable
            bare += 1
            chance = chance_of(bare, total, share) if bare >= BARE_MIN else 1.0
            if chance < worst:
                worst, found = chance, (bare, total)
        return found


def chance_of(bare: int, total: int, share: float) -> float:
    """An upper bound of the probability of at least `bare` of `total` by chance, for a share within (0, 1)."""
    seen = bare / total
    if seen <= share:
        return 1.0
    log_odds = seen * math.log(seen / share)
    if seen < 1:
        log_odds += (1 - seen) * math.log((1 - seen) / (1 - share))
    return math.exp(-total * log_odds)
