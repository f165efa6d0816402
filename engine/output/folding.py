"""Checks that a file system keeps file names as they are given.

Two videos' ids may differ in nothing but the case of a letter. Where names are folded (vfat, ext4 with casefold, the
usual file systems of macOS and Windows) or cut short, the second would take the first one's place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys

from engine.errors import UsageError
from engine.storage import disk

# As long as real ones. The second differs from the first in case alone.
NAMES = ("aBcDeFgHiJ-.json", "AbCdEfGhIj-.json")
TMP = ".engine-tmp"  # of the output directory: what a killed process leaves there is swept away
_TIMES = 3
_PROBE = re.compile(r"\.engine-names-[0-9a-f]{8}")


def kept(directory: str) -> bool:
    """Whether two names that differ in case are two files in this directory, each under its own name.

    Makes a directory of its own there and removes it. Raises OSError when it cannot.
    """
    mine = os.path.join(directory, f".engine-names-{secrets.token_hex(4)}")
    disk.mkdir(mine)
    try:
        for name in NAMES:
            try:
                disk.create(os.path.join(mine, name), b"", sync=False)
            except FileExistsError:
                return False
            except OSError as exc:
                if exc.errno in (errno.ENAMETOOLONG, errno.EINVAL):
                    return False
                raise
        return sorted(os.listdir(mine)) == sorted(NAMES)
    finally:
        remove_probe(mine)


def is_probe(name: str) -> bool:
    """Whether `kept` makes a directory of this name."""
    return _PROBE.fullmatch(name) is not None


def remove_probe(path: str) -> None:
    """Remove such a directory and the names that `kept` makes in it."""
    if os.path.islink(path):
        return
    for name in NAMES:
        with contextlib.suppress(OSError):
            disk.unlink_quietly(os.path.join(path, name))
    with contextlib.suppress(OSError):
        disk.rmdir(path)


def refuse(directory: str) -> str | None:
    """Raise UsageError when a directory cannot keep names apart. On macOS, whose usual file systems fold case, it
    only returns a warning: there a video whose name is taken ends `kept`."""
    if _kept_in_output(directory):
        return None
    what = (
        f"the file system of {directory} takes names that differ only in upper and lower case for the same: two "
        "videos would be one file"
    )
    if sys.platform == "darwin":
        return f"{what}; the second ends `kept`"
    raise UsageError(
        f"{what}. Give a directory on another file system with -o (ext4, xfs and btrfs keep case)"
    )


def _kept_in_output(directory: str) -> bool:
    """`kept`, where runs have their temporary files. The end of another queue's run may sweep it away meanwhile."""
    tmp = os.path.join(directory, TMP)
    if os.path.islink(tmp):
        return kept(directory)
    for time_left in reversed(range(_TIMES)):
        try:
            disk.ensure_dir(tmp, mode=0o777)
            return kept(tmp)
        except FileNotFoundError:
            if not time_left:
                raise
        finally:
            with contextlib.suppress(OSError):  # somebody uses it
                disk.rmdir(tmp)
    return True
