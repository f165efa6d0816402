"""How long the egresses of a budget file are this machine's: `<budget>.lease`, a time that who leases them renews.

Without such a file when a run begins, they are its own for good. With one, permits are granted up to that time only.
So a machine that stood still, and lost its egresses to another meanwhile, sends nothing when it goes on, whatever
else has not been told yet. Each look costs one small read, and each permit takes two.
"""

from __future__ import annotations

import os
import time

from engine.storage import disk

SUFFIX = ".lease"
_MAX_BYTES = 64


def now_s() -> float:
    """Seconds since this machine started, by a clock that also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def renew(budget: str, until_s: float) -> None:
    """Let the egresses of this budget file be used until then (`now_s`). Raises OSError."""
    disk.publish(budget + SUFFIX, f"{until_s:.3f}\n".encode(), sync=False)


class Lease:
    """The lease of a budget file, if there is one."""

    def __init__(self, budget: str) -> None:
        self._path = budget + SUFFIX
        self._leased = os.path.lexists(self._path)

    def valid(self) -> bool:
        """Whether a request may be sent now. A file that is gone or damaged allows none."""
        if not self._leased:
            return True
        try:
            return now_s() < float(disk.read_small(self._path, _MAX_BYTES) or 0)
        except ValueError:
            return False
