"""Taking out of the shards what no `ok` row names, and making their index again.

A frame keeps its place, because rows name it by that. So one that no row names becomes a skippable frame of the same
length, filled with zeros; what lies behind the last one is cut off; a shard without any is removed.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator

from engine.output import shard_index, shards
from engine.output.formats import RECORD
from engine.output.shards import Frame
from engine.storage import disk

_SHORTEST = 8  # a skippable frame's head; no real frame is as short
_BLOCK = 1 << 20


class ShardRepair:
    """The shards of one output directory. `rows` are those of all jobs that are `ok`; nobody writes meanwhile."""

    def __init__(self, root: str, batch: str, rows: Iterator[dict[str, object]]) -> None:
        self._root = root
        self._batch = batch
        self._named: dict[int, array[int]] = {}  # by shard: offset and length of each frame that a row names
        self._places: dict[str, str] = {}
        for row in rows:
            files = row.get("files")
            place = files.get(RECORD) if isinstance(files, dict) else None
            frame = Frame.parse(place) if isinstance(place, str) else None
            if frame is not None:
                self._named.setdefault(frame.shard, array("Q")).extend((frame.offset, frame.length))
                self._places[str(row["video_id"])] = str(frame)

    def run(self) -> Iterator[str]:
        """Do it; sentences that say what was done. Raises OSError when the disk fails; it can be done again."""
        size = sum(self._clean(shard) for shard in shards.numbers(self._root))
        if size:
            yield f"removed {size:,} byte(s) of superseded records from shards"
        if self._places and not self._index_is_right():
            disk.ensure_dir(os.path.join(self._root, shards.DIR), mode=0o755)
            shard_index.replace(self._root, self._batch, self._places.items())
            yield f"made {shards.DIR}/{shard_index.INDEX} again: {len(self._places):,} records"

    def _index_is_right(self) -> bool:
        if shard_index.batch_of(self._root) != self._batch:
            return False
        known = dict(shard_index.every_entry(self._root))
        return {name: place for name, place in known.items() if place != shard_index.GONE} == self._places

    def _clean(self, shard: int) -> int:
        """Take what no row names out of a shard of this queue; returns how many bytes that was."""
        path = shards.path_of(self._root, shard)
        if os.path.islink(path) or not os.path.isfile(path):
            return 0
        head = shards.header(self._batch)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(len(head))
        if not shards.begins_as_ours(start, size, self._batch):
            return 0
        named = self._named.get(shard)
        if named is None:
            disk.unlink(path)
            disk.sync_dir(os.path.dirname(path))
            return size
        pairs = sorted(zip(named[::2], named[1::2], strict=True))
        return self._rewrite(path, len(head), pairs, size)

    def _rewrite(self, path: str, at: int, pairs: list[tuple[int, int]], size: int) -> int:
        fd = disk.open_append(path, 0o644)
        count = 0
        try:
            for offset, length in pairs:
                if offset - at >= _SHORTEST and not _is_blank(fd, at, offset):
                    _blank(fd, at, offset)
                    count += offset - at
                at = max(at, offset + length)
            if at < size:
                disk.truncate(fd, at)
                count += size - at
            if count:
                disk.sync_fd(fd)
        finally:
            os.close(fd)
        return count


def _is_blank(fd: int, at: int, end: int) -> bool:
    """Whether an earlier repair has done it: one skippable frame fills the gap."""
    return os.pread(fd, _SHORTEST, at) == shards.skippable_head(end - at)


def _blank(fd: int, at: int, end: int) -> None:
    """Fill a gap with one skippable frame of zeros. The zeros come first: a crash then leaves it to be done again."""
    left = end - at - _SHORTEST
    place = at + _SHORTEST
    while left > 0:
        piece = min(left, _BLOCK)
        disk.pwrite(fd, bytes(piece), place)
        place, left = place + piece, left - piece
    disk.sync_fd(fd)
    disk.pwrite(fd, shards.skippable_head(end - at), at)
