"""Publishing: the record and the renderings of each video get their names together, or none does.

Files are named by id alone, `dQ/dQw4w9WgXcQ.json`. They are written to `.engine-tmp/<worker>/` first, on the same
file system (`engine.output.temporary`). What this queue did not write is neither replaced nor removed
(`engine.output.ownership`). Without the queue's marker (`engine.queue.marker`) nothing is written: then it is another
directory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from engine.errors import UsageError
from engine.model import Record
from engine.output.folding import TMP
from engine.output.formats import RECORD, SUFFIXES, render, to_json
from engine.output.ownership import NOBODY, Ownership, is_ours, sha256
from engine.output.stored import sha256 as stored_sha256
from engine.output.temporary import OWNER, remove_worker_output, sweep
from engine.queue import marker
from engine.queue.dead_workers import RemoveOutput
from engine.queue.job_state import ChunkState
from engine.queue.segments import Chunk
from engine.storage import disk
from engine.storage.fsyncs import Fsyncs
from engine.storage.locks import Lock

__all__ = [
    "OWNER",
    "TMP",
    "Output",
    "TakenError",
    "any_file_there",
    "intact",
    "linked",
    "output_remover",
    "relative",
]
__all__ += ["remove_output", "sha256", "sweep"]

_TIMES = 3
_SWEEPER_S = 5.0  # a process that sweeps may hold the lock of a directory without an owner for this long
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_FILE_MODE = 0o644
_DIR_MODE = 0o755


def relative(video_id: str, extension: str) -> str:
    """A file's path within the output directory. `video_id` is 11 characters of A-Z a-z 0-9 _ -."""
    return f"{video_id[:2]}/{video_id}.{extension}"


def linked(path: str) -> UsageError:
    return UsageError(f"{path} is a symbolic link: output is never written through one; remove it")


class TakenError(Exception):
    """A file that this queue did not write has the name of one that was to be published. `path` is relative."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Output:
    """One worker's access to the output directory. `publish` and `remove` are thread-safe.

    `batch` is the queue's id: records carry it. With `replace` files of others are overwritten.
    """

    def __init__(
        self, root: str, formats: tuple[str, ...], worker_id: str, batch: str = "", *, replace: bool = False
    ) -> None:
        self.root = root
        self.formats = formats
        self.batch = batch
        self._replace = replace
        self._marker = marker.path_of(root, batch)
        self._tmp = os.path.join(root, TMP, worker_id)
        self._owner = Lock(os.path.join(self._tmp, OWNER))
        if os.path.islink(os.path.join(root, TMP)):
            raise linked(os.path.join(root, TMP))
        self._begin()
        self._touched: set[str] = set()
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._fsyncs = Fsyncs()

    def _begin(self) -> None:
        """Make the temporary directory and lock it. Until it is locked, a run that ends may sweep it away.

        The output directory itself is not made here: one that is gone by now was removed or is not mounted.
        """
        for time_left in reversed(range(_TIMES)):
            marker.check(self.root, self.batch)
            try:
                for path in (os.path.dirname(self._tmp), self._tmp):
                    disk.ensure_dir(path, mode=0o777)
                if self._owner.take(wait_s=_SWEEPER_S, note={}) and self._owner.in_place:
                    return
                self._owner.release()
            except FileNotFoundError:
                if not time_left:
                    raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._tmp)

    def publish(
        self, record: Record, rows: tuple[Mapping[str, Any], ...] = (), chunk: Chunk | None = None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Write the record and its renderings, each durable before it has its name, the record first.

        `rows` are the job's rows in its journal so far: with their files it may be overwritten. Returns ({format:
        relative path}, {format: sha256}). The names are durable after the next `sync`. Raises TakenError, and
        leaves nothing new, when one of the names belongs to a file that this queue did not write; DiskError when
        the directory is not ours (any more).
        """
        if not os.path.lexists(self._marker):
            marker.check(self.root, self.batch)
        video_id = record.video_id
        directory = os.path.join(self.root, video_id[:2])
        made = disk.ensure_dir(directory, mode=_DIR_MODE)
        if not made and os.path.islink(directory):
            raise linked(directory)
        if not made and not os.path.isdir(directory):
            raise TakenError(video_id[:2])  # somebody's file, where our directory would be
        contents = {RECORD: to_json(record), **{name: render(record, name) for name in self.formats}}
        files = {extension: f"{video_id[:2]}/{video_id}.{extension}" for extension in contents}
        paths = {extension: os.path.join(self.root, path) for extension, path in files.items()}
        there = [extension for extension in contents if os.path.lexists(paths[extension])]
        if there:
            self._check_replaceable(video_id, there, Ownership(self.batch, rows, self.formats))
        try:
            disk.publish_all(
                [(paths[extension], data) for extension, data in contents.items()],
                tmp_dir=self._tmp,
                mode=_FILE_MODE,
                over=[paths[extension] for extension in there],
                sync_names=self.sync_names,
            )
        except FileExistsError as exc:
            raise TakenError(os.path.relpath(str(exc.filename), self.root)) from None
        if not os.path.lexists(self._marker):  # what was mounted may have gone while we wrote
            marker.check(self.root, self.batch)
        self.touch(video_id)
        return files, {extension: hashlib.sha256(data).hexdigest() for extension, data in contents.items()}

    def _check_replaceable(self, video_id: str, there: list[str], ownership: Ownership) -> None:
        """Raise TakenError when one of these files, which are there, may not be replaced."""
        for extension in there:
            path = relative(video_id, extension)
            full = os.path.join(self.root, path)
            replace = self._replace and (os.path.islink(full) or not os.path.isdir(full))
            if not replace and not is_ours(self.root, video_id, extension, ownership):
                raise TakenError(path)

    def remove(self, video_id: str, rows: tuple[Mapping[str, Any], ...] = ()) -> None:
        """Remove what a job of ours that is not `ok` may have left. `rows` as in `publish`."""
        remove_output(self.root, video_id, Ownership(self.batch, rows, self.formats), self.sync_names)

    def open_chunk(self, chunk: Chunk, state: ChunkState) -> None:
        """Nothing: no file is a chunk's."""

    def close_chunk(self, chunk: Chunk) -> None:
        """Nothing."""

    def touch(self, video_id: str, files: Mapping[str, str] | None = None) -> None:
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

    def touched(self) -> Collection[str]:
        """The directories whose names are not durable yet; the caller must `sync` them."""
        with self._lock:
            touched, self._touched = self._touched, set()
        return touched

    def sync(self, touched: Collection[str]) -> None:
        for name in sorted(touched):
            self.sync_names(os.path.join(self.root, name) if name else self.root)

    def sync_names(self, path: str) -> None:
        """Make a directory's names durable; after a failed fsync nobody tries again."""
        self._fsyncs.sync_dir(path)

    def close(self) -> None:
        """Remove this worker's temporary directory."""
        with contextlib.suppress(OSError):
            remove_worker_output(self._tmp)
        self._owner.release()


