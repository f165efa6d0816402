"""Videos that were queued before, whose columns in this input are others than those that the queue has."""

from __future__ import annotations

import zlib
from typing import Any

from engine.queue.directory import Queue
from engine.queue.segments import encode_job

MAX_IDS = 100_000
"""So many are compared; a list of more is told by its first ones."""
_ID_AT, _ID_END = len('{"id": "'), len('{"id": "dQw4w9WgXcQ')


class LeftColumns:
    """The videos of an input that the queue held already, with the checksums of what would have been their lines."""

    def __init__(self) -> None:
        self._lines: dict[bytes, int] = {}

    def add(self, video_id: str, columns: dict[str, Any]) -> None:
        """Note a video that is not added."""
        if columns and len(self._lines) < MAX_IDS:
            line = encode_job(video_id, columns).encode("utf-8", "replace")
            self._lines[video_id.encode("ascii")] = zlib.crc32(line)

    def count(self, queue: Queue) -> int:
        """How many of them have other columns in the queue, or none. The caller holds seed.lock."""
        if not self._lines:
            return 0
        found = 0
        for segment in queue.segments():
            with open(queue.segment(segment), "rb") as file:
                file.readline()
                for line in file:
                    wanted = self._lines.get(line[_ID_AT:_ID_END])
                    found += wanted is not None and wanted != zlib.crc32(line.rstrip(b"\n"))
        return found


def sentence(count: int) -> str:
    """What to tell a person."""
    were, their = ("1 was", "its") if count == 1 else (f"{count:,} were", "their")
    return (
        f"{were} already queued: {their} columns were not taken. A queue takes columns only with the first line of a "
        "video: seed this list into a new queue (-q NEW), or join it with the export by the id"
    )
