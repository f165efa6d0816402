"""The budget file's bytes: a header and one fixed-size record an egress.

    offset 0            header, 512 bytes
    offset 512*(i+1)    record i, 512 bytes

Both end in a CRC-32 of what is before it and are written by one `pwrite` that lies within a page. Times are
CLOCK_MONOTONIC seconds of the boot that the header names, but for those that say wall.
"""

from __future__ import annotations

import hashlib
import math
import struct
from enum import IntEnum
from typing import NamedTuple
from urllib.parse import urlsplit
from zlib import crc32

from engine.budget.learnt import NOTHING, Learnt, pack_learnt, unpack_learnt
from engine.model import EgressSpec

MAGIC = b"EBUDGET\n"
VERSION = 2
RECORD_BYTES = 512
MAX_EGRESSES = 1024
LABEL_BYTES = 64

_CRC = struct.Struct("<I")
_BODY = RECORD_BYTES - _CRC.size
_HEADER = struct.Struct("<8sHH4x16s476x")
# What an earlier engine kept at 32 and 40 of the header, and at 88, 208 and 228 of a record, is passed over;
# `asked_at` may be anything in what it wrote, `subnet` too (TOGETHER tells), the last two fields are 0 there.
_RECORD = struct.Struct("<Q64sBBBBHHII4xIdddddffffddfIQQQQ12xdQ4xdIddIIdd216s")
assert _HEADER.size == _BODY and _RECORD.size == _BODY  # noqa: S101 - the format, checked at import


class State(IntEnum):
    """Whether requests may leave by an egress."""

    CLOSED = 0  # they may (the words are those of a circuit breaker)
    OPEN = 1  # not before `open_until`
    HALF_OPEN = 2  # one probe is out
    RETIRED = 3  # never again in this run


class Why(IntEnum):
    """Why an egress is not closed."""

    NONE = 0
    BLOCK = 1
    NETWORK = 2
    DEAD = 3


class Phase(IntEnum):
    """What the rate of an egress does while all is well."""

    FIXED = 0  # stays: at the run's ceiling, or no pacing
    START = 1  # doubles each minute until the first block
    INCREASE = 2  # back to `top`
    HOLD = 3  # stays at `top` for `hold_s`
    RAISE = 4  # above `top`, step by step


class EgressState(NamedTuple):
    """One egress as all processes see it. The order of the fields is that of the record."""

    key: int  # of scheme, host, port and user; 53 bits, so that any JSON reader keeps it
    label: bytes  # what people see, ASCII
    state: int
    why: int
    phase: int
    step: int  # of RAISE
    flags: int
    fails: int  # probes refused in a row, counting the first block
    epoch: int  # of the permits that still count
    opened_epoch: int  # the epoch that the last opening began: older permits were sent before it
    holder: int  # native id of the thread that holds the probe
    tat: float  # the next free slot (theoretical arrival time of GCRA)
    interval: float  # seconds between slots, 0 without pacing
    configured: float  # what the run's --rate said: the interval, 0 for none, -1 for auto
    open_until: (
        float  # when the next may probe: the cool-down's end, or the deadline of the probe that is out
    )
    open_until_wall: float  # the same by the wall clock, for after a reboot
    top: float  # the rate it believes in, per second
    base: float  # the last rate that was clean above `top`
    hold_s: float
    phase_s: float  # how long the phase has been in use, without idle times
    ticked_at: float
    resumed_at: float
    measured: float  # requests per second of late, known without pacing only
    metered: int  # requests granted since `ticked_at`
    requests: int
    body_bytes: int
    ok: int
    blocked: int
    trouble_since: float  # 0: no trouble
    subnet: (
        int  # the key of the record whose rate holds for this egress, with TOGETHER (`engine.budget.subnets`)
    )
    asked_at: float  # since when an answer is awaited; 0: nothing is under way
    refused_job: int  # hash of the job that was refused first in this incident
    ok_at: float  # the last success
    opened_at: float  # the last opening: a block, a lost network, or a probe of no avail
    away: int  # how often in a row it was retired for a while
    losses: int  # attempts in a row that were lost on the way, since the last success
    shown_at: float  # when the latest attempt that was shown captions began; 0: never
    confirm_after: float  # the next confirming fetch may begin then, by whoever takes the lease first
    learnt: Learnt = NOTHING

    def awaited_since(self, now: float) -> float:
        """Since when an answer by this egress is awaited, by whichever process; 0 when none is."""
        return (
            self.asked_at if 0.0 < self.asked_at <= now else 0.0
        )  # nor is what an earlier engine left there

    @property
    def rate_per_s(self) -> float:
        """The rate now; infinite without pacing."""
        return 1.0 / self.interval if self.interval > 0 else math.inf


