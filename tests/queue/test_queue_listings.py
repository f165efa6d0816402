"""The records of channels, playlists and searches."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from support import batch, lines

from engine import verify
from engine.inputs import Line
from engine.monitor import failed_jobs, status
from engine.queue import listings
from engine.queue.directory import Queue
from engine.queue.listings import Listing, Sources
from engine.queue.making import make_queue
from engine.recovery.repair import repair
from engine.recovery.requeue import retry_listings
from engine.seeding.seed import Seeded, Seeding
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "q"))


def seeded(queue: Queue, *texts: str, max_results: int = 50) -> Seeded:
    with take_or_say_who(queue.seed_lock, "seeding"):
        return Seeding(queue, max_results=max_results).add(
            Line("f", n, text, None, {}, "no video") for n, text in enumerate(texts)
        )


def ended(queue: Queue, number: int, state: str, **more: object) -> Listing:
    listing = listings.read(queue, number)
    assert listing is not None
    listing.state = state
    for name, value in more.items():
        setattr(listing, name, value)
    listings.save(queue, listing)
    return listing


def test_a_source_is_recorded_once_and_is_no_job(queue: Queue) -> None:
    got = seeded(queue, "@one", "https://www.youtube.com/@One", "PLmade-up-20", "nonsense!")
    assert (got.read, got.listed, got.duplicate, got.rejected, got.added) == (4, 2, 1, 1, 0)
    assert seeded(queue, "@one").duplicate == 1
    assert [(listing.number, listing.source, listing.parts) for listing in listings.read_all(queue)] == [
        (0, "@one", ["videos", "shorts", "streams"]),
        (1, "PLmade-up-20", [""]),
    ]
    assert queue.total() == 0
    assert status.collect(queue.root)["listings"] == {**listings.empty_summary(), "open": 2}
    for path in (queue.listings, queue.listing(0)):
        assert os.stat(path).st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("@a/shorts", ["shorts"]),
        ("c/name", ["videos", "shorts", "streams"]),
        ("c/name/videos", ["videos"]),
        ("UCxqPAgubo4coVn9Lx1FuKcg/streams", ["streams"]),
    ],
)
def test_the_parts_of_a_channel(source: str, parts: list[str]) -> None:
    assert listings.parts_of("channel", source) == parts


def test_a_search_that_may_find_more_is_done_again(queue: Queue) -> None:
    seeded(queue, "search:bread", max_results=20)
    ended(queue, 0, "done", found=20, parts=[])
    assert seeded(queue, "search:bread", max_results=20).duplicate == 1
    assert seeded(queue, "search:bread", max_results=70).listed == 1
    (listing,) = listings.read_all(queue)
    assert (listing.state, listing.max_results, listing.parts) == ("open", 70, [""])


def test_sync_opens_all_but_searches(queue: Queue) -> None:
    seeded(queue, "@one", "PLmade-up-20", "search:bread", "@four", "@five")
    for number in (0, 1, 2):
        ended(queue, number, "done", found=7, parts=[], heads={"videos": ["x"]})
    ended(queue, 3, "failed", token="here")
    assert listings.sync(queue) == 3
    found = listings.read_all(queue)
    assert [each.state for each in found] == ["open", "open", "done", "open", "open"]
    assert found[3].token == "here", "what failed goes on where it was"
    assert (found[0].parts, found[0].token, found[0].base, found[0].heads) == (
        ["videos", "shorts", "streams"],
        None,
        7,
        {"videos": ["x"]},
    )
    assert listings.sync(queue, searches=True) == 1


def test_failed_ones_are_named_and_put_back_where_they_were(queue: Queue) -> None:
    seeded(queue, "@one", "@two")
    ended(queue, 0, "failed", last_error="it said no", tries=4, token="here", found=30)
    assert [(row["video_id"], row["kind"], row["message"]) for row in failed_jobs.rows(queue)] == [
        ("@one", "listing", "it said no")
    ]
    assert list(failed_jobs.rows(queue, {"private"})) == []
    assert list(failed_jobs.to_csv(failed_jobs.rows(queue)))[1].startswith("'@one,failed,listing,it said no")
    assert retry_listings(queue, dry_run=True) == 1
    assert retry_listings(queue) == 1
    listing = listings.read(queue, 0)
    assert listing is not None
    assert (listing.state, listing.token, listing.tries, listing.found) == ("open", "here", 0, 30)


def test_a_wait_is_over_when_its_time_has_come_or_the_clock_was_set() -> None:
    listing = Listing(0, "@a", "channel", next_try=1000.0)
    assert not listing.due(999.0)
    assert listing.due(1000.0)
    assert listing.due(1000.0 - 7 * 3600)
    listing.state = "failed"
    assert not listing.due(2000.0)


def test_a_summary_says_how_long_the_first_open_one_waits(queue: Queue) -> None:
    seeded(queue, "@one", "@two")
    ended(queue, 0, "open", next_try=time.time() + 600)
    assert listings.summary(queue)["next_try_s"] is None, "the other is due"
    at = time.time() + 60
    ended(queue, 1, "open", next_try=at)
    waits_s = listings.summary(queue)["next_try_s"]
    assert at - time.time() <= waits_s <= 60


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"number": 0}', '{"number": 1, "source": "@one", "kind": "channel"}']
)
def test_a_damaged_one_harms_nobody_and_is_named(queue: Queue, text: str) -> None:
    seeded(queue, "@one", "@two")
    Path(queue.listing(0)).write_text(text)
    assert [listing.source for listing in listings.read_all(queue)] == ["@two"]
    assert status.collect(queue.root)["listings"]["open"] == 1
    found = verify.audit(queue.root)
    assert [problem.what for problem in found.problems] == ["unreadable file"]
    assert "name its channel" in found.problems[0].detail
    assert seeded(queue, "@one").listed == 1, "given again it gets a number of its own"
    assert [listing.number for listing in listings.read_all(queue)] == [1, 2]


def test_the_audit_names_strays_and_doubles_and_repair_leaves_words_alone(queue: Queue) -> None:
    seeded(queue, "@one")
    value = json.loads(Path(queue.listing(0)).read_text())
    Path(queue.listing(1)).write_text(json.dumps({**value, "number": 1}))
    Path(queue.listings, "notes.txt").write_text("mine")
    Path(queue.listings, ".000000.json.0123abcd.tmp").write_text("half")
    found = verify.audit(queue.root)
    assert sorted(found.totals) == ["duplicate listing", "stray temporary file"]
    repaired = repair(queue.root)
    assert sorted(repaired.audit.totals) == ["duplicate listing"]
    assert Path(queue.listings, "notes.txt").read_text() == "mine"


def test_a_queue_from_before_there_were_listings(tmp_path: Path) -> None:
    queue = batch(tmp_path, 4)
    os.rmdir(queue.listings)
    assert status.collect(queue.root)["listings"] == listings.empty_summary()
    assert verify.audit(queue.root).ok
    assert list(failed_jobs.rows(queue)) == []
    with take_or_say_who(queue.seed_lock, "seeding"):
        assert Sources(queue).add("channel", "@one")
        assert Seeding(queue).add(lines([])).read == 0
    assert len(listings.open_listings(queue)) == 1
