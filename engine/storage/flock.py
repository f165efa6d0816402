"""The kernel's lock on an open file (`flock`): taken and given back here and nowhere else in the package.

The kernel frees it when the last descriptor of the open file is closed, so when its holder dies.
"""

from __future__ import annotations

import fcntl


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock without waiting; False when another has it. Raises OSError where a file cannot be locked."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock back."""
    fcntl.flock(fd, fcntl.LOCK_UN)
