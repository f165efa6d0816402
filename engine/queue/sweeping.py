"""Removing what dead processes left, by name: only what the engine itself makes, in the place where it makes it.

A directory goes when nothing else is in it. Whatever bears another name, or is a link or a directory where the
engine makes a file, stays where it is. Nobody else may be at work in the place that is swept.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable

from engine.queue.names import (
    is_birth,
    is_directory,
    is_file,
    is_first,
    is_temporary,
    made_in_birth,
)
from engine.storage import disk

OWNER = "owner"
_OUTPUT_TEMPORARY = re.compile(r"\.(?:[A-Za-z0-9_-]{11}\.(?:json|md|txt|srt|vtt)|owner)\.[0-9a-f]{8}\.tmp")


def sweep_queue(root: str) -> int:
    """Empty `tmp/` of what the engine made there; returns how many that were.

    So goes a FORMAT or a first batch.json that never got its name, in the queue's directory itself.
    For who holds run.lock and seed.lock while no worker and no monitor of this queue lives.
    """
    count = 0
    for name in _entries(root):
        if is_first(name):
            count += _remove_file(os.path.join(root, name))
    tmp = os.path.join(root, "tmp")
    for name in _entries(tmp):
        path = os.path.join(tmp, name)
        if is_temporary(name):
            count += _remove_file(path)
        elif is_birth(name):
            count += remove_birth(path)
    return count


def remove_birth(path: str) -> bool:
    """Remove a directory that was being laid out in `tmp/`; False when it is not there or something else is in it."""
    birth = os.path.basename(path)
    return _remove_dir(path, lambda name: made_in_birth(birth, name))


def remove_worker_output(path: str) -> bool:
    """Remove a worker's directory of output files that have no name yet; False as with `remove_birth`."""
    return _remove_dir(path, lambda name: name == OWNER or is_output_temporary(name))


def is_output_temporary(name: str) -> bool:
    """Whether this is the name of an output file, or of a worker's note, before it is renamed into place."""
    return _OUTPUT_TEMPORARY.fullmatch(name) is not None


def remove_if_empty(path: str) -> bool:
    """Remove a directory; False when it is not there or something is in it."""
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
