"""What others do about a rate limit, simplified, behind the interface of `low_rates`; and an oracle.

Each is asked for the time of its next request, and told what became of it. AIMD has a circuit breaker like ours
beside it; botocore's CUBIC and Scrapy's AutoThrottle come without one, as they are shipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LOOK_AHEAD_S = 0.05


@dataclass
class Peer:
    """Evenly spaced requests at `rate`; with a breaker: after a refusal a probe after 3 s, then 4.5 s and so on."""

    rate: float
    has_breaker: bool = True
    next_at: float = 0.0
    epoch: int = 0
    fails: int = 0
    open_until: float = 0.0
    is_probing: bool = False

    def ask(self, now: float) -> tuple[float, int] | float:
        """(when to send, a token), or how long to wait."""
        if self.fails:
            if self.is_probing or now < self.open_until:
                return math.inf if self.is_probing else self.open_until - now
            self.is_probing = True
            return now, self.epoch
        self.grow(now)
        at = max(self.next_at, now)
        if at - now > LOOK_AHEAD_S:
            return at - now - LOOK_AHEAD_S
        self.next_at = at + 1 / self.rate
        return at, self.epoch

    def told(self, now: float, token: int, passed: bool) -> bool:
        """What became of a request; whether it may be worth asking again."""
        if passed:
            if not self.fails:
                self.passed(now)
            elif token == self.epoch:
                self.fails, self.is_probing, self.next_at = 0, False, now + 1 / self.rate
                return True
            return False
        if not self.has_breaker:
            self.refused(now)
            return True
        if token == self.epoch:
            if not self.fails:
                self.refused(now)
            self.fails, self.epoch, self.is_probing = self.fails + 1, self.epoch + 1, False
            self.open_until = now + min(3 * 1.5 ** (self.fails - 1), 600)
        return True

    def grow(self, now: float) -> None:
        """Time has passed."""

    def passed(self, now: float) -> None:
        """A request has passed."""

    def refused(self, now: float) -> None:
        """A request was refused."""


class Oracle(Peer):
    """Knows the limit, and stays 5 % below it."""

    def __init__(self, limit: float) -> None:
        super().__init__(0.95 * limit)


class Aimd(Peer):
    """Half after a refusal, .1/s more each second."""

    def __init__(self, limit: float) -> None:
        super().__init__(0.25)
        self.at = 0.0

    def grow(self, now: float) -> None:
        self.rate, self.at = min(self.rate + 0.1 * min(now - self.at, 60.0), 1e4), now

    def refused(self, now: float) -> None:
        self.rate = max(0.5 * self.rate, 1 / 60)


class Cubic(Peer):
    """botocore's adaptive mode: factor .7, scale .4, begun by the first refusal, at most twice what it measures."""

    def __init__(self, limit: float) -> None:
        super().__init__(200.0, has_breaker=False)
        self.is_on, self.most, self.refused_at, self.until_most = False, 0.0, 0.0, 0.0
        self.measured, self.count, self.count_from = 0.0, 0, 0.0

    def _measure(self, now: float) -> None:
        self.count += 1
        if now - self.count_from >= 0.5:
            self.measured = 0.8 * self.count / (now - self.count_from) + 0.2 * self.measured
            self.count, self.count_from = 0, now

    def passed(self, now: float) -> None:
        self._measure(now)
        if self.is_on:
            wanted = 0.4 * (now - self.refused_at - self.until_most) ** 3 + self.most
            self.rate = max(min(wanted, 2 * self.measured), 0.5)

    def refused(self, now: float) -> None:
        self._measure(now)
        self.most = min(self.measured, self.rate) if self.is_on else self.measured
        self.is_on, self.refused_at = True, now
        self.until_most = (self.most * 0.3 / 0.4) ** (1 / 3)
        self.rate = max(min(0.7 * self.most, 2 * self.measured), 0.5)


class AutoThrottle(Peer):
    """Scrapy's: a delay that approaches the latency, 5 s at first; a refusal never makes it shorter."""

    def __init__(self, limit: float) -> None:
        super().__init__(0.2, has_breaker=False)
        self.delay_s, self.latency_s = 5.0, 0.15

    def passed(self, now: float) -> None:
        self.delay_s = max(self.latency_s, (self.delay_s + self.latency_s) / 2)
        self.rate = 1 / self.delay_s

    def refused(self, now: float) -> None:
        """Nothing: a faster refusal may not shorten the delay, and a slower one is not longer."""


PEERS = {"oracle": Oracle, "aimd": Aimd, "cubic": Cubic, "autothrottle": AutoThrottle}
