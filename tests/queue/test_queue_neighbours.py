"""Which queues are found near a place where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.queue.making import make_queue
from engine.queue.neighbours import neighbours


@pytest.mark.parametrize(
    "there",
    ["here/talks", "here/talks/queue_dir", "here", "other/queue_dir", "other", "here/sub/mine"],
)
def test_a_queue_nearby_is_found(tmp_path: Path, there: str) -> None:
    (tmp_path / "here").mkdir()
    make_queue(str(tmp_path / there))
    assert neighbours(str(tmp_path / "here" / "mine")) == [str(tmp_path / there)]


def test_the_one_last_worked_on_comes_first_and_others_are_no_queues(tmp_path: Path) -> None:
    here = tmp_path / "here"
    for name, at in (("a", 100), ("b", 300), ("c", 200)):
        make_queue(str(here / name))
        os.utime(here / name, (at, at))
    (here / "git").mkdir()
    (here / "git" / "FORMAT").write_text("png\n")
    assert [Path(path).name for path in neighbours(str(here / "queue_dir"))] == ["b", "c", "a"]


def test_what_is_far_missing_or_itself_is_not_named(tmp_path: Path) -> None:
    make_queue(str(tmp_path / "a" / "b" / "c" / "d"))
    make_queue(str(tmp_path / "x" / "mine"))
    assert neighbours(str(tmp_path / "x" / "mine")) == []
    assert neighbours(str(tmp_path / "x" / "no" / "such" / "place")) == []


def test_where_something_else_is_nothing_is_named(tmp_path: Path) -> None:
    make_queue(str(tmp_path / "here" / "talks"))
    (tmp_path / "here" / "mine").mkdir()
    (tmp_path / "here" / "mine" / "notes.txt").touch()
    assert neighbours(str(tmp_path / "here" / "mine")) == []
