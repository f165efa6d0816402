"""Decides whether this queue wrote a file in the output directory. It replaces and removes no others.

A file is ours when a row of the video in our journal names it with the sha256 that it has, or when it is, or lies
beside, a record (`dQ/dQw4w9WgXcQ.json`) that carries our batch's id, in a format that this queue writes. The record
takes its name first and loses it last, so what a killed process leaves always lies beside one. A record from before
there were ids is ours as well when the video was in flight in a process of ours that died, and it was fetched since
that process began.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.output.formats import RECORD
from engine.storage.timestamps import seconds

ANOTHER_QUEUE = "was written by another queue"
"""In the message of a job that ended `kept` because of such a file."""
MAX_RECORD_BYTES = 256 << 20  # a larger file is no record of ours: an answer is cut off at 32 MiB

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ownership:
    """The evidence that files of a video are this queue's: its batch's id, the rows in its journal, the formats that
    it writes beside the record, and (for a video that was in flight in a process that died) since when that process
    ran, in seconds since 1970."""

    batch: str
    rows: tuple[Row, ...] = ()
    formats: tuple[str, ...] = ()
    since: float | None = None


NOBODY = Ownership("")


def is_ours(root: str, video_id: str, extension: str, ownership: Ownership) -> bool:
    """Whether this queue wrote the file of this video and format. A link or a directory is nobody's."""
    path = os.path.join(root, video_id[:2], f"{video_id}.{extension}")
    if not _is_file(path):
        return False
    if _named(path, extension, ownership.rows):
        return True
    return extension in (RECORD, *ownership.formats) and _beside_ours(root, video_id, ownership)


def another_queue_wrote(root: str, video_id: str, batch: str) -> bool:
    """Whether the record there is this video's, and carries the id of another queue."""
    data = _read(os.path.join(root, video_id[:2], f"{video_id}.{RECORD}"))
    value = _parsed(data) if data is not None else None
    if value is None or value.get("video_id") != video_id:
        return False
    return isinstance(value.get("batch"), str) and value["batch"] not in ("", batch)


def _named(path: str, extension: str, rows: Iterable[Row]) -> bool:
    wanted = {row["sha256"].get(extension) for row in rows if isinstance(row.get("sha256"), Mapping)} - {None}
    return bool(wanted) and sha256(path) in wanted


def _beside_ours(root: str, video_id: str, ownership: Ownership) -> bool:
    path = os.path.join(root, video_id[:2], f"{video_id}.{RECORD}")
    data = _read(path)
    if data is None:
        return False
    value = _parsed(data)
    if value is None:  # damaged, but what it carries may still be told
        signs = (f'"video_id":"{video_id}"', f'"batch":"{ownership.batch}"')
        return bool(ownership.batch) and all(sign.encode() in data for sign in signs)
    if value.get("video_id") != video_id:  # where names are folded, another video's may lie under this name
        return False
    if "batch" in value:
        return bool(ownership.batch) and value["batch"] == ownership.batch
    if _named(path, RECORD, ownership.rows):
        return True
    fetched_at = seconds(value.get("fetched_at"))
    return ownership.since is not None and fetched_at is not None and fetched_at >= ownership.since


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def sha256(path: str) -> str | None:
    """A regular file's sha256 in hex, or None when there is none to read."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _read(path: str) -> bytes | None:
    """A regular file's bytes; None when there is none to read, or one that is too large for a record."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            about = os.fstat(fd)
            if stat.S_ISREG(about.st_mode) and about.st_size <= MAX_RECORD_BYTES:
                return file.read()
    return None


def _parsed(data: bytes) -> dict[str, Any] | None:
    """The JSON object in these bytes; None when there is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
