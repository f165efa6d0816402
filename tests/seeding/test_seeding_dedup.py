"""What becomes of each line: the same as by counting with sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ids

from engine.inputs import Line, Rejects
from engine.queue.id_index import IdSet
from engine.queue.listings import Sources
from engine.seeding.dedup import Deduplicator, Seeded

SOME = ids(8)
some = st.lists(st.sampled_from(SOME), max_size=8)


def held(names: Iterable[str]) -> IdSet:
    ids = IdSet()
    if names:
        ids.add(sorted(set(names)))
    return ids


def line(number: int, name: str | None) -> Line:
    return Line("f", number, name or "x", name, {"n": number}, None if name else "why")


@given(st.lists(st.none() | st.sampled_from(SOME), max_size=30), some, st.none() | some, st.integers(1, 5))
def test_like_sets(
    given_lines: list[str | None], there: list[str], unwanted: list[str] | None, batch_ids: int
) -> None:
    known = held(there)
    published: dict[str, int] = {}
    rejected: list[int] = []

    class Noted(Rejects):
        def add(self, line: Line) -> None:
            rejected.append(line.line)

    dedup = Deduplicator(
        known,
        Sources(None),
        batch_ids=batch_ids,
        unwanted=None if unwanted is None else held(unwanted),
        rejects=Noted(""),
    )
    for batch in dedup.batches(line(number, name) for number, name in enumerate(given_lines)):
        assert len(batch) <= batch_ids
        for name, columns in batch.items():
            assert name not in published
            published[name] = columns["n"]
        known.add(list(batch))
        dedup.result.added += len(batch)

    model = Seeded(read=len(given_lines), known=None if unwanted is None else 0)
    first, seen = dict[str, int](), set(there)
    for number, name in enumerate(given_lines):
        if name is None:
            model.rejected += 1
        elif name in (unwanted or ()):
            model.known = (model.known or 0) + 1
        elif name in seen:
            model.duplicate += 1
        else:
            seen.add(name)
            first[name] = number
            model.added += 1
    assert dedup.result == model
    assert published == first, "the first of two lines gives the columns"
    assert rejected == [number for number, name in enumerate(given_lines) if name is None]


def test_what_was_read_before_an_error_comes_before_it() -> None:
    def lines() -> Iterator[Line]:
        yield line(1, SOME[0])
        raise OSError(28, "full")

    dedup = Deduplicator(IdSet(), Sources(None), batch_ids=10)
    batches = dedup.batches(lines())
    assert list(next(batches)) == [SOME[0]]
    with pytest.raises(OSError, match="full"):
        next(batches)


def test_a_caller_that_fails_gets_no_second_batch() -> None:
    batches = Deduplicator(IdSet(), Sources(None), batch_ids=1).batches(line(n, SOME[n]) for n in range(3))
    next(batches)
    batches.close()
    assert list(batches) == []
