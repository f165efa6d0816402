"""Zstandard, by the standard library from 3.14 on, before that by `backports.zstd`, which is the same module."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 9  # a record of 30 KB takes under a millisecond, and higher levels gain a percent or two


def compress(data: bytes) -> bytes:
    """One frame that holds these bytes. It can be read by itself and checks what it decompresses to."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return zstd.compress(data, options=options)


def decompress(frame: bytes, max_bytes: int) -> bytes | None:
    """What a frame holds; None when it is damaged, not exactly one frame, or holds more than `max_bytes`."""
    reader = zstd.ZstdDecompressor()
    try:
        data = reader.decompress(frame, max_bytes)
    except (zstd.ZstdError, MemoryError):
        return None
    return data if reader.eof and not reader.unused_data else None
