"""The cache of a segment's ids in `ids/`: numbers of 8 bytes in order, and the few other ids as text.

The 11 characters of an id carry 66 bits, but in every id that YouTube gives out the last two are 0: those ids are
numbers of 64 bits. Any other id is kept as text (`.odd`), so that two spellings never become one. The first word of
the `.odd` file is the checksum of both. A large cache has checksums of its blocks beside it (`.sums`), so that a few
ids can be looked up without reading all.
"""

from __future__ import annotations

import os
import struct
import zlib

# Otherwise numpy starts a thread for each core, with memory, for work that we never give it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

from engine.queue.directory import Queue
from engine.storage import disk

INDEXED_IDS = 4096  # caches of at least so many ids have checksums of their blocks
BLOCK_IDS = 512
ODD, SUMS = ".odd", ".sums"
_HEAD = struct.Struct("<IQQ")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_VALUE = np.full(256, 255, np.uint8)
_VALUE[np.frombuffer(_ALPHABET, np.uint8)] = np.arange(64, dtype=np.uint8)
_WEIGHTS = np.array([1 << (6 * (10 - i) - 2) for i in range(10)], np.uint64)

Numbers = npt.NDArray[np.uint64]


def numbers(ids: list[str]) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """(the number of each id, whether the id has one). Numbers of ids that have none mean nothing."""
    raw = np.frombuffer("".join(ids).encode("ascii"), np.uint8).reshape(len(ids), 11)
    values = _VALUE[raw]
    last = values[:, 10]
    plain = (last & 3) == 0
    packed = (values[:, :10].astype(np.uint64) * _WEIGHTS).sum(axis=1, dtype=np.uint64)
    return packed | (last >> 2).astype(np.uint64), plain


def sorted_numbers(ids: list[str]) -> tuple[Numbers, list[str]]:
    """(the numbers of these ids in order, the ids that have no number)"""
    packed, plain = numbers(ids)
    return np.sort(packed[plain]), [ids[i] for i in np.flatnonzero(~plain)]


def write_cache(queue: Queue, segment: int, ids: list[str]) -> tuple[Numbers, list[str]]:
    """Write the cache of a segment's ids; returns what it holds: numbers in order, and the other ids."""
    array, odd = sorted_numbers(ids)
    publish_cache(queue, segment, array, odd)
    return array, odd


def publish_cache(queue: Queue, segment: int, array: Numbers, odd: list[str]) -> None:
    path = queue.ids(segment)
    words = "".join(f"{word}\n" for word in (_checksum(array, odd), *odd)).encode()
    contents = [(path, array.tobytes()), (path + ODD, words)]
    if len(array) + len(odd) >= INDEXED_IDS:
        contents.append((path + SUMS, _block_index(array, words, len(array) + len(odd))))
    # Durable before they get their names: a cache that a power cut left blank would let ids in twice.
    disk.publish_all(contents, tmp_dir=queue.tmp)


def remove_cache(queue: Queue, segment: int) -> None:
    for end in ("", ODD, SUMS):
        disk.unlink_quietly(queue.ids(segment) + end)


def read_cache(queue: Queue, segment: int, jobs: int) -> tuple[Numbers, list[str]] | None:
    """What the cache of a segment of so many jobs holds; None when it is missing or damaged."""
    path = queue.ids(segment)
    try:
        array = np.fromfile(path, np.uint64)
        with open(path + ODD, encoding="ascii") as file:
            checksum, *odd = file.read().split() or [""]
    except (OSError, ValueError):
        return None
    intact = checksum == _checksum(array, odd) and len(array) + len(odd) == jobs
    return (array, odd) if intact else None


def look_up(path: str, jobs: int, ids: list[str]) -> set[str] | None:
    """Which of these ids a large cache holds, by reading only the blocks where they would be.

    None when a part that would be relied on is missing or damaged.
    """
    try:
        with open(path + SUMS, "rb", buffering=0) as file:
            data = file.read()
        checksum, rest = int.from_bytes(data[:4], "little"), data[4:]
        odd_checksum, count, known_jobs = _HEAD.unpack_from(rest)
        if checksum != zlib.crc32(rest) or known_jobs != jobs:
            return None
        blocks = -(-count // BLOCK_IDS)
        firsts = np.frombuffer(rest, np.uint64, blocks, _HEAD.size)
        checksums = np.frombuffer(rest, "<u4", blocks, _HEAD.size + 8 * blocks)
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
                if zlib.crc32(piece) != checksums[block]:
                    return None
                if packed[at] in np.frombuffer(piece, np.uint64):
                    found.add(ids[at])
        if not plain.all():
            with open(path + ODD, "rb", buffering=0) as file:
                words = file.read()
            if zlib.crc32(words) != odd_checksum:
                return None
            found |= set(words.decode("ascii").split()[1:]).intersection(ids)
    except (OSError, ValueError, struct.error):
        return None
    return found


def _checksum(array: Numbers, odd: list[str]) -> str:
    """Guards against a damaged cache, which would let ids in twice."""
    return f"{zlib.crc32(' '.join(odd).encode(), zlib.crc32(array.tobytes())):08x}"


def _block_index(array: Numbers, words: bytes, jobs: int) -> bytes:
    """The `.sums` file: the first number and the checksum of each block of a cache.

    Little endian: the CRC-32 of all that follows, the CRC-32 of the `.odd` file, how many numbers and how many jobs
    (64 bits), the first number of each block, the CRC-32 of each block.
    """
    blocks = [array[at : at + BLOCK_IDS] for at in range(0, len(array), BLOCK_IDS)]
    checksums = np.array([zlib.crc32(block.tobytes()) for block in blocks], "<u4")
    rest = (
        _HEAD.pack(zlib.crc32(words), len(array), jobs) + array[::BLOCK_IDS].tobytes() + checksums.tobytes()
    )
    return zlib.crc32(rest).to_bytes(4, "little") + rest
