"""A file that only grows, with one writer: journals, the manifest, rejects."""

from __future__ import annotations

import contextlib
import os

from engine.storage import disk


class AppendFile:
    """A file that only grows, with one writer.

    Opening truncates after the last newline before `length` (default: the file's size): otherwise the torn last line
    of a dead writer would swallow the next one. With `shared` the file may be somebody else's: nothing is truncated,
    and what is appended begins on a new line.
    """

    def __init__(
        self, path: str, *, length: int | None = None, mode: int = disk.PRIVATE_FILE, shared: bool = False
    ) -> None:
        self.path = path
        self._fd = disk.open_append(path, mode)
        try:
            size = os.fstat(self._fd).st_size
            kept = _last_line_end(self._fd, size if length is None else min(size, length))
            self._before = b"\n" if shared and kept < size else b""
            self.size = size if shared else kept
            if self.size < size:
                disk.truncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, data: bytes) -> None:
        """Append complete lines. On an error the file is truncated to what it was and the error is raised."""
        data = self._before + data
        try:
            disk.write_all(self._fd, data)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.truncate(self._fd, self.size)
                os.lseek(self._fd, self.size, os.SEEK_SET)
            raise
        self._before = b""
        self.size += len(data)

    def write_again(self, start: int) -> None:
        """Write everything after `start` again, byte for byte.

        A new writer relies on lines that an earlier one left without making them durable: perhaps its `fsync` failed.
        The kernel then marks the pages clean, and the next `fsync` reports success without writing them. Writing them
        again makes them dirty again.
        """
        data = bytearray()
        while piece := os.pread(self._fd, max(0, self.size - start - len(data)), start + len(data)):
            data += piece
        disk.pwrite(self._fd, bytes(data), start)

    def sync(self) -> None:
        disk.sync_fd(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _last_line_end(fd: int, size: int, block: int = 65536) -> int:
    """Offset after the last newline within the first `size` bytes (0 if there is none)."""
    end = size
    while end > 0:
        start = max(0, end - block)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
