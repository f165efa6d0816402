"""What an OSError says about the disk, and the message a person gets for it."""

from __future__ import annotations

import errno

from engine.errors import DiskError

_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
_ADVICE = {
    errno.EMFILE: "Allow more open files (`ulimit -n`) or use fewer processes and threads",
    errno.ENFILE: "Allow more open files on this machine or use fewer processes and threads",
    errno.ENOENT: "Somebody removed a directory in use: bring it back",
    errno.EACCES: "Correct the permissions",
    errno.EPERM: "Correct the permissions",
    errno.EROFS: "Mount it for writing",
}


def is_disk_error(exc: OSError) -> bool:
    """Whether the disk is full or failing (and not merely a name wrong)."""
    return exc.errno in _DISK_ERRNOS


def is_shortage(exc: OSError) -> bool:
    """Whether there are no file descriptors left."""
    return exc.errno in _NO_DESCRIPTORS


def disk_error(exc: OSError, doing: str) -> DiskError:
    """The message for a full or failing disk, or for a file that could not be used."""
    what = exc.strerror or str(exc)
    where = f" ({exc.filename})" if exc.filename and str(exc.filename) not in doing else ""
    advice = _ADVICE.get(exc.errno or 0, "Make room or repair the disk")
    return DiskError(f"{doing}{where}: {what}. {advice}, then run again: it goes on where it was.")
