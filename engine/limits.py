"""Caps: how much one run may use.

The supervisor checks them four times a second. When one is reached, the run drains: nothing new begins, and what is
in flight finishes. So a run ends slightly above its cap: by the attempts in flight (at most one a thread, of two or
three requests) and by what begins within a quarter of a second. A process may also hold back the bytes of unfinished
answers between two checks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caps:
    """The most requests, body bytes and seconds; None: no cap."""

    max_requests: int | None = None
    max_bytes: int | None = None
    max_duration_s: float | None = None

    def reached(self, requests: int, n_bytes: int, elapsed_s: float) -> str | None:
        """The message about the cap that is reached by so much; None when none is."""
        if self.max_requests is not None and requests >= self.max_requests:
            return f"stopped at --max-requests {self.max_requests:,}: {requests:,} were sent"
        if self.max_bytes is not None and n_bytes >= self.max_bytes:
            return f"stopped at --max-bytes {self.max_bytes:,}: {n_bytes:,} bytes came"
        if self.max_duration_s is not None and elapsed_s >= self.max_duration_s:
            return f"stopped at --max-duration {self.max_duration_s:g} s"
        return None


@dataclass(slots=True)
class Meter:
    """What this run has used: the budget's totals (requests, body bytes) minus those at its start.

    Time stands still while the machine is suspended, as the monotonic clock does.
    """

    requests: int
    bytes: int
    since_s: float

    @classmethod
    def start(cls, totals: tuple[int, int]) -> Meter:
        return cls(*totals, time.monotonic())

    def reached(self, caps: Caps, totals: tuple[int, int]) -> str | None:
        """The message about the cap that is reached now; None when none is."""
        requests, n_bytes = totals
        return caps.reached(requests - self.requests, n_bytes - self.bytes, time.monotonic() - self.since_s)
