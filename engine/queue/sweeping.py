"""Removing what dead processes left: only names that the engine makes, in the place where it makes them.

A directory goes when nothing else is in it. Everything else stays, also a link or a directory where the engine makes
a file. Nobody else may be at work in the place that is swept.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable

from engine.queue.names import belongs_in_staging, is_directory, is_file, is_first, is_staging, is_temporary
from engine.storage import disk

OWNER = "owner"
_OUTPUT_TEMPORARY = re.compile(r"\.(?:[A-Za-z0-9_-]{11}\.(?:json|md|txt|srt|vtt)|owner)\.[0-9a-f]{8}\.tmp")


def sweep_queue(root: str) -> int:
    """Remove what the engine left in `tmp/`, and a FORMAT or first batch.json under its temporary name.

    Returns how many there were. The caller holds run.lock and seed.lock, and no worker and no monitor of this queue
    lives.
    """
    count = sum(_remove_file(os.path.join(root, name)) for name in _entries(root) if is_first(name))
    tmp = os.path.join(root, "tmp")
    for name in _entries(tmp):
        path = os.path.join(tmp, name)
        if is_temporary(name):
            count += _remove_file(path)
        elif is_staging(name):
            count += remove_staging(path)
    return count


def remove_staging(path: str) -> bool:
    """Remove a directory that was being prepared in `tmp/`; False when it is missing or holds something else."""
    return _remove_dir(path, lambda name: belongs_in_staging(os.path.basename(path), name))


def remove_worker_output(path: str) -> bool:
    """Remove a worker's directory of unfinished output files; False when it is missing or holds something else."""
    return _remove_dir(path, lambda name: name == OWNER or is_output_temporary(name))


def is_output_temporary(name: str) -> bool:
    """Whether an output file, or a worker's note, has this name before it is renamed into place."""
    return _OUTPUT_TEMPORARY.fullmatch(name) is not None


def remove_if_empty(path: str) -> bool:
    """Remove a directory; False when it is missing or not empty."""
    try:
        disk.rmdir(path)
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    return True


def _remove_dir(path: str, made: Callable[[str], bool]) -> bool:
    if not is_directory(path):
        return False
    for name in _entries(path):
        if made(name):
            _remove_file(os.path.join(path, name))
    return remove_if_empty(path)


def _remove_file(path: str) -> bool:
    if not is_file(path):
        return False
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(path)
    return True


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path) if is_directory(path) else []
    except FileNotFoundError:
        return []
