"""Directories that never become a queue, whatever is in them: the root, home directories, git repositories."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress


def why_protected(path: str, found: set[str]) -> str:
    """Why no queue is ever made in this directory that holds these names; empty when one may be."""
    if ".git" in found:
        return "it is the top of a git repository"
    if _same(path, os.sep):
        return "it is the root directory"
    if any(_same(path, home) for home in _homes(path)):
        return "it is a home directory"
    return ""


def _homes(path: str) -> Iterator[str]:
    """Every home directory that this system knows: this user's, all users', and that of the path's owner."""
    yield os.environ.get("HOME", "")
    with suppress(KeyError, OSError):
        yield pwd.getpwuid(os.lstat(path).st_uid).pw_dir
    with suppress(KeyError, OSError):
        yield pwd.getpwuid(os.getuid()).pw_dir
    with suppress(OSError):
        yield from (user.pw_dir for user in pwd.getpwall())


def _same(path: str, other: str) -> bool:
    """Whether two paths lead to the same directory, also through a bind mount."""
    if not os.path.isabs(other):
        return False
    if path == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
