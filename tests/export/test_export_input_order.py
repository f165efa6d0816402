"""Sorted by `input_order`, the rows of a table stand in the order in which the videos were given."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import canned_batch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import add, batch, damage, finish, ids, worked

from engine import Batch
from engine.export.input_order import COLUMN, InputOrder, write_order
from engine.queue.directory import Queue
from engine.queue.gathering import gather
from engine.queue.making import make_queue
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")
ODD = "aaaaaaaaaaB"  # its last two bits are not 0: no id of YouTube's


def exported(root: Path, to: str = "x", **options: Any) -> list[dict[str, Any]]:
    Batch(root / "queue").export("jsonl", root / to, **options)
    return [json.loads(line) for line in (root / to / "videos.jsonl").read_bytes().splitlines()]


def test_rows_that_ended_in_any_order_can_be_put_back(tmp_path: Path) -> None:
    """A list, shuffled, in several seedings; the table is cut by it, too, and texts are named by it."""
    names = ids(60)
    random.Random(3).shuffle(names)
    queue = batch(tmp_path, 0)
    for at in range(0, 60, 20):
        add(queue, names[at : at + 20])
    finish(queue)
    rows = exported(tmp_path)
    assert list(rows[0]).index(COLUMN) == list(rows[0]).index("finished_at") + 1, "the last of ours"
    assert [row["id"] for row in sorted(rows, key=lambda row: row[COLUMN])] == names
    assert sorted(row[COLUMN] for row in rows) == list(range(1, 61))
    assert {row["id"] for row in exported(tmp_path, "y", where="input_order <= 5")} == set(names[:5])
    Batch(queue.root).export("txt", tmp_path / "t", name="{input_order:03d}", flat=True)
    assert sorted(path.name for path in (tmp_path / "t").glob("*.txt"))[7] == f"008 [{names[7]}].txt"


def test_joined_segments_leave_the_order_of_each_list(tmp_path: Path) -> None:
    queue = batch(tmp_path, 0)
    lists = [ids(n, 100 * n) for n in (5, 40, *range(1, 5), 7, 6)]
    for names in lists:
        add(queue, names)
    with take_or_say_who(queue.seed_lock, "seeding"):
        gather(queue, filed=False, start=True)
    finish(queue)
    rows = sorted(exported(tmp_path), key=lambda row: row[COLUMN])
    assert len({row[COLUMN] for row in rows}) == len(rows) == sum(map(len, lists))
    for names in lists:
        assert [row["id"] for row in rows if row["id"] in names] == names


def test_a_video_that_no_list_has_or_a_damaged_list_has_no_place(tmp_path: Path) -> None:
    canned_batch.batch(tmp_path, canned_batch.some(3))
    assert {row[COLUMN] for row in exported(tmp_path)} == {None}
    queue = worked(tmp_path / "other", 5)
    path = Path(queue.segment(next(iter(queue.segments()))))
    damage(str(path), path.read_bytes().index(b"\n") + 2)
    assert {row[COLUMN] for row in exported(tmp_path / "other")} == {None}


@given(st.permutations([*ids(30), ODD, "-----------", "___________", "zzzzzzzzzz4"]))
def test_each_place_is_found_and_no_other(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = tmp_path_factory.mktemp("order")
    queue = make_queue(str(root / "queue"))
    add(queue, names)
    write_order(Queue(queue.root), str(root / "order"))
    order = InputOrder(str(root / "order"))
    for place, name in enumerate(names, 1):
        assert order.of(name) == (place if name[-1] in "AEIMQUYcgkosw048" else None)
    assert [order.of(name) for name in (*ids(3, 90), "", "ü", "x" * 400)] == [None] * 6
