"""What past nights learnt, kept beside the user's settings."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.budget import BudgetSettings, memory
from engine.budget.learnt import Learnt
from engine.budget.limit_kinds import HOURLY, RATE
from engine.budget.limiter import Budget
from engine.budget.memory import Limit, limit_of, outlook, recall, remember
from engine.budget.pacing import fresh
from engine.budget.rate import Rate
from engine.model import EgressSpec

DIRECT = (EgressSpec("direct", None),)
WALL = 1_800_000_000.0
HOURLY_LIMIT = Limit(1000 / 3600, 3600.0, 900.0, WALL)


def test_before_a_block_has_told_there_is_nothing_to_remember(tmp_path: Path) -> None:
    budget = Budget.open(str(tmp_path / "budget"), DIRECT, BudgetSettings(Rate("auto")), new_run=True)
    permit = budget.take(stop=threading.Event())
    assert permit is not None
    budget.close()
    remember(str(tmp_path / "config" / memory.FILE), str(tmp_path / "budget"), WALL)
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize(("kind", "refill_s"), [(RATE, 0.0), (HOURLY, 3600.0)])
def test_what_a_record_says_of_its_limit(kind: int, refill_s: float) -> None:
    state = fresh(7, b"direct", 1000.0, WALL, BudgetSettings(Rate("auto")))
    assert limit_of(state, WALL) is None
    state = state._replace(base=0.3, top=0.3, learnt=Learnt(kind=kind, block_s=60.0))
    assert limit_of(state, WALL) == Limit(0.3, refill_s, 60.0, WALL)


def test_it_is_found_again_and_old_nights_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, record = str(tmp_path / memory.FILE), fresh(1, b"", 0.0, WALL, BudgetSettings(Rate("auto")))
    key = memory.egress_key(DIRECT[0])
    state = record._replace(key=key, base=0.25, top=0.25, learnt=Learnt(kind=HOURLY, block_s=900.0))
    monkeypatch.setattr(memory, "remembered", lambda _: [state])
    remember(path, "", WALL)
    assert recall(path, DIRECT) == [Limit(0.25, 3600.0, 900.0, WALL)]
    assert recall(path, [EgressSpec("p001", "http://other:1")]) == []
    monkeypatch.setattr(memory, "remembered", lambda _: [state._replace(key=key + 1)])
    remember(path, "", WALL + memory.KEPT_S + 1)
    assert recall(path, DIRECT) == []


@pytest.mark.parametrize("theirs", ["USD 1.08\n", '{"USD": 1.08}', "[]", ""])
def test_a_file_of_another_program_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    path, record = tmp_path / memory.FILE, fresh(1, b"", 0.0, WALL, BudgetSettings(Rate("auto")))
    path.write_text(theirs)
    state = record._replace(key=1, base=0.25, top=0.25, learnt=Learnt(kind=HOURLY, block_s=900.0))
    monkeypatch.setattr(memory, "remembered", lambda _: [state])
    remember(str(path), "", WALL)
    assert path.read_text() == theirs


def test_what_it_means_for_so_many_videos() -> None:
    assert outlook([HOURLY_LIMIT], 1, 2, 20_000) == (
        "the last nights here learnt about 1,000 requests an hour, blocks of 15 min; 20,000 videos take about 40 h"
        " on this address, a night of 10 h on 4 addresses"
    )
    assert "0.5 requests a second" in outlook([Limit(0.5, 0.0, 60.0, WALL)], 1, 2, None)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(st.none() | st.floats() | st.text(), st.lists).map(
            lambda value: json.dumps({"egresses": {"a": value, "b": {"per_s": value}}}).encode()
        ),
    )
)
def test_a_damaged_file_is_no_memory(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("memory") / memory.FILE
    path.write_bytes(data)
    assert recall(str(path), DIRECT) == []