def remove_output(
    root: str,
    video_id: str,
    ownership: Ownership = NOBODY,
    sync_names: Callable[[str], None] = disk.sync_dir,
) -> None:
    """Remove what this queue wrote for a job that is not `ok`; what others wrote stays.

    Nothing is removed through a symbolic link, nor for what is no id. The record goes last, and durably so: it is
    what the other files are known by.
    """
    directory = os.path.join(root, video_id[:2])
    if not _ID.fullmatch(video_id) or os.path.islink(directory):
        return
    mine = [extension for extension in SUFFIXES if is_ours(root, video_id, extension, ownership)]
    others = [extension for extension in mine if extension != RECORD]
    for extension in others:
        disk.unlink_quietly(os.path.join(root, relative(video_id, extension)))
    if RECORD in mine:
        if others:
            sync_names(directory)
        disk.unlink_quietly(os.path.join(root, relative(video_id, RECORD)))


def any_file_there(root: str, video_id: str) -> bool:
    """Whether any file lies under the names of a video, whoever wrote it."""
    return any(os.path.lexists(os.path.join(root, relative(video_id, extension))) for extension in SUFFIXES)


def output_remover(
    root: str, batch: str, formats: tuple[str, ...], sync_names: Callable[[str], None] = disk.sync_dir
) -> RemoveOutput:
    """`remove_output` for what the dead workers of a queue had in flight."""
    return lambda video_id, rows, since: remove_output(
        root, video_id, Ownership(batch, rows, formats, since), sync_names
    )


def intact(root: str, row: Mapping[str, Any]) -> bool:
    """Whether what a row names is there with the right sha256."""
    files, sums = row.get("files"), row.get("sha256")
    if not isinstance(files, dict) or not isinstance(sums, dict):
        return False
    # A sum that is missing must not equal that of a file that is.
    return bool(files) and all(
        isinstance(path, str) and stored_sha256(root, path) == sums.get(fmt, "")
        for fmt, path in files.items()
    )
