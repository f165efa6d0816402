"""The lister at work: what it seeds when, where it goes on, when it stops, and what a failure costs."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from lister_bench import IDS, NO, REFUSED, Bench, settings
from patience import HANG_S, ends
from small_run import told

from engine import Batch
from engine.errors import Interrupted, UsageError
from engine.model import RequestCost
from engine.queue import events, listings
from engine.queue.directory import Queue
from engine.queue.listings import Listing
from engine.queue.making import make_queue
from engine.run.lister import EGRESS_WAIT_S, WAITS_S
from engine.settings import Settings
from engine.storage.locks import take_or_say_who
from engine.youtube.channel_pages import Stopped

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    item = Bench(tmp_path)
    yield item
    item.lister.close()


def test_the_first_page_at_once_then_more_and_more_up_to_a_thousand(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:3500]
    listing = bench.work()
    assert bench.segments() == [30, 30, 60, 120, 240, 480, 900, 900, 740]
    assert bench.seeded() == IDS[:3500]
    assert (listing.state, listing.found, listing.added, listing.parts, listing.token) == (
        "done",
        3500,
        3500,
        [],
        None,
    )
    assert [event["event"] for event in events.recent(bench.queue, 60.0)] == ["listed"]


def test_its_videos_say_where_they_came_from(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:1]
    bench.work()
    assert '"source": "@one"' in Path(bench.queue.segment(0)).read_text()


def test_a_failure_in_the_middle_costs_a_wait_and_no_page(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:300]
    bench.site.stops["videos"] = (5, Stopped(NO), 1)
    before = time.time()
    listing = bench.work()
    assert (listing.state, listing.found, listing.tries, listing.last_error) == ("open", 150, 1, NO.message)
    assert before + WAITS_S[0] <= (listing.next_try or 0) <= time.time() + WAITS_S[0]
    assert bench.seeded() == IDS[:150]
    listing = bench.work()
    assert bench.site.asked == [0, *range(5, 10)], "its first page again, then where it was"
    assert (listing.state, listing.found, listing.added, listing.tries) == ("done", 300, 300, 0)
    assert bench.seeded() == IDS[:300]


def test_a_death_after_a_seeding_counts_nothing_twice(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:300]

    class Dead(BaseException):
        pass

    saves, save = [0], listings.save

    def dying(queue: Queue, listing: Listing) -> None:
        saves[0] += 1
        if saves[0] == 3:
            raise Dead
        save(queue, listing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listings, "save", dying)
        with pytest.raises(Dead):
            bench.work()
    assert bench.listing.found == 60
    assert len(bench.seeded()) == 120, "seeded, but not noted"
    listing = bench.work()
    assert (listing.state, listing.found) == ("done", 300)
    assert bench.seeded() == IDS[:300], "each once"


def test_it_is_given_up_after_four_failures_without_coming_on(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:300]
    bench.site.stops["videos"] = (5, Stopped(NO), 99)
    for wait_s in (60, 600, 3600):
        before = time.time()
        listing = bench.work()
        assert before + wait_s <= (listing.next_try or 0) <= time.time() + wait_s
    listing = bench.work()
    assert listing.next_try is None
    assert (listing.state, listing.tries, listing.found) == ("failed", 4, 150)
    assert bench.site.asked == [0, 1, 2, 3, 4], "the place to go on at is not trusted for ever"
    assert [event["event"] for event in events.recent(bench.queue, 60.0)][-1] == "listing_failed"


def test_one_that_comes_on_is_not_given_up(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:300]
    for page in range(1, 9):
        bench.site.stops["videos"] = (page, Stopped(NO), 1)
        listing = bench.work()
        assert (listing.state, listing.tries) == ("open", 1)


def test_a_wrong_source_fails_at_once(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:30]
    bench.site.stops["videos"] = (0, Stopped(NO, wrong=True), 1)
    listing = bench.work()
    assert (listing.state, listing.tries, listing.next_try, listing.last_error) == (
        "failed",
        1,
        None,
        NO.message,
    )


def blocked(bench: Bench) -> None:
    """A page is refused, and that opens the egress."""
    bench.lister._source = "@one"
    bench.lister._told(bench.lister._take(), REFUSED, RequestCost(1, 10))
    assert not bench.lister._budget.calm(0)


def test_a_block_is_the_egresss_and_costs_the_listing_nothing(bench: Bench) -> None:
    blocked(bench)
    for _ in range(6):
        listing = bench.listing
        bench.lister._failed(listing, Stopped(REFUSED))
    assert (listing.state, listing.tries) == ("open", 0)
    assert 0 < (listing.next_try or 0) - time.time() <= EGRESS_WAIT_S


@pytest.mark.parametrize("jobs", [1, 0])
def test_probing_is_left_to_the_jobs_where_there_are_any(tmp_path: Path, jobs: int) -> None:
    bench = Bench(tmp_path, pace=1000.0)
    blocked(bench)
    bench.add(IDS[:jobs])

    def take() -> None:
        with contextlib.suppress(Interrupted):
            bench.lister._take()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(1.0 if jobs else HANG_S)
    assert thread.is_alive() == bool(jobs)
    bench.lister._stop.set()
    ends(thread)


def test_a_channel_without_some_tabs_is_done_all_the_same(bench: Bench) -> None:
    bench.site.lists["shorts"] = IDS[:10]
    assert bench.work().state == "done"
    assert bench.seeded() == IDS[:10]


def test_one_without_any_tab_is_listed_by_its_uploads(bench: Bench) -> None:
    bench.site.lists["playlist?list=UUtopic"] = IDS[:40]
    listing = bench.work()
    assert (listing.state, listing.found) == ("done", 40)
    assert list(listing.heads) == ["UUtopic"]
    with take_or_say_who(bench.queue.seed_lock, "seeding"):
        listings.sync(bench.queue)
    bench.site.lists["playlist?list=UUtopic"] = IDS[40:45] + IDS[:40]
    assert bench.work().found == 45, "and synced so"


def test_one_with_nothing_at_all_is_done(bench: Bench) -> None:
    listing = bench.work()
    assert (listing.state, listing.found) == ("done", 0)


def test_a_tab_that_was_asked_for_and_is_not_there_fails(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "@one/shorts")
    bench.site.lists["videos"] = IDS[:10]
    assert bench.work().state == "failed"


def synced(bench: Bench, newer: int) -> Listing:
    """Once more, with so many videos on top of 300."""
    with take_or_say_who(bench.queue.seed_lock, "seeding"):
        assert listings.sync(bench.queue) == 1
    bench.site.lists["videos"] = IDS[300 : 300 + newer] + IDS[:300]
    return bench.work()


@pytest.fixture
def listed(bench: Bench) -> Bench:
    """A bench whose channel of 300 was listed whole."""
    bench.site.lists["videos"] = IDS[:300]
    assert bench.work().state == "done"
    return bench


@pytest.mark.parametrize(("newer", "pages"), [(0, [0]), (10, [0, 1]), (30, [0, 1]), (100, [0, 1, 2, 3, 4])])
def test_a_sync_reads_down_to_what_was_there(listed: Bench, newer: int, pages: list[int]) -> None:
    listing = synced(listed, newer)
    assert listed.site.asked == pages
    assert (listing.state, listing.found, listing.added) == ("done", 300 + newer, 300 + newer)
    assert sorted(listed.seeded()) == sorted(IDS[: 300 + newer])
    assert listing.heads["videos"] == listed.site.lists["videos"][:30]


def test_videos_that_came_in_another_way_stop_no_sync(listed: Bench) -> None:
    listed.add(IDS[300:330])
    synced(listed, 60)
    assert set(listed.seeded()) == set(IDS[:360])


def test_a_sync_that_was_cut_off_misses_nothing(listed: Bench) -> None:
    listed.site.stops["videos"] = (1, Stopped(NO), 1)
    assert synced(listed, 60).state == "open"
    assert len(listed.seeded()) == 330
    assert listed.work().state == "done"
    assert set(listed.seeded()) == set(IDS[:360])


def test_a_playlist_is_read_whole_each_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "PLxxxxxxxxxx", "playlist")
    part = "playlist?list=PLxxxxxxxxxx"
    bench.site.lists[part] = IDS[:90]
    assert bench.work().heads == {}
    with take_or_say_who(bench.queue.seed_lock, "seeding"):
        listings.sync(bench.queue)
    bench.site.lists[part] = IDS[:100]
    assert bench.work().found == 100
    assert bench.site.asked == [0, 1, 2, 3]
    bench.lister.close()


def test_a_search_begins_again_where_another_list_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "search:bread", "search")
    bench.site.lists["ytsearch50:bread"] = IDS[:50]
    bench.site.stops["ytsearch50:bread"] = (1, Stopped(NO), 1)
    assert bench.work().token is None
    assert bench.work().found == 50
    bench.lister.close()


def test_more_asked_of_a_search_under_way_is_not_forgotten(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "search:bread", "search")
    listing = bench.listing
    bench.site.lists["ytsearch50:bread"], bench.site.lists["ytsearch80:bread"] = IDS[:50], IDS[:80]
    with take_or_say_who(bench.queue.seed_lock, "seeding"):
        assert listings.Sources(bench.queue).add("search", "search:bread", 80)
    bench.lister.work(listing)  # as it was read before
    assert (bench.listing.state, bench.listing.max_results) == ("done", 80)
    assert bench.seeded() == IDS[:80]
    bench.lister.close()


def test_settings_travel_whole_and_a_cut_letter_is_none(tmp_path: Path) -> None:
    item = settings(make_queue(str(tmp_path / "q")))
    assert Settings.unpack(io.BytesIO(item.pack())) == item
    for length in (0, 5, 20):
        with pytest.raises(EOFError):
            Settings.unpack(io.BytesIO(item.pack()[:length]))


def test_it_ends_when_no_listing_is_open(bench: Bench) -> None:
    bench.site.lists["videos"] = IDS[:30]
    thread: Any = threading.Thread(target=bench.lister.run, daemon=True)
    thread.start()
    ends(thread)
    assert bench.listing.state == "done"


# ---- --newest --------------------------------------------------------------------------------------------


def newest(bench: Bench, count: int) -> Bench:
    """Have the bench's source begin with its newest videos."""
    listing = bench.listing
    listing.newest = count
    listings.save(bench.queue, listing)
    return bench


