"""Which ids the queue, or a list, holds already: 8 bytes each, as sorted arrays.

An id's 11 characters carry 66 bits, but the last one only 4 of its 6 in every id that YouTube gives out; those
ids are numbers of 64 bits. Any other id is kept as text, so that two spellings never fall together. The arrays
are kept in `ids/` beside the segments as a cache and made again from them when missing, of the wrong length or
not what its sum says (the first word of the `.odd` file). Those of large segments have sums of their blocks beside
them (`.sums`), so that a few ids can be looked up without reading all.
"""

from __future__ import annotations

import os
import struct
import zlib

# It would start a thread a core, and take memory for each, for sums that we never ask of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.queue.directory import Queue
from engine.queue.segments import read_ids
from engine.storage import disk

INDEXED_IDS = 4096  # from so many on a cache has sums of its blocks
BLOCK_IDS = 512
LOOKS = 20
ODD, SUMS = ".odd", ".sums"
_HEAD = struct.Struct("<IQQ")
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
    """The ids of all published segments; `read_only` leaves the caches as they are.

    With `lazy` a cache is read whole when so many ids are asked for that it pays; for a few, the blocks where they
    would stand are, each against its sum. So one more id costs little, however many there are.
    """

    def __init__(self, queue: Queue, *, read_only: bool = False, lazy: bool = False) -> None:
        super().__init__()
        self._queue = queue
        self._read_only = read_only
        self._unread: dict[int, int] = {}  # jobs of the segments whose caches were not read whole
        for _ in range(LOOKS):
            segments = queue.segments()
            try:
                for segment in segments:
                    self._meet(segment, lazy=lazy)
                return
            except UsageError:
                if queue.segments() == segments:
                    raise
                super().__init__()  # no lock, and a segment was gathered into another meanwhile
                self._unread.clear()

    def _meet(self, segment: int, *, lazy: bool) -> None:
        jobs = self._queue.header(segment).jobs
        if lazy and jobs >= INDEXED_IDS:
            self._unread[segment] = jobs
        else:
            self._load(segment, jobs)

    def new(self, ids: list[str]) -> list[str]:
        left = super().new(ids)
        for segment, jobs in list(self._unread.items()):
            found = None
            if len(left) <= jobs // BLOCK_IDS // 4:
                found = _looked_up(self._queue.ids(segment), jobs, left)
            if found is None:
                del self._unread[segment]
                self._load(segment, jobs, renew=True)
                found = set(left).difference(super().new(left))
            left = [video_id for video_id in left if video_id not in found]
        return left

    def _load(self, segment: int, jobs: int, *, renew: bool = False) -> None:
        path = self._queue.ids(segment)
        try:
            array = np.fromfile(path, np.uint64)
            with open(path + ODD, encoding="ascii") as file:
                total, *odd = file.read().split() or [""]
        except (OSError, ValueError):
            total, array, odd = "", np.empty(0, np.uint64), []
        if total == _sum(array, odd) and len(array) + len(odd) == jobs:
            self._hold(array, odd)
            if jobs >= INDEXED_IDS and renew and not self._read_only:
                _publish(self._queue, segment, array, odd)
            return
        ids = list(read_ids(self._queue.segment(segment)))
        if self._read_only:
            self.hold(ids)
        else:
            self.add(segment, ids)

    def add(self, segment: int, ids: list[str]) -> None:
        """Hold the ids of a segment, and write its cache."""
        self._hold(*write_cache(self._queue, segment, ids))


# ---- a segment's cache ------------------------------------------------------------------------------------
def write_cache(queue: Queue, segment: int, ids: list[str]) -> tuple[Numbers, list[str]]:
    """Write the cache of a segment's ids; returns what it holds: numbers in order, and the other ids."""
    array, odd = _sorted(ids)
    _publish(queue, segment, array, odd)
    return array, odd


def remove_cache(queue: Queue, segment: int) -> None:
    for end in ("", ODD, SUMS):
        disk.unlink_quietly(queue.ids(segment) + end)


def _publish(queue: Queue, segment: int, array: Numbers, odd: list[str]) -> None:
    path = queue.ids(segment)
    words = "".join(f"{word}\n" for word in (_sum(array, odd), *odd)).encode()
    contents = [(path, array.tobytes()), (path + ODD, words)]
    if len(array) + len(odd) >= INDEXED_IDS:
        contents.append((path + SUMS, _index(array, words, len(array) + len(odd))))
    # Durable before they have their names: a cache that a power cut left blank would let ids in twice.
    disk.publish_all(contents, tmp_dir=queue.tmp)


def _index(array: Numbers, words: bytes, jobs: int) -> bytes:
    """What the blocks of a cache begin with, and their sums: one can be read, and believed, without the others.

    A CRC-32 of all that follows; CRC-32 of the `.odd` file; how many numbers, how many jobs (64 bits); the first
    number of each block; the CRC-32 of each block. Little endian.
    """
    blocks = [array[at : at + BLOCK_IDS] for at in range(0, len(array), BLOCK_IDS)]
    sums = np.array([zlib.crc32(block.tobytes()) for block in blocks], "<u4")
    rest = _HEAD.pack(zlib.crc32(words), len(array), jobs) + array[::BLOCK_IDS].tobytes() + sums.tobytes()
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def _looked_up(path: str, jobs: int, ids: list[str]) -> set[str] | None:
    """Which of these ids a segment's cache holds; None when what would be relied on is not as it was written."""
    try:
        with open(path + SUMS, "rb", buffering=0) as file:
            data = file.read()
        total, rest = int.from_bytes(data[:4], "little"), data[4:]
        odd_sum, count, known_jobs = _HEAD.unpack_from(rest)
        if total != zlib.crc32(rest) or known_jobs != jobs:
            return None
        blocks = -(-count // BLOCK_IDS)
        firsts = np.frombuffer(rest, np.uint64, blocks, _HEAD.size)
        sums = np.frombuffer(rest, "<u4", blocks, _HEAD.size + 8 * blocks)
        packed, plain = numbers(ids)
        found: set[str] = set()
        with open(path, "rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != 8 * count:
                return None
            for at in np.flatnonzero(plain):
                block = int(np.searchsorted(firsts, packed[at], side="right")) - 1
                if block < 0:
                    continue
                piece = os.pread(file.fileno(), 8 * BLOCK_IDS, 8 * BLOCK_IDS * block)
                if zlib.crc32(piece) != sums[block]:
                    return None
                if packed[at] in np.frombuffer(piece, np.uint64):
                    found.add(ids[at])
        if not plain.all():
            with open(path + ODD, "rb", buffering=0) as file:
                words = file.read()
            if zlib.crc32(words) != odd_sum:
                return None
            found |= set(words.decode("ascii").split()[1:]).intersection(ids)
    except (OSError, ValueError, struct.error):
        return None
    return found


def _sorted(ids: list[str]) -> tuple[Numbers, list[str]]:
    """The numbers of ids in order, and the ids that no number stands for."""
    packed, plain = numbers(ids)
    return np.sort(packed[plain]), [ids[i] for i in np.flatnonzero(~plain)]
