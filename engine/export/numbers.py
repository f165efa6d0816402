"""Sorted 64-bit numbers, which stand for rows or names: 8 MB a million, looked up where they lie."""

from __future__ import annotations

import hashlib
import mmap
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable


def number_of(text: str) -> int:
    """A number that stands for a text: two texts share one once in many billions."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def row_number(row: dict[str, object]) -> int:
    """A number that stands for a row as it became final: after a retry the same video has another."""
    return number_of(f"{row.get('video_id')} {row.get('status')} {row.get('finished_at')}")


def sorted_bytes(numbers: Iterable[int] | array[int]) -> memoryview:
    """The numbers sorted, as the file holds them. An array is sorted where it lies: that takes no more memory."""
    import numpy as np  # slow to load, and most processes sort nothing

    every = numbers if isinstance(numbers, array) else array("Q", numbers)
    np.frombuffer(every, np.uint64).sort()
    return memoryview(every).cast("B")


def repeated(numbers: memoryview) -> frozenset[int]:
    """The numbers that come more than once in sorted ones."""
    every = numbers.cast("Q")
    return frozenset(every[at] for at in range(1, len(every)) if every[at] == every[at - 1])


class SortedNumbers:
    """Sorted numbers, to be looked up in."""

    def __init__(self, data: bytes | memoryview | mmap.mmap) -> None:
        self._numbers = memoryview(data).cast("Q")

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._numbers, number)
        return at < len(self._numbers) and self._numbers[at] == number

    def __len__(self) -> int:
        return len(self._numbers)


def read_numbers(path: str) -> SortedNumbers:
    """The numbers in a file, which stay there. Raises OSError, and ValueError for a file that was cut."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return SortedNumbers(b"")
        return SortedNumbers(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