LISTED = 1  # flags: belongs to the run that uses the file
EVER_BLOCKED = 2  # flags: the limit has been felt once
WAIT_ASKED = 4  # flags: the server asked for a longer wait than ours
AWAY = 8  # flags: open for long, because its connections fail while those of others work
CONFIRMED = 16  # flags: the incident under way is the egress's own, and not one job's
TOGETHER = 32  # flags: an egress that shares a limit with others, and learns with them
SUBNET = 64  # flags: no egress, but what those share


def event(before: EgressState, after: EgressState, now: float) -> tuple[str, float]:
    """What happened to an egress that has another state now, and in how many seconds it is tried again.

    `block`, `network_lost`, `probe`, `resume`, `network_back`, or `retired` (0 s: never in this run).
    """
    network = (after.why or before.why) == Why.NETWORK
    if after.state == State.OPEN:
        word = "retired" if after.away > before.away else "network_lost" if network else "block"
        return word, after.open_until - now
    if after.state == State.CLOSED:
        return "network_back" if network else "resume", 0.0
    return "probe" if after.state == State.HALF_OPEN else "retired", 0.0


class Header(NamedTuple):
    """What belongs to all egresses."""

    egresses: int  # records in use, from the first on
    boot_id: bytes  # 16 bytes; monotonic times of another boot mean nothing


def pack(state: EgressState) -> bytes:
    """The record of a state, 512 bytes."""
    body = _RECORD.pack(*state[:-1], pack_learnt(state.learnt))
    return body + _CRC.pack(crc32(body))


def unpack(record: bytes) -> EgressState | None:
    """The state in a record, or None when it is damaged."""
    if len(record) != RECORD_BYTES or crc32(record[:_BODY]) != _CRC.unpack_from(record, _BODY)[0]:
        return None
    state = EgressState._make(_RECORD.unpack_from(record))
    state = state._replace(
        learnt=unpack_learnt(state.learnt),  # type: ignore[arg-type] # its bytes so far
        subnet=state.subnet if state.flags & TOGETHER else 0,
    )
    return state if state.key else None


def salvage(record: bytes, key: int) -> EgressState | None:
    """A damaged record of which key and counters still look right: only those are to be used."""
    if len(record) != RECORD_BYTES:
        return None
    state = EgressState._make(_RECORD.unpack_from(record))
    plausible = (
        state.key == key
        and state.ok + state.blocked <= state.requests < 1 << 40
        and state.body_bytes < 1 << 50
    )
    return state if plausible else None


def pack_header(header: Header) -> bytes:
    """The file's first 512 bytes."""
    body = _HEADER.pack(MAGIC, VERSION, header.egresses, header.boot_id)
    return body + _CRC.pack(crc32(body))


def unpack_header(data: bytes) -> Header | None:
    """The header, or None when it is damaged or of another format."""
    if len(data) != RECORD_BYTES or crc32(data[:_BODY]) != _CRC.unpack_from(data, _BODY)[0]:
        return None
    magic, version, egresses, boot_id = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or egresses > MAX_EGRESSES:
        return None
    return Header(egresses, boot_id)


def offset(index: int) -> int:
    """Where record `index` lies."""
    return RECORD_BYTES * (index + 1)


def egress_key(spec: EgressSpec) -> int:
    """The same for the same way out, whatever its password or place in the list; never 0."""
    text = "direct"
    if spec.proxy_url is not None:
        try:
            parts = urlsplit(spec.proxy_url)
            text = f"{parts.scheme}\n{parts.hostname}\n{parts.port}\n{parts.username}"
        except ValueError:  # a port that is no number: whoever connects will say so
            text = f"name\n{spec.name}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") & ((1 << 53) - 1)) or 1


def egress_label(spec: EgressSpec) -> bytes:
    """The name people see, as it fits into the record."""
    return spec.name.encode("ascii", "replace")[:LABEL_BYTES]


def job_hash(job: str) -> int:
    """32 bits of a job's name, never 0."""
    return crc32(job.encode("utf-8", "surrogatepass")) or 1