@pytest.mark.parametrize(("count", "pages"), [(5, 1), (30, 1), (31, 2), (60, 2), (500, 4)])
def test_newest_takes_the_first_of_the_list_and_reads_no_further(
    tmp_path: Path, count: int, pages: int
) -> None:
    bench = newest(Bench(tmp_path, "@one/videos"), count)
    bench.site.lists["videos"] = IDS[:100]
    assert bench.work().state == "done"
    assert bench.seeded() == IDS[: min(count, 100)]
    assert bench.site.asked == list(range(pages))


def test_after_newest_a_sync_adds_what_is_newer_and_nothing_older(tmp_path: Path) -> None:
    bench = newest(Bench(tmp_path, "@one/videos"), 5)
    bench.site.lists["videos"] = IDS[100:300]
    bench.work()
    for added in (3, 40):
        bench.site.lists["videos"] = [*IDS[100 - len(bench.seeded()) + 5 - added : 100], *IDS[100:300]]
        before = set(bench.seeded())
        listings.sync(bench.queue)
        assert bench.work().state == "done"
        new = set(bench.seeded()) - before
        assert len(new) == added
        assert new <= set(IDS[:100])


def test_newest_of_a_playlist_takes_its_first_each_time(tmp_path: Path) -> None:
    bench = newest(Bench(tmp_path, "PLx", "playlist"), 40)
    bench.site.lists["playlist?list=PLx"] = IDS[:100]
    bench.work()
    bench.site.lists["playlist?list=PLx"] = [*IDS[200:210], *IDS[:100]]
    listings.sync(bench.queue)
    bench.work()
    assert set(bench.seeded()) == {*IDS[:40], *IDS[200:210]}


