"""The output directory: record and renderings of each video, published whole or not at all.

Files are named by id alone, `dQ/dQw4w9WgXcQ.json`. Temporary files lie in `.engine-tmp/<worker>/` beside them
(same file system), so that what a dead worker left is removed as a whole. A file there says whose it is, and its
worker keeps it locked: queues may share an output directory, also out of several containers, and no run removes what
another one's worker has in hand.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import threading
from collections.abc import Mapping
from typing import Any

from engine import durable, processes
from engine.errors import UsageError
from engine.model import Record
from engine.queue.lock import Lock, living_holder, read_note
from engine.queue.names import is_worker
from engine.queue.sweeping import OWNER, remove_if_empty, remove_worker_output
from engine.render import FORMATS, render
from engine.render.record import to_json

TMP = ".engine-tmp"
_TIMES = 3
_SWEEPER_S = 5.0  # how long one who sweeps may hold the lock of a directory that he found without an owner
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_PATH = re.compile(r"([A-Za-z0-9_-]{2})/\1[A-Za-z0-9_-]{9}\.[a-z]+")
_EXTENSIONS = ("json", *FORMATS)
_FILE_MODE = 0o644
_DIR_MODE = 0o755


def relative(video_id: str, extension: str) -> str:
    """A file's path within the output directory. `video_id` is 11 characters of A-Z a-z 0-9 _ -."""
    return f"{video_id[:2]}/{video_id}.{extension}"


def _is_id(video_id: str) -> bool:
    return _ID.fullmatch(video_id) is not None


def _linked(path: str) -> UsageError:
    return UsageError(f"{path} is a symbolic link: output is never written through one; remove it")


class Output:
    """One worker's door to the output directory. `publish` and `forget` are thread-safe."""

    def __init__(self, root: str, formats: tuple[str, ...], worker_id: str) -> None:
        self.root = root
        self.formats = formats
        self._tmp = os.path.join(root, TMP, worker_id)
        self._owner = Lock(os.path.join(self._tmp, OWNER))
        if os.path.islink(os.path.join(root, TMP)):
            raise _linked(os.path.join(root, TMP))
        self._begin()
        self._touched: set[str] = set()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def _begin(self) -> None:
        """Make the temporary directory and lock it. Until it is locked, a run that ends may sweep it away."""
        for time_left in reversed(range(_TIMES)):
            try:
                os.makedirs(self._tmp, exist_ok=True)
                if self._owner.take(wait_s=_SWEEPER_S, note={}) and self._owner.in_place:
                    return
                self._owner.release()
            except FileNotFoundError:
                if not time_left:
                    raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._tmp)

    def publish(self, record: Record) -> tuple[dict[str, str], dict[str, str]]:
        """Write the record and its renderings, each durable before it has its name.

        Returns ({format: relative path}, {format: sha256}). The names are durable after the next `sync`.
        """
        self._make_dir(record.video_id[:2])
        contents = {
            extension: to_json(record) if extension == "json" else render(record, extension)
            for extension in ("json", *self.formats)
        }
        files = {extension: relative(record.video_id, extension) for extension in contents}
        durable.publish_all(
            [(os.path.join(self.root, path), contents[extension]) for extension, path in files.items()],
            tmp_dir=self._tmp,
            mode=_FILE_MODE,
        )
        sums = {extension: hashlib.sha256(data).hexdigest() for extension, data in contents.items()}
        self.touch(record.video_id)
        return files, sums

    def touch(self, video_id: str) -> None:
        """Have the names of a job's files made durable by the next `sync`.

        Also for files that another process published: nobody knows whether it came to sync their names. The
        same holds for a directory's own name, so the root is synced with the first use of each directory,
        whoever made it.
        """
        name = video_id[:2]
        with self._lock:
            if name not in self._known:
                self._known.add(name)
                self._touched.add("")
            self._touched.add(name)

    def _make_dir(self, name: str) -> None:
        path = os.path.join(self.root, name)
        if not durable.ensure_dir(path, mode=_DIR_MODE) and os.path.islink(path):
            raise _linked(path)

    def touched(self) -> set[str]:
        """The directories whose names are not durable yet; the caller must `sync` them."""
        with self._lock:
            touched, self._touched = self._touched, set()
        return touched

    def sync(self, touched: set[str]) -> None:
        for name in sorted(touched):
            durable.sync_dir(os.path.join(self.root, name) if name else self.root)

    def close(self) -> None:
        """Remove this worker's temporary directory."""
        with contextlib.suppress(OSError):
            remove_worker_output(self._tmp)
        self._owner.release()


def forget(root: str, video_id: str) -> None:
    """Remove what a job that is not `ok` may have left. Nothing is removed through a symbolic link, nor for what
    is no id."""
    if not _is_id(video_id) or os.path.islink(os.path.join(root, video_id[:2])):
        return
    for extension in _EXTENSIONS:
        durable.unlink_quietly(os.path.join(root, relative(video_id, extension)))


def sweep(root: str) -> None:
    """Remove temporary files, only while no worker of this queue lives; those of living workers of others stay, and
    what no engine put there."""
    tmp = os.path.join(root, TMP)
    with contextlib.suppress(OSError):
        for name in filter(is_worker, _entries(tmp)):
            _sweep_one(os.path.join(tmp, name))
        if not os.path.islink(tmp):
            remove_if_empty(tmp)


def _sweep_one(path: str) -> None:
    """Remove a worker's temporary directory, unless the worker lives. Locked meanwhile: it may be about to begin."""
    owner = Lock(os.path.join(path, OWNER))
    if processes.is_this(read_note(owner.path)):  # of a lap that failed in this very process
        remove_worker_output(path)
        return
    with contextlib.suppress(OSError):
        if not living_holder(owner.path) and owner.take():
            with owner:
                remove_worker_output(path)


def _entries(path: str) -> list[str]:
    try:
        return [] if os.path.islink(path) else os.listdir(path)
    except OSError:
        return []


def intact(root: str, row: Mapping[str, Any]) -> bool:
    """Whether the files a row names are there with the right sha256."""
    files, sums = row.get("files"), row.get("sha256")
    if not isinstance(files, dict) or not isinstance(sums, dict):
        return False
    # A sum that is missing must not equal that of a file that is.
    return bool(files) and all(
        isinstance(path, str)
        and _PATH.fullmatch(path) is not None
        and sha256(os.path.join(root, path)) == sums.get(fmt, "")
        for fmt, path in files.items()
    )


def sha256(path: str) -> str | None:
    """A regular file's sha256 in hex, or None when there is none to read."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return None
