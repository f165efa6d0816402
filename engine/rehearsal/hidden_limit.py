"""The rehearsal server's hidden rate limit."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Bucket:
    level: float = 0.0
    at_s: float = float("-inf")
    blocked_until_s: float = float("-inf")


@dataclass(slots=True)
class HiddenLimit:
    """A leaky bucket for each egress. An egress that overflows it is refused everything for `block_s`.

    A bucket holds `burst` requests and drains `rate` of them a second. Refused requests do not prolong a block.
    """

    rate: float
    burst: float
    block_s: float
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def refuses(self, egress: str, now_s: float) -> bool:
        """Count a request that arrives now, and say whether it is refused."""
        bucket = self._buckets.setdefault(egress, _Bucket())
        if now_s < bucket.blocked_until_s:
            return True
        if bucket.at_s > float("-inf"):
            bucket.level = max(0.0, bucket.level - (now_s - bucket.at_s) * self.rate)
        bucket.at_s = now_s
        if bucket.level + 1 > self.burst:
            bucket.blocked_until_s = now_s + self.block_s
            return True
        bucket.level += 1
        return False