def test_newest_goes_on_after_a_stop_and_takes_no_more(tmp_path: Path) -> None:
    bench = newest(Bench(tmp_path, "@one/videos"), 70)
    bench.site.lists["videos"] = IDS[:200]
    bench.site.stops["videos"] = (2, Stopped(NO), 1)
    bench.work()
    listing = bench.listing
    listing.next_try = None
    listings.save(bench.queue, listing)
    assert bench.work().state == "done"
    assert bench.seeded() == IDS[:70]


# ---- --since ---------------------------------------------------------------------------------------------

SINCE, DAY_S = "2026-06-10", 86_400.0
FIRST_S = datetime.fromisoformat(
    "2026-06-20T00:00:00Z"
).timestamp()  # of the newest video; each is a day older


def since(bench: Bench, names: list[str], part: str = "videos", *, undated: Collection[str] = ()) -> Bench:
    """Have the bench's source leave out what is older than SINCE."""
    listing = bench.listing
    listing.since = SINCE
    listings.save(bench.queue, listing)
    bench.site.lists[part] = names
    bench.site.dates = {name: FIRST_S - n * DAY_S for n, name in enumerate(names) if name not in undated}
    return bench


def test_what_is_older_is_left_out_and_the_list_read_no_further(tmp_path: Path) -> None:
    bench = since(Bench(tmp_path, "@one/videos"), IDS[:100])
    listing = bench.work()
    assert bench.seeded() == IDS[:11]  # the 20th to the 10th, that day included
    assert bench.site.asked == [0]
    assert (listing.state, listing.found, listing.left_out, listing.undated) == ("done", 11, 19, 0)
    assert "19 older than 2026-06-10 left out" in events.recent(bench.queue, 60.0)[-1]["reason"]


