"""What the first run of a queue freezes, and what it says to another value later."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import Frozen, check_rehearsal, freeze
from engine.errors import UsageError
from engine.queue.layout import Queue, make_queue, open_queue

FIRST = Frozen("/out", ("en", "de"), ("md", "srt"))
EVERYTHING = frozenset({"output", "languages", "formats", "rate", "threads"})


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "q"))


def test_the_first_run_freezes_and_later_ones_get_it_back(queue: Queue) -> None:
    assert freeze(queue, FIRST, EVERYTHING) == FIRST
    assert queue.read_batch()["frozen"] == {
        "output": "/out",
        "languages": ["en", "de"],
        "formats": ["md", "srt"],
    }
    again = open_queue(queue.root)
    assert freeze(again, FIRST, EVERYTHING) == FIRST
    assert freeze(again, Frozen("/default"), frozenset()) == FIRST
    assert freeze(again, Frozen("/default"), frozenset({"rate"})) == FIRST


@pytest.mark.parametrize(
    ("name", "wanted", "option", "was", "now"),
    [
        ("output", Frozen("/other", FIRST.languages, FIRST.formats), "--output", "/out", "/other"),
        ("languages", Frozen("/out", ("de", "en"), FIRST.formats), "--languages", "en,de", "de,en"),
        ("formats", Frozen("/out", FIRST.languages, ("md",)), "--format", "md,srt", "md"),
    ],
)
def test_another_value_is_refused_and_both_are_named(
    queue: Queue, name: str, wanted: Frozen, option: str, was: str, now: str
) -> None:
    freeze(queue, FIRST, frozenset())
    with pytest.raises(UsageError) as told:
        freeze(queue, wanted, frozenset({name}))
    said = str(told.value)
    assert said.startswith(f"{option}: ")
    assert f"begun with {was}, not {now};" in said
    assert freeze(queue, wanted, EVERYTHING - {name}) == FIRST
    assert freeze(queue, FIRST, frozenset({name})) == FIRST


def test_freezing_keeps_what_else_the_batch_says(queue: Queue) -> None:
    before = queue.read_batch()
    freeze(queue, FIRST, frozenset())
    assert {**queue.read_batch(), "frozen": None} == before


@pytest.mark.parametrize("rehearsal", [False, True])
def test_a_rehearsal_and_the_real_thing_are_not_mixed(tmp_path: Path, rehearsal: bool) -> None:
    queue = make_queue(str(tmp_path / "q"), rehearsal=rehearsal)
    check_rehearsal(queue, rehearsal)
    with pytest.raises(UsageError, match="rehears") as told:
        check_rehearsal(queue, not rehearsal)
    assert queue.root in str(told.value)
    assert "-q" in str(told.value)


@pytest.mark.parametrize("data", [b"{", b"\xff", b""])
def test_a_batch_that_cannot_be_read_is_said(queue: Queue, data: bytes) -> None:
    Path(queue.batch).write_bytes(data)
    with pytest.raises(UsageError, match=r"batch\.json"):
        freeze(queue, FIRST, frozenset())
    with pytest.raises(UsageError, match=r"batch\.json"):
        check_rehearsal(queue, False)
