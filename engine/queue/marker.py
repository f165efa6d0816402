"""The marker that a queue leaves in its output directory: `.engine-batches/<id>`, one a queue.

It says that this directory, and no other at this path, holds the queue's transcripts: a directory that was removed or
replaced, or whose disk is not mounted, has none. It notes which directory the queue was (path and inode), so that a
copy of the queue is told from the queue; and which directory the output was, so that copies of both together (a
project copied as a whole) are told from a copied queue that would write into the original's output.

Device numbers are not noted, because they change when the machine restarts. A directory is the noted one when its
inode is the same and, if its path differs, nothing of the same kind is left at the noted path. Some file systems make
up inode numbers at each mount; there the path alone decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import DiskError
from engine.queue.directory import Queue
from engine.queue.mounts import file_system
from engine.storage import disk

DIR = ".engine-batches"
_ID = re.compile(r"[0-9a-f]{16,64}")
_UNSTABLE_INODES = frozenset({"vfat", "msdos", "exfat", "fuse", "fuseblk", "ntfs"})
_FILE_MODE, _DIR_MODE = 0o644, 0o755


@dataclass(frozen=True, slots=True)
class Note:
    """What a marker says. An unknown path is empty, an unknown inode None."""

    id: str
    queue: str = ""
    queue_inode: int | None = None
    output: str = ""
    output_inode: int | None = None

    @classmethod
    def of(cls, batch: str, queue: str, output: str) -> Note:
        """The note about these directories as they are now."""
        return cls(batch, os.path.realpath(queue), _inode(queue), os.path.realpath(output), _inode(output))


# ---- the id of a queue ----------------------------------------------------------------------------------
def new_id() -> str:
    return os.urandom(16).hex()


def id_of(batch: dict[str, Any]) -> str:
    """The id in `batch.json`; empty when there is none, or one that could not name a file."""
    value = batch.get("id")
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def formats_of(batch: dict[str, Any]) -> tuple[str, ...]:
    """The formats in `batch.json` that the queue writes beside each record."""
    frozen = batch.get("frozen")
    value = frozen.get("formats") if isinstance(frozen, dict) else None
    return tuple(map(str, value)) if isinstance(value, list) else ()


def store_of(batch: dict[str, Any]) -> str:
    """How the queue stores its records, by `batch.json`: `files` or `shards`."""
    frozen = batch.get("frozen")
    return str(frozen.get("store") or "files") if isinstance(frozen, dict) else "files"


# ---- where the output is --------------------------------------------------------------------------------
def output_of(queue: Queue) -> str | None:
    """The absolute path of the queue's output directory; None before the first run.

    A relative path beside or below the queue is kept relative to the queue, so a project that is moved or copied as a
    whole keeps its output. When only the queue was moved, its marker is in the directory of the absolute path.
    Raises UsageError when `batch.json` cannot be read.
    """
    batch = queue.read_batch()
    frozen = batch.get("frozen")
    if not isinstance(frozen, dict) or not isinstance(frozen.get("output"), str):
        return None
    absolute, inside = frozen["output"], frozen.get("output_relative")
    if not isinstance(inside, str) or not inside or os.path.isabs(inside) or "\0" in inside + absolute:
        return str(absolute)
    there = os.path.normpath(os.path.join(os.path.realpath(queue.root), inside))
    if there == os.path.realpath(absolute):
        return str(absolute)
    batch_id = id_of(batch)
    if batch_id and read(there, batch_id) is None:
        note = read(absolute, batch_id)
        if note is not None and is_queue_of(note, queue):
            return str(absolute)
    return there


def relative_to(queue: Queue, output: str) -> str | None:
    """The path of an output directory relative to the queue, when it lies beside or below it; else None."""
    root, there = os.path.realpath(queue.root), os.path.realpath(output)
    beside = os.path.dirname(root)
    lies_there = beside != os.sep and os.path.commonpath((beside, there)) == beside
    return os.path.relpath(there, root) if lies_there else None


# ---- the marker itself ----------------------------------------------------------------------------------
def path_of(output: str, batch: str) -> str:
    return os.path.join(output, DIR, batch)


def check(output: str, batch: str) -> None:
    """Raise DiskError when the queue's marker is not in this directory. Cheap: one `lstat`."""
    if batch and not os.path.lexists(path_of(output, batch)):
        raise DiskError(
            f"the output directory {output} is gone, or is another one (there is no {DIR}/{batch} in it any more): "
            "bring it back or mount it, then run again: it goes on where it was"
        )


