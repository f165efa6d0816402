"""Removing what dead processes left in the queue: only names that the engine makes, where it makes them.

The output directory is swept by `engine.output.temporary`.

A directory goes when nothing else is in it. Everything else stays, also a link or a directory where the engine makes
a file. Nobody else may be at work in the place that is swept.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from engine.queue.names import belongs_in_staging, is_directory, is_file, is_first, is_staging, is_temporary
from engine.storage import disk


def sweep_queue(root: str) -> int:
    """Remove what the engine left in `tmp/`, and a FORMAT or first batch.json under its temporary name.

    Returns how many there were. The caller holds run.lock and seed.lock, and no worker and no monitor of this queue
    lives.
    """
    count = sum(_remove_file(os.path.join(root, name)) for name in entries(root) if is_first(name))
    tmp = os.path.join(root, "tmp")
    for name in entries(tmp):
        path = os.path.join(tmp, name)
        if is_temporary(name):
            count += _remove_file(path)
        elif is_staging(name):
            count += remove_staging(path)
    return count


def remove_staging(path: str) -> bool:
    """Remove a directory that was being prepared in `tmp/`; False when it is missing or holds something else."""
    staging = os.path.basename(path)
    return remove_dir(path, lambda name: belongs_in_staging(staging, name))


def remove_if_empty(path: str) -> bool:
    """Remove a directory; False when it is missing or not empty."""
    try:
        disk.rmdir(path)
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    return True


def remove_dir(path: str, made: Callable[[str], bool]) -> bool:
    """Remove a directory and its files that are `made` by name; False when it is not there or others are in it."""
    if not is_directory(path):
        return False
    for name in entries(path):
        if made(name):
            _remove_file(os.path.join(path, name))
    return remove_if_empty(path)


def _remove_file(path: str) -> bool:
    if not is_file(path):
        return False
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(path)
    return True


def entries(path: str) -> list[str]:
    """The names in a directory; none when it is not there or is a link."""
    try:
        return os.listdir(path) if is_directory(path) else []
    except FileNotFoundError:
        return []
