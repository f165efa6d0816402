"""The kernel's lock on an open file (`flock`): taken and given back here and nowhere else in the package.

The kernel frees it when the last descriptor of the open file is closed, so when its holder dies. The exclusive lock
is filelock's, on a descriptor of ours; filelock has no shared one.

- `try_lock(fd)` takes it without waiting; False when another has it. Raises OSError where a file cannot be locked.
- `unlock(fd)` gives it back.
"""

from __future__ import annotations

import fcntl
from functools import partial

from filelock import lock_descriptor
from filelock import unlock_descriptor as unlock

__all__ = ["try_lock", "try_shared_lock", "unlock"]

try_lock = partial(lock_descriptor, blocking=False)


def try_shared_lock(fd: int) -> bool:
    """`try_lock`, for a lock that others may share."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
