"""A new file for libraries that write a few bytes at a time: it is appended to, and never read or sought in."""

from __future__ import annotations

import os
from typing import Any

from engine.storage import disk

_MODE = 0o644
_WRITE_BYTES = 1 << 20


class AppendStream:
    """What `pyarrow` and `zipfile` write goes to the disk in large pieces. Its methods raise DiskError."""

    def __init__(self, path: str) -> None:
        self._fd = disk.open_append(path, _MODE)
        self._waiting = bytearray()
        self._at = 0

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._waiting += view
        self._at += view.nbytes
        if len(self._waiting) >= _WRITE_BYTES:
            self._write()
        return view.nbytes

    def _write(self) -> None:
        disk.write_all(self._fd, bytes(self._waiting))
        self._waiting.clear()

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing: what is held back is written at the end."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing: the library calls this before the file is durable."""

    def finish(self) -> None:
        """Write what is held back and make the file durable."""
        self._write()
        disk.sync_fd(self._fd)
        self.let_go()

    def let_go(self) -> None:
        """Close it as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
