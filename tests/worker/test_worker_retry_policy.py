"""The retry policy: the table over every kind, and what holds for any past and any circumstances."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.budget import EgressHealth
from engine.model import ABSENT_KINDS, CONNECTION_KINDS, Failure, Kind, Status
from engine.queue.job_state import Death
from engine.worker.retry_policy import (
    AT_ONCE,
    EXITS_LOST,
    LONG_WAIT_S,
    REFUSALS,
    Circumstances,
    Finish,
    Past,
    RetryLater,
    decide,
    is_poison,
    wait_after,
)

# kind: (status at its end, what the first attempt comes to)
TABLE: dict[Kind, tuple[str, Finish | RetryLater]] = {
    Kind.UNAVAILABLE: ("absent", Finish(Kind.UNAVAILABLE)),
    Kind.PRIVATE: ("absent", Finish(Kind.PRIVATE)),
    Kind.MEMBERS_ONLY: ("absent", Finish(Kind.MEMBERS_ONLY)),
    Kind.AGE_RESTRICTED: ("absent", Finish(Kind.AGE_RESTRICTED)),
    Kind.REGION_BLOCKED: ("absent", Finish(Kind.REGION_BLOCKED)),
    Kind.NO_CAPTIONS: ("absent", Finish(Kind.NO_CAPTIONS)),
    Kind.NO_LANGUAGE: ("absent", Finish(Kind.NO_LANGUAGE)),
    Kind.NETWORK: ("failed", RetryLater(2.0)),
    Kind.PROXY: ("failed", RetryLater(2.0)),
    Kind.TIMEOUT: ("failed", RetryLater(2.0)),
    Kind.SERVER_ERROR: ("failed", RetryLater(2.0, charged=True)),
    Kind.GARBLED: ("failed", RetryLater(2.0, charged=True)),
    Kind.UNKNOWN: ("failed", RetryLater(2.0, charged=True)),
    Kind.TOO_LARGE: ("failed", Finish(Kind.TOO_LARGE)),
    Kind.PO_TOKEN: ("failed", Finish(Kind.PO_TOKEN)),
    Kind.TRANSLATION_REFUSED: ("failed", Finish(Kind.TRANSLATION_REFUSED)),
    Kind.NOT_YET: ("failed", Finish(Kind.NOT_YET)),
    Kind.BLOCKED: ("failed", RetryLater(0.0)),
    Kind.KEPT: ("failed", Finish(Kind.KEPT)),
    Kind.POISON: ("failed", Finish(Kind.POISON)),
}
LOST_AT = 100.0
NEW = Past()
RETRIED = frozenset({Kind.NETWORK, Kind.PROXY, Kind.TIMEOUT, Kind.SERVER_ERROR, Kind.GARBLED, Kind.UNKNOWN})
TROUBLE = Circumstances(EgressHealth(in_trouble=True, ok_at=LOST_AT + 1))
OTHERS_PASS = Circumstances(EgressHealth(ok_at=LOST_AT + 1))
NOBODY_KNOWS = Circumstances(EgressHealth(ok_at=LOST_AT - 1))

pasts = st.builds(
    Past,
    charged=st.integers(0, 20),
    tries=st.integers(0, 100),
    refused=st.booleans(),
    refusals=st.integers(0, 10),
    lost_at=st.sampled_from([0.0, LOST_AT]),
)
circumstances = st.builds(
    Circumstances,
    health=st.builds(
        EgressHealth,
        in_trouble=st.booleans(),
        confirmed=st.booleans(),
        ok_at=st.sampled_from([0.0, LOST_AT - 1, LOST_AT + 1]),
    ),
    lost_exit=st.booleans(),
    suspended=st.booleans(),
)


def decided(
    kind: Kind, past: Past = NEW, how: Circumstances = NOBODY_KNOWS, attempts: int = 5, **failure: bool
) -> Finish | RetryLater:
    return decide(Failure(kind, "m", **failure), past, how, attempts)


def test_the_table_names_every_kind() -> None:
    assert set(TABLE) == set(Kind)
    assert AT_ONCE | RETRIED | {Kind.BLOCKED} == set(Kind)
    assert not AT_ONCE & RETRIED
    assert CONNECTION_KINDS < RETRIED


@pytest.mark.parametrize("kind", list(Kind))
def test_a_first_attempt(kind: Kind) -> None:
    status, first = TABLE[kind]
    assert kind.status == status
    assert (kind in ABSENT_KINDS) == (status == "absent")
    assert decided(kind) == first


@pytest.mark.parametrize("kind", sorted(RETRIED))
def test_the_waits_of_a_job_that_keeps_failing_while_others_pass(kind: Kind) -> None:
    waits = []
    for charged in range(5):
        found = decided(kind, Past(charged, lost_at=LOST_AT), OTHERS_PASS, attempts=6)
        assert isinstance(found, RetryLater)
        assert found.charged
        waits.append(found.wait_s)
    assert waits == [2.0, 10.0, 60.0, 900.0, 900.0]
    assert decided(kind, Past(5, lost_at=LOST_AT), OTHERS_PASS, attempts=6) == Finish(kind)


@pytest.mark.parametrize("kind", sorted(CONNECTION_KINDS))
@pytest.mark.parametrize(
    ("how", "lost_at", "of_the_egress"),
    [
        (TROUBLE, LOST_AT, True),
        (NOBODY_KNOWS, 0.0, True),
        (NOBODY_KNOWS, LOST_AT, True),
        (OTHERS_PASS, 0.0, True),  # lost for the first time: one in a row says nothing
        (OTHERS_PASS, LOST_AT, False),
    ],
)
def test_whose_a_lost_connection_is(
    kind: Kind, how: Circumstances, lost_at: float, of_the_egress: bool
) -> None:
    for charged in (0, 4):
        found = decided(kind, Past(charged, tries=99, lost_at=lost_at), how)
        if of_the_egress:
            assert found == RetryLater(2.0)
        else:
            assert found == (Finish(kind) if charged == 4 else RetryLater(2.0, charged=True))


def test_a_timeout_that_spans_a_suspend_is_nobodys() -> None:
    how = Circumstances(OTHERS_PASS.health, suspended=True)
    assert decided(Kind.TIMEOUT, Past(4, lost_at=LOST_AT), how) == RetryLater(2.0)
    assert decided(Kind.NETWORK, Past(4, lost_at=LOST_AT), how) == Finish(Kind.NETWORK)


def test_a_dead_egress_is_not_the_jobs_failure() -> None:
    assert decided(Kind.PROXY, Past(9), OTHERS_PASS, dead_egress=True) == RetryLater(2.0)


def test_even_bad_luck_behind_a_gateway_has_an_end() -> None:
    how = Circumstances(OTHERS_PASS.health, lost_exit=True)
    for tries in range(EXITS_LOST * 5 + 3):
        found = decided(Kind.NETWORK, Past(4, tries, lost_at=LOST_AT), how)
        assert found == (RetryLater(2.0) if tries < EXITS_LOST * 5 else Finish(Kind.NETWORK))


def test_a_refused_job_is_failed_after_three_refusals_while_others_passed() -> None:
    past, refusals = Past(), []
    while isinstance(found := decided(Kind.BLOCKED, past, OTHERS_PASS, attempts=1), RetryLater):
        assert not found.charged
        refusals.append(found.others_passed)
        past = Past(refused=True, refusals=past.refusals + found.others_passed)
    assert refusals == [False] + [True] * (REFUSALS - 1)


def test_refusals_of_an_egress_that_refuses_others_too_count_for_no_job() -> None:
    how = Circumstances(EgressHealth(in_trouble=True, confirmed=True))
    assert decided(Kind.BLOCKED, Past(refused=True, refusals=2), how) == RetryLater(0.0)


@settings(deadline=None)
@given(st.sampled_from(list(Kind)), pasts, circumstances, st.integers(1, 10))
def test_any_past_and_any_circumstances(kind: Kind, past: Past, how: Circumstances, attempts: int) -> None:
    found = decided(kind, past, how, attempts)
    if isinstance(found, Finish):
        assert found.kind is kind
        assert kind.status in (Status.ABSENT, Status.FAILED)
        if kind in RETRIED:
            assert past.charged + 1 >= attempts
        if kind in CONNECTION_KINDS:
            assert not how.health.in_trouble
    else:
        assert 0 <= found.wait_s <= LONG_WAIT_S
        assert found.wait_s > 0 or kind is Kind.BLOCKED
        assert kind not in AT_ONCE
        assert not (found.charged and kind is Kind.BLOCKED)
        assert not (found.others_passed and kind is not Kind.BLOCKED)


def test_waits_only_grow() -> None:
    waits = [wait_after(charged) for charged in range(1, 30)]
    assert waits == sorted(waits)
    assert waits[-1] == LONG_WAIT_S


COMPANY, ALONE = Death(False, True), Death(True, False)


@pytest.mark.parametrize(
    ("deaths", "poison"),
    [
        ([], False),
        ([COMPANY], False),
        ([COMPANY] * 20, False),
        ([ALONE], False),
        ([COMPANY, ALONE], False),
        ([COMPANY, COMPANY, ALONE], False),
        ([ALONE, ALONE], True),
        ([COMPANY, ALONE, ALONE], True),
    ],
)
def test_two_deaths_alone_are_poison(deaths: list[Death], poison: bool) -> None:
    assert is_poison(deaths) is poison
    assert is_poison(iter(deaths)) is poison
