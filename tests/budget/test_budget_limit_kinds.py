"""What kind of limit two blocks tell of, and what an egress remembers of its requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.budget.learnt import LEARNT_BYTES, NOTHING, VERSION, Learnt, pack_learnt, unpack_learnt
from engine.budget.limit_kinds import HOURLY, KINDS, RATE, answers, believed
from engine.budget.volume import EMPTY, Volume, counted, sent_since, sent_within
from engine.rehearsal.hidden_limit import HiddenLimit

HOUR = 3600.0


def until_refused(
    site: HiddenLimit, volume: Volume, now: float, rate: Callable[[float], float]
) -> tuple[Volume, float, float]:
    """Send at `rate(seconds since now)` until the site refuses; what was sent, when, and the rate then."""
    began = now
    while not site.refuses("", now):
        volume = counted(volume, now)
        now += 1 / rate(now - began)
    return volume, now, rate(now - began)


@pytest.mark.parametrize(
    ("limit", "options", "kinds"),
    [
        (0.33, {"burst": 100.0}, range(RATE, HOURLY)),
        (1.0, {"burst": 100.0}, range(RATE, HOURLY)),
        (5.0, {"burst": 100.0}, range(RATE, HOURLY)),
        (0.33, {"burst": 1000.0}, range(RATE + 1, HOURLY)),
        (5.0, {"burst": 1000.0}, range(RATE + 1, HOURLY)),
        (0.33, {"burst": 1.0, "window_s": HOUR}, [HOURLY]),
        (1.0, {"burst": 1.0, "window_s": HOUR}, [HOURLY]),
    ],
)
def test_two_blocks_tell_the_limit(limit: float, options: dict[str, float], kinds: range | list[int]) -> None:
    site = HiddenLimit(limit, block_s=300.0, **options)  # type: ignore[arg-type]
    volume, now, rate = until_refused(site, EMPTY, 1000.0, lambda t: 0.3 * limit * 2 ** (t / 600))
    first = answers(volume, rate, now)
    volume, now, rate = until_refused(site, volume, now + 301, lambda t: 0.5 * limit * 2 ** (t / 180))
    belief = believed(first, answers(volume, rate, now), rate=rate, held_s=0.0, costly=True)
    assert belief is not None
    assert belief.limit == pytest.approx(limit, rel=0.12)
    assert belief.kind in kinds


def test_what_no_kind_explains_is_not_believed() -> None:
    assert believed((1.0,) * KINDS, (3.0,) * KINDS, rate=3.0, held_s=0.0, costly=False) is None


@given(st.lists(st.floats(0, 900), max_size=400), st.sampled_from([20.0, 100.0, 1000.0, HOUR]))
def test_what_was_sent_is_counted_to_the_length_of_a_slot(gaps: list[float], window_s: float) -> None:
    volume, now, times = EMPTY, 5000.0, []
    for gap in gaps:
        now += gap
        volume = counted(volume, now)
        times.append(now)
    slot_s = 20 if window_s <= 400 else 300
    sent = sent_within(volume, now, window_s)
    assert sum(t > now - window_s + slot_s for t in times) <= sent + 1e-6
    assert sent <= sum(t > now - window_s - slot_s for t in times) + 1e-6
    for span, count in sent_since(volume, now):
        assert count == sum(t >= now - span - 1e-6 for t in times)


@given(st.binary(min_size=LEARNT_BYTES, max_size=LEARNT_BYTES))
def test_any_bytes_can_be_read_and_what_is_written_is_read_back(data: bytes) -> None:
    for item in (data, bytes([VERSION]) + data[1:]):
        learnt = unpack_learnt(item)
        assert unpack_learnt(pack_learnt(learnt)) == learnt


def test_of_another_version_nothing_is_learnt() -> None:
    learnt = Learnt(kind=3, block_s=60.0, sent=70_000, volume=counted(EMPTY, 7777.0), answers=(0.5,) * KINDS)
    data = pack_learnt(learnt)
    assert unpack_learnt(data) == learnt
    assert unpack_learnt(bytes(LEARNT_BYTES)) == NOTHING
    assert unpack_learnt(bytes([VERSION + 1]) + data[1:]) == NOTHING
