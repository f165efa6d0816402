"""What an egress has learnt about its limit: the part of its record that only the rate controller reads.

It has a version of its own and 216 bytes at the end of the record. Bytes of another version are nothing learnt: an
older engine leaves zeros there, and passes over what it finds.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

LEARNT_BYTES = 216
VERSION = 1

_FIELDS = struct.Struct("<BxHfI")


class Learnt(NamedTuple):
    """See the module's text. Times are the controller's seconds (`BudgetSettings.pace`)."""

    refusals: int = 0  # of the block under way, or the last one
    block_s: float = 0.0  # how long the last block took; 0: none is known
    passed: int = 0  # requests that passed in this phase


NOTHING = Learnt()


def pack_learnt(learnt: Learnt) -> bytes:
    """The bytes of it, `LEARNT_BYTES` of them."""
    data = _FIELDS.pack(VERSION, min(learnt.refusals, 0xFFFF), learnt.block_s, min(learnt.passed, 0xFFFFFFFF))
    return data.ljust(LEARNT_BYTES, b"\0")


def unpack_learnt(data: bytes) -> Learnt:
    """What these bytes say; `NOTHING` when they are of another version or cannot be."""
    version, refusals, block_s, passed = _FIELDS.unpack_from(data)
    if version != VERSION or not (math.isfinite(block_s) and block_s >= 0):
        return NOTHING
    return Learnt(refusals, block_s, passed)
