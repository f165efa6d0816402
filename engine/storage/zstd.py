"""Zstandard, by the standard library from 3.14 on, before that by `backports.zstd`, which is the same module."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# A record of 30 KB takes under a millisecond. The parser of the higher levels gains 2 to 5 % for three times that,
# and a run is then slower than one that writes files.
OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 9,
    zstd.CompressionParameter.checksum_flag: 1,
}


def compress(data: bytes) -> bytes:
    """One frame that holds these bytes. It can be read by itself and checks what it decompresses to."""
    return zstd.compress(data, options=OPTIONS)


def decompress(frame: bytes, max_bytes: int) -> bytes | None:
    """What a frame holds; None when it is damaged, not exactly one frame, or holds more than `max_bytes`."""
    reader = zstd.ZstdDecompressor()
    try:
        data = reader.decompress(frame, max_bytes)
    except (zstd.ZstdError, MemoryError):
        return None
    return data if reader.eof and not reader.unused_data else None
