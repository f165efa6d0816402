"""Removing what dead processes left, by name: only what the engine itself makes, in the place where it makes it.

A directory goes when nothing else is in it. Whatever bears another name, or is a link or a directory where the
engine makes a file, stays where it is. Nobody else may be at work in the place that is swept.
"""

from __future__ import annotations

import contextlib
import errno
import os
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


def sweep_queue(root: str) -> int:
    """Empty `tmp/` of what the engine made there; returns how many that were.

    So goes a FORMAT or a first batch.json that never got its name, in the queue's directory itself.
    For who holds run.lock and seed.lock while no worker and no monitor of this queue lives.
    """
    count = 0
    for name in entries(root):
        if is_first(name):
            count += _remove_file(os.path.join(root, name))
    tmp = os.path.join(root, "tmp")
    for name in entries(tmp):
        path = os.path.join(tmp, name)
        if is_temporary(name):
            count += _remove_file(path)
        elif is_birth(name):
            count += remove_birth(path)
    return count


def remove_birth(path: str) -> bool:
    """Remove a directory that was being laid out in `tmp/`; False when it is not there or something else is in it."""
    birth = os.path.basename(path)
    return remove_dir(path, lambda name: made_in_birth(birth, name))


def remove_if_empty(path: str) -> bool:
    """Remove a directory; False when it is not there or something is in it."""
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
