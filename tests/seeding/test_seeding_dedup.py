"""What becomes of each line: the same as by counting with sets."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ids

from engine.inputs import Line
from engine.queue.id_index import IdSet
from engine.seeding.dedup import Batch, Deduplicator, Seeded

SOME = ids(8)
some = st.lists(st.sampled_from(SOME), max_size=8)


def held(names: Iterable[str]) -> IdSet:
    its = IdSet()
    if names:
        its.add(sorted(set(names)))
    return its


def line(number: int, name: str | None) -> Line:
    return Line("f", number, name or "x", name, {"n": number}, None if name else "why")


@given(st.lists(st.none() | st.sampled_from(SOME), max_size=30), some, st.none() | some, st.integers(1, 5))
def test_like_sets(
    given_lines: list[str | None], there: list[str], unwanted: list[str] | None, batch_ids: int
) -> None:
    known = held(there)
    published: dict[str, int] = {}
    rejected: list[int] = []

    def publish(fresh: list[str], batch: Batch) -> None:
        assert len(batch) <= batch_ids
        for name in fresh:
            assert name not in published
            published[name] = batch[name]["n"]
        known.add(fresh)

    sieve = Deduplicator(
        known,
        publish,
        batch_ids=batch_ids,
        unwanted=None if unwanted is None else held(unwanted),
        on_rejected=lambda its: rejected.append(its.line),
    )
    for _ in sieve.take(line(number, name) for number, name in enumerate(given_lines)):
        pass
    sieve.finish()

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
    assert sieve.result == model
    assert published == first, "the first of two lines gives the columns"
    assert rejected == [number for number, name in enumerate(given_lines) if name is None]


def test_what_fails_to_publish_is_not_counted_as_added() -> None:
    def publish(fresh: list[str], batch: Batch) -> None:
        raise OSError(28, "full")

    sieve = Deduplicator(IdSet(), publish, batch_ids=10)
    for _ in sieve.take([line(1, SOME[0])]):
        pass
    with pytest.raises(OSError, match="full"):
        sieve.finish()
    assert sieve.result.added == 0
