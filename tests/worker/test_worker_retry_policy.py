"""The verdict: the table over every kind, and what holds for any history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model import ABSENT_KINDS, Failure, Kind, Status
from engine.queue.job_state import Death
from engine.worker.retry_policy import (
    AT_ONCE,
    BENEFIT_OF_DOUBT,
    LONG_WAIT_S,
    REFUSALS,
    RETRIED,
    Defer,
    History,
    Settle,
    decide,
    is_poison,
    wait_after,
)

# kind: (status at its end, what the first attempt comes to)
TABLE: dict[Kind, tuple[str, Settle | Defer]] = {
    Kind.UNAVAILABLE: ("absent", Settle(Kind.UNAVAILABLE)),
    Kind.PRIVATE: ("absent", Settle(Kind.PRIVATE)),
    Kind.MEMBERS_ONLY: ("absent", Settle(Kind.MEMBERS_ONLY)),
    Kind.AGE_RESTRICTED: ("absent", Settle(Kind.AGE_RESTRICTED)),
    Kind.REGION_BLOCKED: ("absent", Settle(Kind.REGION_BLOCKED)),
    Kind.NO_CAPTIONS: ("absent", Settle(Kind.NO_CAPTIONS)),
    Kind.NO_LANGUAGE: ("absent", Settle(Kind.NO_LANGUAGE)),
    Kind.NETWORK: ("failed", Defer(2.0, charged=True)),
    Kind.PROXY: ("failed", Defer(2.0, charged=True)),
    Kind.TIMEOUT: ("failed", Defer(2.0, charged=True)),
    Kind.SERVER_ERROR: ("failed", Defer(2.0, charged=True)),
    Kind.GARBLED: ("failed", Defer(2.0, charged=True)),
    Kind.UNKNOWN: ("failed", Defer(2.0, charged=True)),
    Kind.TOO_LARGE: ("failed", Settle(Kind.TOO_LARGE)),
    Kind.PO_TOKEN: ("failed", Settle(Kind.PO_TOKEN)),
    Kind.NOT_YET: ("failed", Settle(Kind.NOT_YET)),
    Kind.BLOCKED: ("failed", Defer(5.0, charged=False)),
    Kind.KEPT: ("failed", Settle(Kind.KEPT)),
    Kind.POISON: ("failed", Settle(Kind.POISON)),
}

histories = st.builds(
    History,
    spent=st.integers(0, 20),
    refused=st.integers(0, 10),
    tries=st.integers(0, 100),
    fault=st.sampled_from([True, False, None]),
)


def test_the_table_names_every_kind() -> None:
    assert set(TABLE) == set(Kind)
    assert AT_ONCE | RETRIED | {Kind.BLOCKED} == set(Kind)
    assert not AT_ONCE & RETRIED


@pytest.mark.parametrize("kind", list(Kind))
def test_a_first_attempt(kind: Kind) -> None:
    status, verdict = TABLE[kind]
    assert kind.status == status
    assert (kind in ABSENT_KINDS) == (status == "absent")
    assert decide(Failure(kind, "m"), History(), 5) == verdict


@pytest.mark.parametrize("kind", sorted(RETRIED))
def test_the_waits_of_a_job_that_keeps_failing(kind: Kind) -> None:
    waits = []
    for spent in range(5):
        verdict = decide(Failure(kind, "m"), History(spent=spent, tries=spent), 6)
        assert isinstance(verdict, Defer)
        assert verdict.charged
        waits.append(verdict.wait_s)
    assert waits == [2.0, 10.0, 60.0, 900.0, 900.0]
    assert decide(Failure(kind, "m"), History(spent=5, tries=5), 6) == Settle(kind)


@pytest.mark.parametrize("refused", range(REFUSALS + 2))
def test_a_refused_job_is_failed_only_after_three_refusals_while_others_passed(refused: int) -> None:
    verdict = decide(Failure(Kind.BLOCKED, "m"), History(refused=refused, tries=50, spent=50), 1)
    if refused >= REFUSALS:
        assert verdict == Settle(Kind.BLOCKED)
    else:
        assert isinstance(verdict, Defer)
        assert not verdict.charged


@settings(deadline=None)
@given(st.sampled_from(list(Kind)), histories, st.integers(1, 10))
def test_any_history(kind: Kind, history: History, attempts: int) -> None:
    verdict = decide(Failure(kind, "m"), history, attempts)
    if isinstance(verdict, Settle):
        assert verdict.kind is kind
        assert kind.status in (Status.ABSENT, Status.FAILED)
        if kind in RETRIED:
            assert history.fault is not True
            assert history.spent + 1 >= attempts
    else:
        assert 0 < verdict.wait_s <= LONG_WAIT_S
        assert kind not in AT_ONCE
        if kind is Kind.BLOCKED or history.fault is True:
            assert not verdict.charged


@settings(deadline=None)
@given(st.sampled_from(sorted(RETRIED)), st.integers(1, 10), st.data())
def test_a_failing_job_comes_to_an_end(kind: Kind, attempts: int, data: st.DataObject) -> None:
    """Whatever is said about its egress, as long as it is not found guilty the job ends."""
    spent = 0
    for tries in range(attempts + BENEFIT_OF_DOUBT + 1):
        fault = data.draw(st.sampled_from([False, None]))
        verdict = decide(Failure(kind, "m"), History(spent=spent, tries=tries, fault=fault), attempts)
        if isinstance(verdict, Settle):
            assert spent + 1 >= attempts
            return
        spent += verdict.charged
    raise AssertionError("it never ended")


def test_waits_only_grow() -> None:
    waits = [wait_after(spent) for spent in range(1, 30)]
    assert waits == sorted(waits)
    assert waits[-1] == LONG_WAIT_S


COMPANY, ALONE, UNSURE = Death(False, True), Death(True, True), Death(True, False)


@pytest.mark.parametrize(
    ("deaths", "poison"),
    [
        ([], False),
        ([COMPANY], False),
        ([COMPANY] * 20, False),
        ([ALONE, ALONE], False),
        ([COMPANY, ALONE], False),
        ([COMPANY, ALONE, ALONE], True),
        ([ALONE, ALONE, ALONE], True),
        ([COMPANY, COMPANY, ALONE], False),
        ([COMPANY, UNSURE, UNSURE], False),
        ([COMPANY, UNSURE, ALONE], False),
        ([COMPANY, UNSURE, ALONE, ALONE], True),
        ([COMPANY] + [UNSURE] * 7, False),
        ([UNSURE] * 8, True),
    ],
)
def test_poison(deaths: list[Death], poison: bool) -> None:
    assert is_poison(deaths) is poison
    assert is_poison(iter(deaths)) is poison


@settings(deadline=None)
@given(st.lists(st.builds(Death, st.booleans(), st.booleans()), max_size=12), st.randoms())
def test_another_death_never_acquits_and_their_order_is_nothing(deaths: list[Death], random: object) -> None:
    shuffled = sorted(deaths, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert is_poison(shuffled) == is_poison(deaths)
    if is_poison(deaths[:-1]):
        assert is_poison(deaths)
