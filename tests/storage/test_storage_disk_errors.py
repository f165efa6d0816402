"""Which errors are the disk's, and what a person is told."""

from __future__ import annotations

import errno

import pytest

from engine.errors import DiskError, Exit
from engine.storage.disk_errors import disk_error, is_disk_error


@pytest.mark.parametrize(
    ("number", "is_disk"),
    [
        (errno.ENOSPC, True),
        (errno.EDQUOT, True),
        (errno.EIO, True),
        (errno.EROFS, True),
        (errno.EFBIG, True),
        (errno.ENOENT, False),
        (errno.EACCES, False),
        (errno.EEXIST, False),
    ],
)
def test_which_errors_are_the_disks(number: int, is_disk: bool) -> None:
    assert is_disk_error(OSError(number, "x")) is is_disk


def test_the_message_of_a_full_disk() -> None:
    error = disk_error(OSError(errno.ENOSPC, "No space left on device"), "writing the journal")
    assert isinstance(error, DiskError)
    assert error.exit_code == Exit.DISK
    assert str(error).startswith("writing the journal: No space left on device. Make room")
