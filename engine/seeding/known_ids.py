"""The ids that the user has already (`--skip-known`), kept in the queue so that later listings skip them too.

`known.u64` is one file, replaced completely under seed.lock. It only grows. An id that is given by name is added all
the same.
"""

from __future__ import annotations

import os
import zlib

from engine.errors import UsageError
from engine.queue.directory import Queue
from engine.queue.id_index import IdSet
from engine.storage import disk

HEADER_BYTES = 64
_NAME = "known"


class KnownIds:
    """The known ids of a queue, read again only when the file has changed."""

    def __init__(self, queue: Queue) -> None:
        self._path = queue.known
        self._seen: tuple[int, int, int] | None = None
        self._ids: IdSet | None = None

    def ids(self) -> IdSet | None:
        """The known ids, None without any. Raises UsageError when they cannot be read."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._seen = self._ids = None
            return None
        except OSError as exc:
            raise _damaged(self._path, exc.strerror or str(exc)) from None
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen != self._seen:
            self._ids = _read(self._path)
            self._seen = seen
        return self._ids


def add_known_ids(queue: Queue, ids: IdSet) -> None:
    """Add these ids to the known ones, durably. The caller holds seed.lock. Raises OSError, UsageError."""
    merged = KnownIds(queue).ids() or IdSet()
    before = sum(map(len, merged.packed()))
    merged.update(ids)
    numbers, odd = merged.packed()
    if len(numbers) + len(odd) == before:
        disk.sync_dir(queue.root)  # whoever named the file may have died before that
        return
    body = numbers + "".join(f"{name}\n" for name in odd).encode("ascii")
    head = f"{_NAME} {len(numbers) // 8} {len(odd)} {zlib.crc32(body):08x}".ljust(HEADER_BYTES - 1) + "\n"
    disk.publish_durably(queue.known, head.encode("ascii") + body, tmp_dir=queue.tmp)


def _read(path: str) -> IdSet:
    try:
        with open(path, "rb") as file:
            data = file.read()
        name, count, odd_count, total = data[:HEADER_BYTES].decode("ascii").split()
        body, ends = data[HEADER_BYTES:], 8 * int(count)
        if name != _NAME or f"{zlib.crc32(body):08x}" != total:
            raise ValueError("it is not what its checksum says")
        odd = body[ends:].decode("ascii").split()
        if len(body) < ends or len(odd) != int(odd_count):
            raise ValueError("it is not as long as it says")
    except (OSError, ValueError) as exc:
        raise _damaged(path, str(exc)) from None
    return IdSet.from_packed(body[:ends], odd)


def _damaged(path: str, why: str) -> UsageError:
    return UsageError(
        f"{path} cannot be read ({why}): bring it back from a copy, or remove it and give --skip-known again"
    )
