"""The alarm's arithmetic: the bound against the exact tail, what sets it off, and what does not."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.worker.doubt import BARE_MIN, CHANCE, WINDOW, History, Share, chance_of


def history(text: str) -> History:
    """From `.` (captions) and `x` (none), the latest last."""
    its = History()
    for letter in text:
        its = its.add(bare=letter == "x")
    return its


@pytest.mark.parametrize(
    ("text", "share", "jump"),
    [
        ("", 0.02, None),
        ("xxxx", 0.001, None),  # too few to say, however rare they were
        ("xxxxx", 0.02, (5, 5)),
        ("." * 100 + "xxxxx", 0.02, (5, 5)),
        ("xxxxx", 0.05, (5, 5)),
        ("xxxxx", 0.10, None),  # 1e-5: no proof where one in ten has none
        ("xxxxxxx", 0.10, (7, 7)),
        ("x" * 19, 0.5, None),
        ("x" * 20, 0.5, (20, 20)),
        ("x" * 200, 0.95, None),  # 3.5e-5: nearly none has any, and that is known
        ("." * 150 + "...x" * 13, 0.02, (13, 49)),  # a quarter of the answers of one gateway
        ("x" * 30 + "." * 170, 0.02, (30, 200)),
        ("x" * 30 + "." * 200, 0.02, None),  # older than the window
        ("....................x" * 9, 0.05, None),
        ("x" * 4 + "." * 3 + "x", 0.02, (5, 8)),
    ],
)
def test_what_is_a_jump(text: str, share: float, jump: tuple[int, int] | None) -> None:
    assert history(text).jump(share) == jump


@given(st.integers(1, 60), st.data(), st.floats(0.001, 0.999))
def test_the_bound_is_never_below_the_exact_tail(total: int, data: st.DataObject, share: float) -> None:
    bare = data.draw(st.integers(0, total))
    tail = math.fsum(
        math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(bare, total + 1)
    )
    assert chance_of(bare, total, share) >= tail * (1 - 1e-9)


@given(st.integers(1, 200), st.floats(0.001, 0.999))
def test_the_bound_is_exact_for_an_unbroken_stretch(total: int, share: float) -> None:
    assert chance_of(total, total, share) == pytest.approx(share**total)


@given(st.text(".x", max_size=260), st.floats(0.001, 0.9), st.floats(0.0, 0.09))
def test_a_lower_share_before_never_makes_it_more_probable(text: str, share: float, more: float) -> None:
    its = history(text)
    if its.jump(share + more):
        assert its.jump(share)


@given(st.text(".x", max_size=300))
def test_a_jump_is_a_stretch_that_ends_now(text: str) -> None:
    found = history(text).jump(0.05)
    if found is not None:
        bare, total = found
        assert BARE_MIN <= bare <= total <= WINDOW
        assert text[-total:].count("x") == bare
        assert chance_of(bare, total, 0.05) < CHANCE


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.8])
def test_chance_alone_hardly_ever_sets_it_off(share: float) -> None:
    """6,000 videos without any pattern: the share is learnt as it goes, and the alarm stays silent."""
    draw = random.Random(7)
    its, known, alarms = History(), Share(), 0
    for _ in range(6_000):
        bare = draw.random() < share
        its, known = its.add(bare=bare), known.add(bare=bare)
        alarms += bare and its.jump(known.value) is not None
    assert alarms <= 1


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_the_share_of_a_batch_lies_between_0_and_1_and_forgets(bare: int, shown: int) -> None:
    its = Share.of(bare, bare + shown)
    assert 0 < its.value < 1
    assert its.total <= 300.0001
    for _ in range(2000):
        its = its.add(bare=False)
    assert its.value < 0.01
