"""The order in which videos came into the queue: a file of numbers beside a table that is being made.

Segments hold the jobs as they were given, and later ones come behind. Small segments are joined now and then, which
moves them behind larger ones but leaves the order of a list as it is: sorted by these numbers, its videos stand as
they stood in it.
"""

from __future__ import annotations

import mmap
import os
from base64 import urlsafe_b64decode
from bisect import bisect_left

from engine.queue.directory import Queue
from engine.storage import disk

COLUMN = "input_order"
_ENTRY_BYTES = 12  # a number of 8 that stands for an id, and its place of 4


def write_order(queue: Queue, path: str) -> None:
    """Write the places of all videos, from 1, by their ids' numbers. Without a list that can be read it is empty."""
    from engine.queue.id_order import id_order  # numpy, which processes that work on slices do without

    fd = disk.open_append(path, 0o600)
    try:
        disk.write_all(fd, id_order(queue))
    finally:
        os.close(fd)


class InputOrder:
    """The places in such a file, looked up where they lie."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
        count = size // _ENTRY_BYTES
        self._keys, self._places = data[: 8 * count].cast("Q"), data[8 * count :].cast("I")

    def of(self, video_id: str) -> int | None:
        """The place of a video; None for one that is in no segment."""
        try:
            key = int.from_bytes(urlsafe_b64decode(f"{video_id}="), "big")
        except ValueError:
            return None
        at = bisect_left(self._keys, key)
        return self._places[at] if at < len(self._keys) and self._keys[at] == key else None
