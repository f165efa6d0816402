"""Which ids the queue, or a list, holds already: 8 bytes each, as sorted arrays.

An id's 11 characters carry 66 bits, but the last one only 4 of its 6 in every id that YouTube gives out; those
ids are numbers of 64 bits. Any other id is kept as text, so that two spellings never fall together. The arrays
are kept in `ids/` beside the segments as a cache and made again from them when missing, of the wrong length or
not what its sum says (the first word of the `.odd` file).
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from engine import durable
from engine.queue.chunk import read_ids
from engine.queue.layout import Queue

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_VALUE = np.full(256, 255, np.uint8)
_VALUE[np.frombuffer(_ALPHABET, np.uint8)] = np.arange(64, dtype=np.uint8)
_WEIGHTS = np.array([1 << (6 * (10 - i) - 2) for i in range(10)], np.uint64)

Numbers = npt.NDArray[np.uint64]


def numbers(ids: list[str]) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """(number of each id, which ids a number stands for). The others' numbers mean nothing."""
    raw = np.frombuffer("".join(ids).encode("ascii"), np.uint8).reshape(len(ids), 11)
    values = _VALUE[raw]
    last = values[:, 10]
    plain = (last & 3) == 0
    packed = (values[:, :10].astype(np.uint64) * _WEIGHTS).sum(axis=1, dtype=np.uint64)
    return packed | (last >> 2).astype(np.uint64), plain


def _sum(array: Numbers, odd: list[str]) -> str:
    """What tells a cache from a damaged one, which would let ids in twice."""
    return f"{zlib.crc32(' '.join(odd).encode(), zlib.crc32(array.tobytes())):08x}"


class Ids:
    """A set of ids."""

    def __init__(self) -> None:
        self._arrays: list[Numbers] = []
        self._odd: set[str] = set()

    @classmethod
    def unpacked(cls, packed: bytes, odd: list[str]) -> Ids:
        """The set that `packed` was made of."""
        ids = Ids()
        ids._hold(np.frombuffer(packed, "<u8").astype(np.uint64), odd)
        return ids

    def packed(self) -> tuple[bytes, list[str]]:
        """The numbers of all ids held, 8 bytes each, in order and each once; and the ids without a number."""
        array = np.unique(np.concatenate(self._arrays)) if self._arrays else np.empty(0, np.uint64)
        return array.astype("<u8").tobytes(), sorted(self._odd)

    def hold_all(self, other: Ids) -> None:
        """Hold what another set holds."""
        for array in other._arrays:
            self._hold(array, [])
        self._odd |= other._odd

    def new(self, ids: list[str]) -> list[str]:
        """Those of these ids (no two alike) that are not held, in order."""
        packed, plain = numbers(ids)
        held = np.zeros(len(ids), bool)
        for array in self._arrays:
            at = np.searchsorted(array, packed)
            at[at == len(array)] = 0
            held |= array[at] == packed
        held &= plain
        for i in np.flatnonzero(~plain):
            held[i] = ids[i] in self._odd
        return [ids[i] for i in np.flatnonzero(~held)]

    def hold(self, ids: list[str]) -> None:
        """Hold these ids too; cheapest for many at once."""
        self._hold(*_sorted(ids))

    def _hold(self, array: Numbers, odd: list[str]) -> None:
        """Keep few arrays, each at least twice the next: a look-up then costs little, and so does adding."""
        self._odd.update(odd)
        if not len(array):
            return
        self._arrays.append(array)
        while len(self._arrays) > 1 and len(self._arrays[-2]) < 2 * len(self._arrays[-1]):
            last, before = self._arrays.pop(), self._arrays.pop()
            merged = np.concatenate([before, last])
            merged.sort(kind="stable")
            self._arrays.append(merged)


class Known(Ids):
    """The ids of all published segments; `read_only` leaves the caches as they are."""

    def __init__(self, queue: Queue, *, read_only: bool = False) -> None:
        super().__init__()
        self._queue = queue
        for segment in queue.segments():
            self._load(segment, read_only=read_only)

    def _load(self, segment: int, *, read_only: bool) -> None:
        header = self._queue.header(segment)
        try:
            array = np.fromfile(self._queue.ids(segment), np.uint64)
            with open(self._queue.ids(segment) + ".odd", encoding="ascii") as file:
                total, *odd = file.read().split() or [""]
        except (OSError, ValueError):
            total, array, odd = "", np.empty(0, np.uint64), []
        if total == _sum(array, odd) and len(array) + len(odd) == header.jobs:
            self._hold(array, odd)
            return
        ids = list(read_ids(self._queue.segment(segment)))
        if read_only:
            self.hold(ids)
        else:
            self.add(segment, ids)

    def add(self, segment: int, ids: list[str]) -> None:
        """Hold the ids of a segment, and write its cache."""
        array, odd = _sorted(ids)
        path = self._queue.ids(segment)
        # Durable before they have their names: a cache that a power cut left blank would let ids in twice.
        durable.publish(path, array.tobytes(), tmp_dir=self._queue.tmp)
        durable.publish(
            path + ".odd",
            "".join(f"{word}\n" for word in (_sum(array, odd), *odd)).encode(),
            tmp_dir=self._queue.tmp,
        )
        self._hold(array, odd)


def _sorted(ids: list[str]) -> tuple[Numbers, list[str]]:
    """The numbers of ids in order, and the ids that no number stands for."""
    packed, plain = numbers(ids)
    return np.sort(packed[plain]), [ids[i] for i in np.flatnonzero(~plain)]
