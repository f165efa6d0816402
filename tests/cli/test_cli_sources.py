"""`engine sources`: what there is, dropped, renamed."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from small_run import told

from engine import Batch
from engine.queue import listings
from engine.queue.directory import Queue
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    root = str(tmp_path / "q")
    for more in (
        ("@one", "PLrAXtmErZgOeiKm4sgNOknGvNjby9efdf", "--newest", "7"),
        ("search:old bread", "@two/videos"),
    ):
        assert told("seed", *more, "-q", root)[0] == 0
    return Queue(root)


def names(queue: Queue) -> list[str]:
    return [listing.source for listing in listings.read_all(queue)]


def test_they_are_listed(queue: Queue) -> None:
    code, out, err = told("sources", "-q", queue.root)
    assert (code, len(out.splitlines())) == (0, 4)
    assert "open" in out
    assert "@one" in out
    assert "still to be listed" in err
    found = json.loads(told("sources", "-q", queue.root, "--json")[1])["sources"]
    assert [each["newest"] for each in found] == [7, 7, None, None]
    assert found[2]["max_results"] == 50
    assert [asdict(each) for each in Batch(queue.root).sources()] == found
    listing = listings.read_all(queue)[0]
    listing.next_try = time.time() + 60
    listings.save(queue, listing)
    assert 50 < (Batch(queue.root).sources()[0].next_try_s or 0) <= 60


def test_one_is_dropped_in_any_spelling_and_can_be_added_again(queue: Queue) -> None:
    code, _, err = told(
        "sources", "-q", queue.root, "--drop", "https://www.youtube.com/@one", "--drop", "search:old bread"
    )
    assert code == 0
    assert "dropped @one" in err
    assert names(queue) == ["PLrAXtmErZgOeiKm4sgNOknGvNjby9efdf", "@two/videos"]
    assert told("seed", "@one", "-q", queue.root)[0] == 0
    assert "@one" in names(queue)
    assert told("verify", "-q", queue.root)[0] == 0


def test_one_is_renamed_and_keeps_what_was_listed(queue: Queue) -> None:
    listing = listings.read_all(queue)[0]
    listing.state, listing.parts, listing.heads, listing.added = "failed", ["shorts"], {"videos": ["x"]}, 9
    listings.save(queue, listing)
    assert told("sources", "-q", queue.root, "--rename", "@one", "@uno")[0] == 0
    renamed = listings.read_all(queue)[0]
    assert (renamed.source, renamed.state, renamed.parts) == ("@uno", "open", ["shorts"])
    assert (renamed.heads, renamed.added) == ({"videos": ["x"]}, 9)
    told("sources", "-q", queue.root, "--rename", "@uno", "@uno/videos")
    assert listings.read_all(queue)[0].parts == ["videos"]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--drop", "@three"), "no source of this batch; there are: @one"),
        (("--drop", "@one", "--drop", "@three"), "no source of this batch"),
        (("--rename", "@one", "search:x"), "is no channel"),
        (("--rename", "@one", "@two/videos"), "already"),
        (("--rename", "@one", "@uno", "--drop", "@one"), "one of them at a time"),
    ],
)
def test_a_slip_changes_nothing(queue: Queue, args: tuple[str, ...], why: str) -> None:
    before = names(queue)
    code, _, err = told("sources", "-q", queue.root, *args)
    assert code == 2
    assert why in err
    assert names(queue) == before


def test_not_while_a_run_lists(queue: Queue) -> None:
    with take_or_say_who(queue.lister_lock, "lister"):
        assert told("sources", "-q", queue.root, "--drop", "@one")[0] == 11
        assert told("sources", "-q", queue.root)[0] == 0


def test_without_sources(tmp_path: Path) -> None:
    told("seed", "dQw4w9WgXcQ", "-q", str(tmp_path / "q"))
    assert told("sources", "-q", str(tmp_path / "q")) == (0, "", "this batch has no sources\n")
    assert told("sources", "-q", str(tmp_path / "none"))[0] == 10
