"""The user's cache directory: indexes and uploads. All of it may be deleted at any time."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from hashlib import sha256

from engine.errors import UsageError
from engine.storage import disk
from engine.storage.user_cache import user_cache

UPLOADS = "uploads"
STALE_S = 86_400.0
_UPLOAD = re.compile(r"[0-9a-f]{16}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def directory() -> str:
    """`engine` in the cache directory of the user (XDG), made if it is missing. Raises UsageError."""
    path = user_cache()
    try:
        disk.ensure_dirs(path)
    except OSError as exc:
        raise UsageError(
            f"{path}: {exc.strerror}: set XDG_CACHE_HOME to a directory that can be written"
        ) from None
    return path


def index_path(root: str) -> str:
    """Where the index of a queue's manifest lies."""
    return os.path.join(directory(), f"{sha256(os.path.realpath(root).encode()).hexdigest()[:24]}.sqlite")


def new_upload(name: str) -> tuple[str, str]:
    """A name for an upload and the path of its file, in a directory of its own.

    The file keeps the end of its name, which says what it is; of the rest only harmless characters.
    """
    key = secrets.token_hex(8)
    folder = os.path.join(directory(), UPLOADS, key)
    disk.ensure_dirs(folder)
    safe = _UNSAFE.sub("_", os.path.basename(name)).lstrip("._-")[-80:] or "upload"
    return key, os.path.join(folder, safe)


def upload(key: object) -> str | None:
    """The path of an upload that is still there."""
    if not isinstance(key, str) or not _UPLOAD.fullmatch(key):
        return None
    folder = os.path.join(directory(), UPLOADS, key)
    with contextlib.suppress(OSError):
        return os.path.join(folder, os.listdir(folder)[0])
    return None


def remove_upload(path: str) -> None:
    """Remove the file of an upload and its directory."""
    with contextlib.suppress(OSError):
        disk.unlink(path)
    with contextlib.suppress(OSError):
        disk.rmdir(os.path.dirname(path))


def sweep() -> None:
    """Remove uploads that nobody has started anything with for a day."""
    folder = os.path.join(directory(), UPLOADS)
    with contextlib.suppress(OSError):
        for key in filter(_UPLOAD.fullmatch, os.listdir(folder)):
            path = upload(key)
            with contextlib.suppress(OSError):
                if os.stat(path or os.path.join(folder, key)).st_mtime < time.time() - STALE_S:
                    remove_upload(path or os.path.join(folder, key, "."))
