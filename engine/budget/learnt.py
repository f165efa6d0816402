"""What an egress has learnt about its limit: the part of its record that only the rate controller reads.

It has a version of its own and 216 bytes at the end of the record. Bytes of another version are nothing learnt: an
older engine leaves zeros there, and passes over what it finds.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import NamedTuple

from engine.budget.limit_kinds import KINDS
from engine.budget.volume import COARSE, EMPTY, FINE, Volume

LEARNT_BYTES = 216
VERSION = 1
UNKNOWN = -1

_FIELDS = struct.Struct(f"<BbBBBBHfIHIfI{2 * FINE}s{2 * COARSE}s{KINDS}f")
assert _FIELDS.size <= LEARNT_BYTES  # noqa: S101 - the format, checked at import


class Learnt(NamedTuple):
    """See the module's text. Times are the controller's seconds (`BudgetSettings.pace`)."""

    kind: int = UNKNOWN  # of limit (`engine.budget.limit_kinds`)
    failed: int = 0  # looks above in a row that ended in a block
    passing: int = 0  # refusals in a row that were over at once, each soon after the one before
    noise: float = 0.0  # the share of passing refusals among the last ones
    chances: int = 0  # blocks in a row that were taken for chance
    refusals: int = 0  # of the block under way, or the last one
    block_s: float = 0.0  # how long the last block took; 0: none is known
    sent: int = 0  # requests in this phase
    evidence: int = 0  # requests between the two blocks by which the kind was told
    since: int = 0  # requests since the last block
    excess: float = 0.0  # requests sent above the rate that is known to be safe, since the look above began
    volume: Volume = EMPTY
    answers: tuple[float, ...] = ()  # what each kind of limit said at the last block


NOTHING = Learnt()


@lru_cache(maxsize=64)  # most requests change nothing of it
def pack_learnt(learnt: Learnt) -> bytes:
    """The bytes of it, `LEARNT_BYTES` of them."""
    data = _FIELDS.pack(
        VERSION,
        learnt.kind,
        min(learnt.failed, 0xFF),
        min(learnt.passing, 0xFF),
        round(0xFF * learnt.noise),
        min(learnt.chances, 0xFF),
        min(learnt.refusals, 0xFFFF),
        learnt.block_s,
        min(learnt.sent, 0xFFFFFFFF),
        min(learnt.evidence, 0xFFFF),
        min(learnt.since, 0xFFFFFFFF),
        learnt.excess,
        learnt.volume.slot & 0xFFFFFFFF,
        learnt.volume.fine,
        learnt.volume.coarse,
        *(learnt.answers or (0.0,) * KINDS),
    )
    return data.ljust(LEARNT_BYTES, b"\0")


def unpack_learnt(data: bytes) -> Learnt:
    """What these bytes say; `NOTHING` when they are of another version or cannot be."""
    version, *numbers = _FIELDS.unpack_from(data)
    kind, failed, passing, noise, chances, refusals, block_s, sent, evidence, since, excess = numbers[:11]
    volume, answers = Volume(*numbers[11:14]), tuple(numbers[14:])
    believable = all(math.isfinite(x) and x >= 0 for x in (block_s, excess, *answers))
    if version != VERSION or not believable or not UNKNOWN <= kind < KINDS:
        return NOTHING
    known = answers if all(answers) else ()
    return Learnt(
        kind,
        failed,
        passing,
        noise / 0xFF,
        chances,
        refusals,
        block_s,
        sent,
        evidence,
        since,
        excess,
        volume,
        known,
    )
