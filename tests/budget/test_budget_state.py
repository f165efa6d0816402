import math
import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.budget import BudgetSettings, parse_rate
from engine.budget.circuit_breaker import on_outcome
from engine.budget.learnt import NOTHING
from engine.budget.pacing import Grant, emptied, fresh, plausible, take
from engine.budget.settings import Outcome
from engine.budget.state import (
    LISTED,
    RECORD_BYTES,
    EgressState,
    Header,
    State,
    egress_key,
    egress_label,
    job_hash,
    pack,
    pack_header,
    salvage,
    unpack,
    unpack_header,
)
from engine.model import EgressSpec

SETTINGS = BudgetSettings(parse_rate("5"))
NOW, WALL = 5000.0, 1.7e9
U32, U8 = (st.integers(0, 2**bits - 1) for bits in (32, 8))
F64, F32 = st.floats(), st.floats(width=32)
COUNT = st.one_of(st.integers(0, 10**9), st.integers(1 << 60, (1 << 64) - 1))

STATES = st.builds(
    EgressState,
    key=st.integers(1, 2**53 - 1),
    label=st.binary(max_size=64),
    state=st.one_of(st.integers(0, 3), U8),
    why=st.one_of(st.integers(0, 3), U8),
    phase=st.one_of(st.integers(0, 4), U8),
    step=U8,
    flags=st.integers(0, 2**16 - 1),
    fails=st.integers(0, 2**16 - 1),
    epoch=U32,
    opened_epoch=U32,
    holder=U32,
    tat=st.one_of(st.floats(0, NOW), F64),
    interval=st.one_of(st.sampled_from([0.0, 0.2, 4.0]), F64),
    configured=st.one_of(st.sampled_from([0.2, 0.0, -1.0]), F64),
    open_until=st.one_of(st.floats(0, NOW + 100), F64),
    open_until_wall=st.one_of(st.floats(0, WALL + 100), F64),
    top=F32,
    base=F32,
    hold_s=F32,
    phase_s=F32,
    ticked_at=st.one_of(st.floats(0, NOW), F64),
    resumed_at=st.one_of(st.floats(0, NOW), F64),
    measured=F32,
    metered=st.integers(0, 2**31),
    requests=COUNT,
    body_bytes=COUNT,
    ok=COUNT,
    blocked=COUNT,
    trouble_since=st.one_of(st.just(0.0), st.floats(0, NOW), F64),
    asked_at=F64,
    refused_job=U32,
    ok_at=st.one_of(st.floats(0, NOW), F64),
    opened_at=st.one_of(st.floats(0, NOW), F64),
    away=U32,
    losses=U32,
    shown_at=st.one_of(st.floats(0, NOW), F64),
    confirm_after=st.one_of(st.floats(0, NOW), F64),
    subnet=st.integers(0, 2**53 - 1),
    learnt=st.just(NOTHING),
)


def test_a_state_fills_its_record_and_comes_back() -> None:
    state = fresh(99, b"p001 host:8080", NOW, WALL, SETTINGS)
    record = pack(state)
    assert len(record) == RECORD_BYTES
    back = unpack(record)
    assert back is not None
    assert back._replace(label=back.label.rstrip(b"\0")) == state._replace(hold_s=back.hold_s)


@given(st.integers(0, RECORD_BYTES - 1), st.integers(1, 255), st.integers(0, RECORD_BYTES - 1))
def test_a_flipped_byte_or_a_cut_is_seen(at: int, flip: int, cut: int) -> None:
    for good, read in (
        (pack(fresh(99, b"direct", NOW, WALL, SETTINGS)), unpack),
        (pack_header(Header(3, b"b" * 16)), unpack_header),
    ):
        assert read(good) is not None
        bad = bytearray(good)
        bad[at] ^= flip
        assert read(bytes(bad)) is None
        assert read(good[:cut]) is None


def test_what_an_earlier_engine_kept_in_the_header_is_passed_over() -> None:
    body = bytearray(pack_header(Header(3, b"b" * 16))[:-4])
    struct.pack_into("<dI", body, 32, math.nan, 7)
    assert unpack_header(bytes(body) + struct.pack("<I", crc32(body))) == Header(3, b"b" * 16)


def test_counters_are_saved_from_a_damaged_record_when_they_look_right() -> None:
    state = fresh(99, b"direct", NOW, WALL, SETTINGS)._replace(requests=10, ok=7, blocked=1)
    bad = pack(state)[:-1] + b"?"
    assert salvage(bad, 99) is not None
    assert salvage(bad, 98) is None
    assert salvage(pack(state._replace(ok=11)), 99) is None
    assert salvage(bad[:-1], 99) is None