def test_what_has_no_date_is_taken_and_said(tmp_path: Path) -> None:
    bench = since(Bench(tmp_path, "@one/videos"), IDS[:100], undated={IDS[2], IDS[20]})
    assert bench.work().undated == 2
    assert bench.seeded() == [*IDS[:11], IDS[20]]
    assert "2 without a date taken" in told("sources", "-q", bench.queue.root)[1]


def test_a_list_without_dates_is_taken_whole_and_newest_bounds_it(tmp_path: Path) -> None:
    bench = since(Bench(tmp_path / "a", "@one/shorts"), IDS[:70], "shorts", undated=set(IDS))
    assert (bench.work().undated, len(bench.seeded())) == (70, 70)
    bench = since(newest(Bench(tmp_path / "b", "@one/shorts"), 5), IDS[:70], "shorts", undated=set(IDS))
    assert (bench.work().undated, bench.seeded()) == (5, IDS[:5])


def test_a_playlist_in_any_order_is_read_to_its_end(tmp_path: Path) -> None:
    names = IDS[:50]
    bench = since(Bench(tmp_path, "PLx", "playlist"), names, "playlist?list=PLx")
    bench.site.lists["playlist?list=PLx"] = names[::-1]
    assert bench.work().left_out == 39
    assert bench.seeded() == names[:11][::-1]
    assert bench.site.asked == [0, 1]


def test_after_since_a_sync_adds_what_is_newer(tmp_path: Path) -> None:
    bench = since(Bench(tmp_path, "@one/videos"), IDS[10:110])
    bench.site.dates = {name: FIRST_S - n * DAY_S for n, name in enumerate(IDS[:110])}
    bench.work()
    assert bench.seeded() == IDS[10:11]
    bench.site.lists["videos"] = IDS[:110]
    listings.sync(bench.queue)
    assert bench.work().state == "done"
    assert set(bench.seeded()) == set(IDS[:11])
    bench.site.lists["videos"] = IDS[:110]
    listings.sync(bench.queue, since="2026-06-01")  # further back: what was left out comes now
    bench.work()
    assert set(bench.seeded()) == set(IDS[:20])


def test_since_comes_with_the_source_and_with_a_sync(tmp_path: Path) -> None:
    batch = Batch(str(tmp_path / "q"))
    batch.seed(["@one", "search:old bread"], since="20260110")
    assert [each.since for each in batch.sources()] == ["2026-01-10", None]
    listing = listings.read_all(Queue(batch.root))[0]
    listing.state = "done"
    listings.save(Queue(batch.root), listing)
    assert batch.sync(since="2026-02-01") == 1
    assert batch.sources()[0].since == "2026-02-01"
    for wrong in ("1.2.2026", "2999-01-01", "2026-02-30"):
        with pytest.raises(UsageError, match="day"):
            batch.seed(["@two"], since=wrong)
        assert told("seed", "@two", "-q", batch.root, "--since", wrong)[0] == 2
