"""How many requests an egress sent when, over the last three hours: a count for each 20 s, and for each 5 minutes.

Kept as bytes, newest first, as they lie in the record; a slot is two bytes and stops counting at 65,535.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

FINE_S, FINE = 20, 24
COARSE_S, COARSE = 300, 36
_FULL = 0xFFFF
_SLOT = struct.Struct("<H")
_FINE, _COARSE = struct.Struct(f"<{FINE}H"), struct.Struct(f"<{COARSE}H")


class Volume(NamedTuple):
    """`slot`: the number of the newest 20 s, counted from the clock's 0."""

    slot: int = 0
    fine: bytes = bytes(2 * FINE)
    coarse: bytes = bytes(2 * COARSE)


EMPTY = Volume()


def counted(volume: Volume, now: float, requests: int = 1) -> Volume:
    """With so many more requests at this time."""
    slot = max(int(now // FINE_S), volume.slot)
    fine = _shifted(volume.fine, slot - volume.slot)
    per_coarse = COARSE_S // FINE_S
    coarse = _shifted(volume.coarse, slot // per_coarse - volume.slot // per_coarse)
    return Volume(slot, _increased(fine, requests), _increased(coarse, requests))


def added(volumes: Sequence[Volume]) -> Volume:
    """What several sent, as if one had."""
    slot = max(volume.slot for volume in volumes)
    newest = [counted(volume, slot * FINE_S, 0) for volume in volumes]
    fine = [_FINE.unpack(volume.fine) for volume in newest]
    coarse = [_COARSE.unpack(volume.coarse) for volume in newest]
    return Volume(slot, _FINE.pack(*_sums(fine)), _COARSE.pack(*_sums(coarse)))


def sent_since(volume: Volume, at: float) -> Iterator[tuple[float, int]]:
    """(how long ago a slot began as of `at`, how many were sent since), from short to long."""
    total = 0
    for number, count in enumerate(_FINE.unpack(volume.fine)):
        total += count
        span = at - (volume.slot - number) * FINE_S
        if span > 0:
            yield span, total
    total, newest = 0, volume.slot * FINE_S // COARSE_S
    for number, count in enumerate(_COARSE.unpack(volume.coarse)):
        total += count
        span = at - (newest - number) * COARSE_S
        if span > FINE * FINE_S:
            yield span, total


def sent_within(volume: Volume, at: float, window_s: float) -> float:
    """How many were sent within so long before `at`, taken as even within a slot."""
    span_before, sent_before = 0.0, 0
    for span, sent in sent_since(volume, at):
        if span >= window_s:
            share = (window_s - span_before) / (span - span_before)
            return sent_before + share * (sent - sent_before)
        span_before, sent_before = span, sent
    return float(sent_before)


def _sums(rows: Sequence[tuple[int, ...]]) -> list[int]:
    return [min(sum(column), _FULL) for column in zip(*rows, strict=True)]


def _shifted(slots: bytes, by: int) -> bytes:
    return slots if by == 0 else (bytes(2 * min(by, len(slots) // 2)) + slots)[: len(slots)]


def _increased(slots: bytes, by: int) -> bytes:
    newest: int = _SLOT.unpack_from(slots)[0]
    return _SLOT.pack(min(newest + by, _FULL)) + slots[2:]