def test_the_key_is_the_way_out_and_nothing_else() -> None:
    def key(url: str | None, name: str = "x") -> int:
        return egress_key(EgressSpec(name, url))

    assert key("http://u:secret@h:1") == key("http://u:other@h:1", "y")
    different = [
        None,
        "http://h:1",
        "http://h:2",
        "https://h:1",
        "http://u@h:1",
        "http://v@h:1",
        "http://h:x",
    ]
    assert len({key(url) for url in different}) == len(different)
    assert all(0 < key(url) < 2**53 for url in different)


def test_no_password_gets_into_a_record() -> None:
    spec = EgressSpec("p001 h:1", "http://user:canary@h:1")
    record = pack(fresh(egress_key(spec), egress_label(spec), NOW, WALL, SETTINGS))
    assert b"canary" not in record
    assert b"user" not in record
    assert b"p001 h:1" in record


@given(st.text(max_size=200))
def test_any_name_and_any_job_fit(text: str) -> None:
    state = fresh(1, egress_label(EgressSpec(text)), NOW, WALL, SETTINGS)
    assert unpack(pack(state)) is not None
    assert 0 < job_hash(text) < 2**32


FLOATS = [
    name
    for name, value in fresh(1, b"", 0.0, 0.0, SETTINGS)._asdict().items()
    if type(value) is float
    and name != "asked_at"  # see `test_what_an_earlier_engine_left_is_no_answer_awaited`
]


@pytest.mark.parametrize("left", [math.nan, math.inf, -math.inf, -1.0, NOW + 1.0, 0.0])
def test_what_an_earlier_engine_left_is_no_answer_awaited(left: float) -> None:
    state = fresh(99, b"direct", NOW, WALL, SETTINGS)._replace(asked_at=left)
    assert plausible(state, NOW, SETTINGS)
    assert state.awaited_since(NOW) == 0.0
    asked, _ = take(state, NOW, SETTINGS, 1)
    assert asked.awaited_since(NOW) == NOW


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_time_or_rate_may_be_endless(name: str, value: float) -> None:
    state = fresh(99, b"direct", NOW, WALL, SETTINGS)
    assert plausible(state, NOW, SETTINGS)
    assert not plausible(state._replace(**{name: value}), NOW, SETTINGS)


@given(
    STATES,
    st.sampled_from(["5", "none", "auto", "1/h"]),
    st.sampled_from(list(Outcome)),
    st.sampled_from([None, 0.0, NOW]),
)
def test_whatever_a_record_says_it_becomes_believable_and_works(
    state: EgressState, rate: str, outcome: Outcome, others_ok_at: float | None
) -> None:
    """Never raises, never waits longer than one interval (or a cool-down), and can be written again."""
    settings = BudgetSettings(parse_rate(rate))
    if not plausible(state, NOW, settings):
        state = emptied(state, NOW, WALL, settings)
        assert plausible(state, NOW, settings)
        assert state.tat == NOW + state.interval
    state, result = take(state, NOW, settings, holder=7)
    if isinstance(result, Grant):
        assert NOW <= result.slot <= NOW + 0.05 + 1e-6
    longest_s = max(state.interval, settings.max_open_s) + 1
    assert isinstance(result, Grant) or result == math.inf or 0 <= result <= longest_s
    state = on_outcome(
        state,
        outcome,
        epoch=state.epoch,
        granted_s=NOW,
        job=5,
        now=NOW + 1,
        wall=WALL,
        settings=settings,
        retry_after_s=math.inf,
        others_ok_at=others_ok_at,
    )
    read = unpack(pack(state))
    assert read is not None
    assert plausible(read, NOW + 1, settings)


OLD = struct.Struct("<Q64sBBBBHHIIIIdddddffffddfIQQQQIQd20sIddII232x")


def test_a_record_of_an_engine_that_knew_incidents_by_number_is_read() -> None:
    """Until 2026-11-26 a record held what became of the last 64 incidents and which jobs were lost."""
    times = (NOW, 0.2, 0.2, NOW + 30, WALL + 30)
    rates = (5.0, 4.0, 900.0, 1.0, NOW - 9, NOW - 99, 0.0, 0)
    counts = (10, 4000, 7, 1)
    fields = (99, b"direct", 1, 1, 2, 0, LISTED, 3, 40, 38, 17, 4711, *times, *rates, *counts)
    body = OLD.pack(*fields, 18, 2**63 + 1, NOW - 40, b"\xff" * 20, 5, NOW - 50, NOW - 40, 1, 6)
    state = unpack(body + struct.pack("<I", crc32(body)))
    assert state is not None
    assert plausible(state, NOW, SETTINGS)
    assert (state.state, state.fails, state.epoch, state.holder) == (State.OPEN, 3, 40, 4711)
    assert (state.requests, state.body_bytes, state.ok, state.blocked) == counts
    assert (state.trouble_since, state.refused_job, state.ok_at) == (NOW - 40, 5, NOW - 50)
    assert (state.away, state.losses, state.shown_at, state.confirm_after) == (1, 6, 0.0, 0.0)
