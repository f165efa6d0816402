"""The index of the shards, `shards/index`: which frame holds the record of which video.

    {"engine": "shard index", "version": 1, "batch": "fd7e77cf812038e92203f738384e5368"}
    dQw4w9WgXcQ shards/000000.zst#87+8123 2b1c9a04
    dQw4w9WgXcQ - 8f31e7c2

The last line of a video counts, and `-` takes it out. Each line ends in the CRC-32 of what stands before it. A line
that does not match counts as missing. Worker processes append to it under a lock of the directory, and before the
`synced` that covers the rows. Rows do not need the index: it answers for who has only an id, and can be made again.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator

from engine.errors import UsageError
from engine.output import shards
from engine.storage import disk
from engine.storage.append_file import AppendFile
from engine.storage.flock import try_lock

INDEX = "index"
GONE = "-"
_FILE_MODE = 0o644
_HEAD_BYTES = 4096
_LINE = re.compile(rb"([A-Za-z0-9_-]{11}) (\S+) ([0-9a-f]{8})")


def path_of(root: str) -> str:
    return os.path.join(root, shards.DIR, INDEX)


def line(video_id: str, place: str) -> bytes:
    text = f"{video_id} {place}".encode("ascii")
    return b"%b %08x\n" % (text, zlib.crc32(text))


def head(batch: str) -> bytes:
    return json.dumps({"engine": "shard index", "version": 1, "batch": batch}).encode() + b"\n"


def _parse(data: bytes) -> tuple[str, str] | None:
    """(id, place) of a line without its newline; None when it is damaged."""
    found = _LINE.fullmatch(data)
    if found is None or int(found[3], 16) != zlib.crc32(data[:-9]):
        return None
    return found[1].decode(), found[2].decode("ascii", "replace")


def batch_of(root: str) -> str | None:
    """Whose the shards in an output directory are, by their index; None when that does not tell."""
    try:
        with open(path_of(root), "rb") as file:
            value = json.loads(file.readline(_HEAD_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    batch = value.get("batch") if isinstance(value, dict) else None
    return batch if isinstance(batch, str) and batch else None


def refuse_others(root: str, batch: str) -> None:
    """Raise UsageError when the shards in this directory are another queue's: both would write the same names."""
    found = batch_of(root)
    if found not in (None, batch):
        raise UsageError(
            f"{os.path.join(root, shards.DIR)} holds the shards of another queue (its id is {found}): give this one "
            "a directory of its own with -o",
            path=root,
        )


def find(root: str, video_id: str) -> str | None:
    """The place of a video's record; None when the index has none."""
    wanted = b"\n%b " % video_id.encode("ascii")
    with contextlib.suppress(OSError, ValueError), open(path_of(root), "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = len(data)
            while (at := data.rfind(wanted, 0, end)) >= 0:
                stop = data.find(b"\n", at + 1)
                found = _parse(data[at + 1 : stop]) if stop >= 0 else None
                if found is not None:
                    return None if found[1] == GONE else found[1]
                end = at
    return None


def entries(root: str, shard: int) -> Iterator[tuple[str, str]]:
    """(id, place) of each good line about a shard, oldest first."""
    wanted = f" {shards.DIR}/{shard:06d}.zst#".encode("ascii")
    with contextlib.suppress(OSError, ValueError), open(path_of(root), "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = 0
            while (at := data.find(wanted, at)) >= 0 and (stop := data.find(b"\n", at)) >= 0:
                if (found := _parse(data[data.rfind(b"\n", 0, at) + 1 : stop])) is not None:
                    yield found
                at = stop


def every_entry(root: str) -> Iterator[tuple[str, str]]:
    """(id, place) of each good line, oldest first."""
    with contextlib.suppress(FileNotFoundError), open(path_of(root), "rb") as file:
        for each in file:
            if (found := _parse(each.rstrip(b"\n"))) is not None:
                yield found


def append(
    root: str,
    batch: str,
    lines: Iterable[bytes],
    sync_names: Callable[[str], None] = disk.sync_dir,
    *,
    sync_name: bool = False,
) -> None:
    """Append lines, durably; with `sync_name` the file's name, too, by `sync_names`. Other processes wait.

    A torn last line of a dead process is cut off. An empty line comes first: after a failed fsync the lines before
    may be blank on the disk, without an end.
    """
    directory = os.path.join(root, shards.DIR)
    with _turn(directory):
        file = AppendFile(path_of(root), mode=_FILE_MODE)
        try:
            made = not file.size
            file.append((head(batch) if made else b"\n") + b"".join(lines))
            file.sync()
        finally:
            file.close()
        if made or sync_name:
            sync_names(directory)


def replace(root: str, batch: str, found: Iterable[tuple[str, str]]) -> None:
    """Write the index anew, durably. No worker may live."""
    data = head(batch) + b"".join(line(video_id, place) for video_id, place in found)
    disk.publish_durably(path_of(root), data, mode=_FILE_MODE)


@contextlib.contextmanager
def _turn(directory: str) -> Iterator[None]:
    """Hold the lock of a directory, which leaves no file behind."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not try_lock(fd):
            time.sleep(0.002)
        yield
    finally:
        os.close(fd)
