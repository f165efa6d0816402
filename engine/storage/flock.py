"""The kernel's lock on an open file (`flock`): taken and given back here and nowhere else in the package.

The kernel frees it when the last descriptor of the open file is closed, so when its holder dies. The exclusive lock
is filelock's, on a descriptor of ours; filelock has no shared one.
"""

from __future__ import annotations

import fcntl

from filelock import lock_descriptor, unlock_descriptor


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock without waiting; False when another has it. Raises OSError where a file cannot be locked."""
    if not shared:
        return lock_descriptor(fd, blocking=False)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock back."""
    unlock_descriptor(fd)
