"""Shards: files of `--store shards`, which hold the records of many videos, each as a zstd frame of its own.

    shards/000000.zst   first a skippable frame that says whose it is, then a frame a record; one file a chunk
    shards/index        which frame is whose (`engine.output.shard_index`)

A row names its record by place, `shards/000000.zst#87+8123`: the offset and the length of its frame, in bytes. A
frame that no row names counts as absent. Any zstd program unpacks a shard to JSON lines. Only the owner of the chunk
writes its shard (`engine.output.shard_output`); this module reads.
"""

from __future__ import annotations

import os
import re
import struct
from typing import NamedTuple, Self

from engine.output.ownership import MAX_RECORD_BYTES
from engine.queue.segments import Chunk
from engine.storage import disk, zstd

DIR = "shards"
A_SEGMENT = 10_000  # numbers a segment has; it holds 6,250 chunks at most
_PLACE = re.compile(r"shards/([0-9]{6,17})\.zst#([0-9]{1,15})\+([0-9]{1,10})")
_NAME = re.compile(r"([0-9]{6,17})\.zst")
_SKIPPABLE = 0x184D2A50  # RFC 8878: the first of the magic numbers of frames that programs pass over
_HEAD = struct.Struct("<II")  # magic number, bytes that follow


class Frame(NamedTuple):
    """Where a frame lies: the number of its shard, the offset and the length in bytes."""

    shard: int
    offset: int
    length: int

    @classmethod
    def parse(cls, place: str) -> Self | None:
        """The frame that a row names; None when this is no place in a shard."""
        found = _PLACE.fullmatch(place)
        frame = cls(*map(int, found.groups())) if found else None
        return frame if frame is not None and str(frame) == place else None

    @property
    def end(self) -> int:
        return self.offset + self.length

    def __str__(self) -> str:
        return f"{DIR}/{self.shard:06d}.zst#{self.offset}+{self.length}"


def number_of(chunk: Chunk) -> int:
    """The number of a chunk's shard. A segment's number is never used twice, so neither is this."""
    return chunk.segment * A_SEGMENT + chunk.k


def path_of(root: str, shard: int) -> str:
    return os.path.join(root, DIR, f"{shard:06d}.zst")


def numbers(root: str) -> list[int]:
    """The shards that lie in an output directory, in order."""
    try:
        names = os.listdir(os.path.join(root, DIR))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def header(batch: str) -> bytes:
    """How a shard of the batch with this id begins."""
    return skippable(f'{{"engine": "shard", "version": 1, "batch": "{batch}"}}\n'.encode())


def skippable(data: bytes) -> bytes:
    """A frame that zstd programs pass over."""
    return skippable_head(_HEAD.size + len(data)) + data


def skippable_head(length: int) -> bytes:
    """How a skippable frame begins that is so long in all."""
    return _HEAD.pack(_SKIPPABLE, length - _HEAD.size)


def begins_as_ours(start: bytes, size: int, batch: str) -> bool:
    """Whether a file of `size` bytes that begins with `start` is a shard of this batch.

    Also one whose header was cut off or left blank by a crash: nothing was written behind it then.
    """
    wanted = header(batch)
    if start[: len(wanted)] == wanted:
        return True
    return size <= len(wanted) and all(byte in (0, want) for byte, want in zip(start, wanted, strict=False))


def read_frame(root: str, frame: Frame) -> bytes | None:
    """What a frame holds; None when it cannot be read."""
    if frame.length > MAX_RECORD_BYTES:
        return None
    data = disk.read_part(path_of(root, frame.shard), frame.offset, frame.length)
    return zstd.decompress(data, MAX_RECORD_BYTES) if data is not None else None
