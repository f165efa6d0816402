"""Caps: what one run may use at most.

The supervisor looks at the files four times a second. When a cap is reached it drains: nothing new begins and
what is in flight finishes, so a run ends a little above its cap: by the attempts in flight (one a thread at
most, two or three requests each) and by what a quarter of a second lets in. Between two looks a process may
hold back the bytes of answers that are still on their way into the budget file, never those of finished ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caps:
    """At most so many requests, body bytes and seconds; None: no cap."""

    max_requests: int | None = None
    max_bytes: int | None = None
    max_duration_s: float | None = None

    def reached(self, requests: int, n_bytes: int, elapsed_s: float) -> str | None:
        """The sentence saying which cap is reached by what was used, or None."""
        if self.max_requests is not None and requests >= self.max_requests:
            return f"stopped at --max-requests {self.max_requests:,}: {requests:,} were sent"
        if self.max_bytes is not None and n_bytes >= self.max_bytes:
            return f"stopped at --max-bytes {self.max_bytes:,}: {n_bytes:,} bytes came"
        if self.max_duration_s is not None and elapsed_s >= self.max_duration_s:
            return f"stopped at --max-duration {self.max_duration_s:g} s"
        return None


@dataclass(slots=True)
class Meter:
    """What this run has used: the budget's totals (requests, body bytes) less where they stood when it began.

    Time runs while the machine is awake: the monotonic clock stands still in a suspend, and so does the work.
    """

    requests: int
    bytes: int
    since_s: float

    @classmethod
    def start(cls, totals: tuple[int, int]) -> Meter:
        return cls(*totals, time.monotonic())

    def look(self, caps: Caps, totals: tuple[int, int]) -> str | None:
        """Which cap is reached now, as a sentence; None when none is."""
        requests, n_bytes = totals
        return caps.reached(requests - self.requests, n_bytes - self.bytes, time.monotonic() - self.since_s)
