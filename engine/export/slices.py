"""The manifest in slices, the units of work: some lines each, always the same ones, so an export can be repeated."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from engine.errors import UsageError
from engine.queue.directory import Queue
from engine.queue.manifest import read_checkpoint

LINES = 128


class ManifestSlices:
    """The manifest as it is now, as far as its checkpoint says that it counts. It may be read several times."""

    def __init__(self, queue: Queue) -> None:
        checkpoint = read_checkpoint(queue)
        self._length = checkpoint.length if checkpoint else 0
        self.rows = checkpoint.counts.final if checkpoint else 0
        try:
            self._file = open(queue.manifest, "rb") if self._length else None
        except FileNotFoundError:
            self._file = None
        if self._file is not None and os.fstat(self._file.fileno()).st_size < self._length:
            raise UsageError(f"{queue.manifest} is shorter than it should be: `engine run` derives it again")

    def __iter__(self) -> Iterator[bytes]:
        if self._file is None:
            return
        self._file.seek(0)
        left = self._length
        while left > 0 and (lines := list(itertools.islice(self._file, LINES))):
            data = b"".join(lines)[:left]
            left -= len(data)
            yield data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
