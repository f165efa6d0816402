"""The rehearsal server's hidden rate limit."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

FORGIVEN_S = 6 * 3600.0  # so long without a block, and the next one is a first one again


@dataclass(slots=True)
class _Account:
    """What one egress has used up. `level`: of its bucket; `passed`: when requests passed within the window."""

    rng: random.Random
    spurious_at_s: float
    level: float = 0.0
    at_s: float = float("-inf")
    blocked_until_s: float = float("-inf")
    blocks_in_a_row: int = 0
    passed: deque[float] = field(default_factory=deque)


@dataclass(slots=True)
class HiddenLimit:
    """A leaky bucket or a sliding window for each egress. Who exceeds it is refused everything for a while.

    A bucket holds `burst` requests and drains `rate` of them a second. With `window_s` at most `rate * window_s`
    requests pass in any stretch of that length instead. Refused requests do not prolong a block.

    block_s         how long a block lasts, give or take `block_spread` of it
    doubling        each block lasts twice as long as the one before, unless that was over `FORGIVEN_S` ago
    spurious_s      a request in so many seconds on average is refused for no reason; 0: none
    spurious_share  so large a share of the requests is refused for no reason
    spurious_block_s how long such a refusal lasts; 0: that one request
    """

    rate: float
    burst: float
    block_s: float
    window_s: float = 0.0
    doubling: bool = False
    spurious_s: float = 0.0
    spurious_share: float = 0.0
    spurious_block_s: float = 0.0
    block_spread: float = 0.0
    seed: int = 0
    blocks: int = 0  # of those that exceeded it
    spurious: int = 0  # of those for no reason
    _accounts: dict[str, _Account] = field(default_factory=dict)

    def refuses(self, egress: str, now_s: float) -> bool:
        """Count a request that arrives now, and say whether it is refused."""
        account = self._accounts.get(egress) or self._opened(egress, now_s)
        if now_s < account.blocked_until_s:
            return True
        if self._for_no_reason(account, now_s):
            self.spurious += 1
            account.blocked_until_s = now_s + self.spurious_block_s
            return True
        if not (self._exceeds_window if self.window_s else self._overflows)(account, now_s):
            return False
        in_a_row = now_s - account.blocked_until_s < FORGIVEN_S
        account.blocks_in_a_row = account.blocks_in_a_row + 1 if in_a_row else 0
        lasts_s = self.block_s * account.rng.uniform(1 - self.block_spread, 1 + self.block_spread)
        account.blocked_until_s = now_s + lasts_s * (2**account.blocks_in_a_row if self.doubling else 1)
        self.blocks += 1
        return True

    def _opened(self, egress: str, now_s: float) -> _Account:
        rng = random.Random(f"{self.seed} {egress}")
        first_s = rng.expovariate(1 / self.spurious_s) if self.spurious_s else float("inf")
        return self._accounts.setdefault(egress, _Account(rng, now_s + first_s))

    def _for_no_reason(self, account: _Account, now_s: float) -> bool:
        if now_s >= account.spurious_at_s:
            account.spurious_at_s = now_s + account.rng.expovariate(1 / self.spurious_s)
            return True
        return self.spurious_share > 0 and account.rng.random() < self.spurious_share

    def _overflows(self, account: _Account, now_s: float) -> bool:
        if account.at_s > float("-inf"):
            account.level = max(0.0, account.level - (now_s - account.at_s) * self.rate)
        account.at_s = now_s
        if account.level + 1 > max(self.burst, 1.0):
            return True
        account.level += 1
        return False

    def _exceeds_window(self, account: _Account, now_s: float) -> bool:
        passed = account.passed
        while passed and passed[0] <= now_s - self.window_s:
            passed.popleft()
        if len(passed) + 1 > max(self.rate * self.window_s, 1.0) + 1e-9:
            return True
        passed.append(now_s)
        return False
