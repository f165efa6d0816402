"""The kernel's lock on an open file (`flock`): taken and given back here and nowhere else in the package.

The kernel frees it when the last descriptor of the open file is closed, so when its holder dies.

- `try_lock(fd)` takes it without waiting; False when another has it. Raises OSError where a file cannot be locked.
- `try_shared_lock(fd)`: the same, for a lock that others may share.
- `unlock(fd)` gives it back.
"""

from __future__ import annotations

import fcntl
from functools import partial

__all__ = ["try_lock", "try_shared_lock", "unlock"]


def _try(operation: int, fd: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


try_lock = partial(_try, fcntl.LOCK_EX)
try_shared_lock = partial(_try, fcntl.LOCK_SH)


def unlock(fd: int) -> None:
    """Give the lock on this open file back."""
    fcntl.flock(fd, fcntl.LOCK_UN)
