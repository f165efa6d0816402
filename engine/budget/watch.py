"""Notices that the budget file is removed again and again, by a cleaner or a script: nothing else would say so."""

from __future__ import annotations

import contextlib
import os
from collections import deque

WITHIN_S = 60.0
TIMES = 3
AGAIN_S = 600.0


class Watch:
    """Looks at which file has the name. It keeps the last one open, so that its number is given to no other."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._seen: deque[float] = deque()
        self._told_at: float | None = None

    def look(self, now: float) -> str | None:
        """Look once, at the time `now` in seconds; returns a sentence when there is something to say."""
        if not self._changed():
            return None
        self._seen.append(now)
        while self._seen[0] < now - WITHIN_S:
            self._seen.popleft()
        if len(self._seen) < TIMES or (self._told_at is not None and now - self._told_at < AGAIN_S):
            return None
        self._told_at = now
        return (
            f"something removes the budget file {self._path} again and again ({len(self._seen)} times within"
            f" {WITHIN_S:.0f} s). It is made again with what is known, and requests wait meanwhile. Find out what"
            " cleans up in the queue's directory, and keep it out"
        )

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _changed(self) -> bool:
        """Whether there is another file of that name than at the last look."""
        with contextlib.suppress(OSError):
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            if self._fd >= 0 and os.path.samestat(os.fstat(self._fd), os.fstat(fd)):
                os.close(fd)
                return False
            first = self._fd < 0
            self.close()
            self._fd = fd
            return not first
        return False