def read(output: str, batch: str) -> Note | None:
    """What the marker of this queue says; None without one. An unreadable one gives a note without paths."""
    try:
        fd = os.open(path_of(output, batch), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Note(batch)
    try:
        with open(fd, "rb") as file:
            value = json.loads(file.read(1 << 16))
        known = {name: value[name] for name in Note.__dataclass_fields__}
        for name, kind in (("queue", str), ("output", str), ("queue_inode", int), ("output_inode", int)):
            if not isinstance(known[name], kind) and not (kind is int and known[name] is None):
                return Note(batch)
        return Note(**{**known, "id": batch})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Note(batch)


def write(output: str, note: Note) -> None:
    """Write the marker, durably. The caller holds run.lock; raises OSError when the disk fails."""
    directory = os.path.join(output, DIR)
    if disk.ensure_dir(directory, mode=_DIR_MODE):
        disk.sync_dir(output)
    for name in leftovers(output, note.id):
        disk.unlink_quietly(os.path.join(directory, name))
    data = json.dumps({"schema_version": 1, **asdict(note)}).encode() + b"\n"
    disk.publish_durably(path_of(output, note.id), data, mode=_FILE_MODE)
    disk.sync_dir(output)  # the directory may have been made by a run that died before this


def has_others(output: str, batch: str) -> bool:
    """Whether a queue other than this one has, or had, this output directory."""
    try:
        return any(_ID.fullmatch(name) and name != batch for name in os.listdir(os.path.join(output, DIR)))
    except OSError:
        return False


def remove(output: str, batch: str) -> None:
    """Remove this queue's marker from a directory that is no longer its output."""
    directory = os.path.join(output, DIR)
    for name in (*leftovers(output, batch), batch):
        disk.unlink_quietly(os.path.join(directory, name))
    with contextlib.suppress(OSError):  # other queues have markers there
        disk.rmdir(directory)


def leftovers(output: str, batch: str) -> list[str]:
    """The names of temporary files that a killed process left while it wrote the marker."""
    temporary = re.compile(rf"\.{re.escape(batch)}\.[0-9a-f]{{8}}\.tmp")
    try:
        return [name for name in os.listdir(os.path.join(output, DIR)) if temporary.fullmatch(name)]
    except OSError:
        return []


# ---- whose it is ----------------------------------------------------------------------------------------
def belongs(note: Note, queue: Queue, output: str) -> bool:
    """Whether this output is this queue's, by its marker: the queue is the noted one, or both are copies."""
    if not note.queue or is_queue_of(note, queue):
        return True

    def marked(path: str) -> bool:
        return os.path.lexists(path_of(path, note.id))

    return not _same(output, note.output, note.output_inode, marked)


def is_queue_of(note: Note, queue: Queue) -> bool:
    """Whether this queue is the directory that the marker names."""
    return _same(queue.root, note.queue, note.queue_inode, lambda path: is_of(path, note.id))


def is_of(path: str, batch: str) -> bool:
    """Whether the queue of this id, or a copy of it, lies at this path."""
    try:
        return id_of(Queue(path).read_batch()) == batch
    except Exception:  # noqa: BLE001 - whatever lies there is not that queue
        return False


def _same(path: str, noted: str, inode: int | None, alike: Callable[[str], bool]) -> bool:
    """Whether a directory is the noted one. `alike` says whether what lies at the noted path could be it."""
    here = _inode(path)
    if inode is not None and here is not None and inode != here:
        return False
    if os.path.realpath(path) == noted:
        return True
    with contextlib.suppress(OSError):
        if os.path.samefile(path, noted):  # under another name, as through a bind mount
            return True
    # The noted directory may still be there, and this one be a snapshot of it with the same inode numbers.
    return not (alike(noted) and (inode is None or _inode(noted) in (None, inode)))


def _inode(path: str) -> int | None:
    try:
        number = os.stat(path).st_ino
    except OSError:
        return None
    kind = file_system(path)
    return None if kind in _UNSTABLE_INODES or kind.startswith("fuse.") else number
