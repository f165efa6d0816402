"""The kernel's lock on an open file (`flock`): taken and given back here and nowhere else in the package.

The kernel frees it when the last descriptor of the open file is closed, so when its holder dies. The exclusive lock
is filelock's, on a descriptor of ours; filelock has no shared one. All raise OSError where a file cannot be locked.
"""

from __future__ import annotations

import fcntl
from functools import partial

from filelock import lock_descriptor, unlock_descriptor

try_lock = partial(lock_descriptor, blocking=False)  # without waiting; False when another has it
unlock = unlock_descriptor


def try_lock_shared(fd: int) -> bool:
    """Take the lock beside others who share it, without waiting; False when another has it alone."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
