"""Which ids are held: the same answer as a set of texts, with or without the cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import add, damage, ids

from engine.queue import id_cache
from engine.queue.directory import Queue
from engine.queue.id_cache import numbers
from engine.queue.id_index import QueueIds
from engine.queue.making import make_queue

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PLAIN = ALPHABET[::4]
any_ids = st.text(ALPHABET, min_size=11, max_size=11)
# Ids alike but for their end, where a number of 64 bits loses two.
near_ids = st.builds(lambda head, last: head * 10 + last, st.sampled_from("A_-z"), st.sampled_from(ALPHABET))
batches = st.lists(st.lists(any_ids | near_ids, unique=True, min_size=1, max_size=12), max_size=8)


@given(any_ids, any_ids)
def test_a_number_stands_for_one_id(one: str, other: str) -> None:
    packed, plain = numbers([one, other])
    assert plain.tolist() == [one[-1] in PLAIN, other[-1] in PLAIN]
    if plain.all():
        assert (packed[0] == packed[1]) == (one == other)


def test_numbers_are_those_of_the_alphabet() -> None:
    packed, plain = numbers(["AAAAAAAAAAA", "AAAAAAAAAAE", "AAAAAAAAABA", "__________8", "___________"])
    assert packed[:4].tolist() == [0, 1, 16, 2**64 - 1]
    assert plain.tolist() == [True, True, True, True, False]


@given(batches, st.lists(any_ids | near_ids, unique=True, max_size=12))
@settings(max_examples=60, deadline=None)
def test_like_a_set(
    tmp_path_factory: pytest.TempPathFactory, seeded: list[list[str]], asked: list[str]
) -> None:
    queue = make_queue(str(tmp_path_factory.mktemp("known")))
    known, model = QueueIds(queue), set[str]()
    for segment, names in enumerate(seeded):
        fresh = known.missing(names)
        assert fresh == [name for name in names if name not in model]
        known.add_segment(segment, fresh)
        model.update(fresh)
    assert known.missing(asked) == [name for name in asked if name not in model]
    everything = sorted(model)
    assert known.missing(everything) == []


def test_the_numbers_of_several_arrays_stay_sorted_and_few(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    known = QueueIds(queue)
    for segment in range(200):
        known.add_segment(segment, ids(3, 3 * segment))
    assert len(known._arrays) <= 10
    for array in known._arrays:
        assert (np.diff(array.astype(np.float64)) >= 0).all()
    assert sum(map(len, known._arrays)) == 600


@pytest.mark.parametrize("harm", ["missing", "empty", "short", "long", "no odd", "odd not text", "flipped"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, harm: str) -> None:
    queue = make_queue(str(tmp_path / "q"))
    names = [*ids(30), "AAAAAAAAAAB", "AAAAAAAAAAC"]
    add(queue, names)
    path = queue.ids(0)
    if harm == "missing":
        os.unlink(path)
    elif harm == "no odd":
        os.unlink(path + ".odd")
    elif harm == "odd not text":
        with open(path + ".odd", "wb") as file:
            file.write(b"\xff\xfe")
    elif harm == "flipped":
        damage(path, 0, 1)  # still in order
    else:
        os.truncate(path, {"empty": 0, "short": 83, "long": 8 * 31}[harm])
    assert QueueIds(queue).missing(names) == []
    assert os.stat(path).st_size == 8 * 30
    with open(path + ".odd") as file:
        assert file.read().split()[1:] == ["AAAAAAAAAAB", "AAAAAAAAAAC"]
    assert QueueIds(queue).missing([*names, "AAAAAAAAAAD"]) == ["AAAAAAAAAAD"]


ODD_ONES = ["AAAAAAAAAAB", "AAAAAAAAAAC"]


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A queue whose cache has sums of its blocks."""
    monkeypatch.setattr(id_cache, "INDEXED_IDS", 64)
    monkeypatch.setattr(id_cache, "BLOCK_IDS", 8)
    queue = make_queue(str(tmp_path / "q"))
    add(queue, [*ids(200), *ODD_ONES])
    return queue


def whole_reads(queue: Queue, names: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], int]:
    """What of these ids is new to a seeding, and how many caches were read whole for it."""
    count = 0
    real = QueueIds._load

    def load(self: QueueIds, *args: Any, **how: Any) -> None:
        nonlocal count
        count += 1
        real(self, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(QueueIds, "_load", load)
        return QueueIds(queue, lazy=True).missing(names), count


def test_a_few_ids_are_looked_up_without_reading_all(indexed: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [ids(200)[7], "AAAAAAAAAAB", "AAAAAAAAAAD", ids(201)[200], "AAAAAAAAAAA"]
    assert whole_reads(indexed, few, monkeypatch) == (few[2:], 0)
    for name in ids(200):
        assert whole_reads(indexed, [name], monkeypatch) == ([], 0)
    for name in ids(60, 200):
        assert whole_reads(indexed, [name], monkeypatch) == ([name], 0)
    assert whole_reads(indexed, ids(260), monkeypatch) == (ids(60, 200), 1)


@pytest.mark.parametrize("harm", ["number", "zeros", "short", "sums", "no sums", "odd"])
def test_a_look_up_believes_no_damage(indexed: Queue, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    path = indexed.ids(0)
    if harm == "number":
        for at in range(200):
            damage(path, 8 * at, 1)
    elif harm == "zeros":
        Path(path).write_bytes(bytes(8 * 200))
    elif harm == "short":
        os.truncate(path, 8 * 150)
    elif harm == "sums":
        damage(path + ".sums", 60, 1)
    elif harm == "no sums":
        os.unlink(path + ".sums")
    else:
        Path(path + ".odd").write_text("0\n")
    for name in [*ids(200), *ODD_ONES]:
        assert QueueIds(indexed, lazy=True).missing([name]) == []
    assert whole_reads(indexed, ids(1), monkeypatch) == ([], 0), "it was made again"


def test_a_cache_full_of_zeros_is_not_believed(tmp_path: Path) -> None:
    """What a power cut can leave: the right length, and nothing in it."""
    queue = make_queue(str(tmp_path / "q"))
    add(queue, ids(30))
    with open(queue.ids(0), "wb") as file:
        file.write(bytes(8 * 30))
    assert QueueIds(queue).missing(ids(31)) == ids(1, 30)
