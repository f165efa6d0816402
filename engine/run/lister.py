"""The lister: a process of its own that finds the videos of channels, playlists and searches, and seeds them.

    listings/<n>.json ── yt-dlp, a page at a time, by the run's egresses and permits ──> seed ──> segments/, pending/
            ^                                                                             │
            └──────────────────────── how far, in the same hold of seed.lock <────────────┘

It works beside the workers: the first page of a source is seeded as soon as it is there, then twice as many videos
each time, up to 1,000, so that fetching begins while a channel of 50,000 is still being listed. A death costs the
pages since the last seeding, which are read again; ids are only ever seeded once.

A source that was listed whole before and whose order is newest first (tabs of channels, uploads) is not read to its
end again. It ends with a page of which every video is in the queue and at least one stood on its first page when it
was last listed whole: all that is older was seen then. Videos that came into the queue another way stop nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import datetime

from engine.budget import Outcome
from engine.errors import Exit, Interrupted
from engine.inputs import Line
from engine.model import Failure, Kind, Permit, RequestCost
from engine.process.child_side import carried_out
from engine.process.heartbeat import Heart
from engine.process.threads import start_thread
from engine.queue import events, listings
from engine.queue.directory import Queue, open_queue
from engine.queue.listings import Listing
from engine.queue.manifest import read_checkpoint
from engine.seeding.known_ids import KnownIds
from engine.seeding.seed import SEED_WAIT_S, Seeding
from engine.settings import Settings
from engine.storage.locks import take_or_say_who
from engine.storage.timestamps import utc
from engine.worker.context import open_budget, open_client
from engine.worker.results import outcome_of
from engine.youtube.channel_pages import ListingClient, Page, Stopped, listing_url

BATCH_IDS = (
    900  # ids gathered before they are seeded; with a last page of up to 100 that is a thousand at most
)
WAITS_S = (60.0, 600.0, 3600.0)
EGRESS_WAIT_S = (
    5.0  # tries while the egress is closed; permits wait for it, so this only stops an endless loop
)
POLL_S = 2.0
CALM_S = 0.25
LOCK_WAIT_S = 5.0


class Lister:
    """Works off the open listings. `stop` ends it between two requests."""

    def __init__(self, queue: Queue, settings: Settings, stop: threading.Event) -> None:
        self.queue = queue
        self._settings = settings
        self._stop = stop
        self._budget = open_budget(queue, settings)
        self._client = open_client(settings, self._budget, self._take)
        self._lists = ListingClient(self._client, self._take, self._told, settings.deadline_s)
        self._elsewhere = KnownIds(queue)
        self._source = ""  # of the listing under way
        self._max_results: int | None = None
        self._own = True  # whether its last failure was its own, and not its egress's
        self._refused: set[str] = set()  # sources that were refused before

    def run(self) -> None:
        """Work until no listing is open. Raises EngineError, OSError."""
        while not self._stop.is_set():
            left = listings.open_listings(self.queue)
            if not left:
                return
            due = [listing for listing in left if listing.due(time.time())]
            if not due:
                self._stop.wait(min(listings.next_due_s(left), POLL_S))
            for listing in due:  # all are read once for all of them, not once for each
                if self._stop.is_set():
                    return
                now = listings.read(
                    self.queue, listing.number
                )  # a seeding or `sync` may have changed it meanwhile
                if now is not None and now.due(time.time()):
                    self.work(now)

    def close(self) -> None:
        self._lists.close()
        self._client.close()
        self._budget.close()

    # ---- one listing ----------------------------------------------------------------------------------------
    def work(self, listing: Listing) -> None:
        """List a source as far as it goes now."""
        self._source, self._own = listing.source, True
        try:
            while listing.parts:
                stopped = self._part(listing)
                if stopped is not None:
                    self._failed(listing, stopped)
                    return
        except Interrupted:
            return
        text = f"{listing.source}: {listing.found:,} videos{listings.about_dates(listing)}"
        events.emit(self.queue, "listed", text, source=listing.source)

    def _part(self, listing: Listing) -> Stopped | None:
        """List the part under way; what stopped it, or None when it is through."""
        part, goes_on_at = listing.parts[0], listing.token
        if goes_on_at is None:
            listing.found, listing.fresh[part] = listing.base, []
        self._max_results = listing.max_results
        head = frozenset(listing.heads.get(part, ()))
        gathered: list[str] = []
        counted = 0
        seen = 0 if listing.listed_at else listing.found - listing.base
        url = listing_url(listing.kind, listing.source, part, listing.max_results)
        for got in self._lists.pages(url, goes_on_at, dated=bool(listing.since)):
            if isinstance(got, Stopped):
                if gathered:
                    self._seed(listing, gathered, counted, goes_on_at)
                return self._without(listing, got)
            if not got.repeated:
                listing.fresh[part] = listing.fresh.get(part) or list(got.ids[: listings.HEAD_IDS])
            older = _behind_newest(
                listing, got.ids, head, seen := seen + (0 if got.repeated else len(got.ids))
            )
            taken, ends = _since(listing, got, len(got.ids) - (older or 0))
            gathered += taken
            counted += 0 if got.repeated else len(taken)
            # Results of a search come in another order each time: there is no place to go on in them.
            goes_on_at = got.following if listing.kind != "search" else None
            ends = ends or older is not None
            over = ends or got.following is None
            if over or head or len(gathered) >= min(BATCH_IDS, max(1, listing.found - listing.base)):
                fresh = self._seed(listing, gathered, counted, goes_on_at, over=over)
                if not (over or fresh or head.isdisjoint(gathered)):
                    self._seed(listing, [], 0, None, over=True)
                    return None
                if ends:
                    return None
                gathered, counted = [], 0
        return None

    def _seed(
        self, listing: Listing, ids: list[str], counted: int, token: str | None, *, over: bool = False
    ) -> int:
        """Seed videos and save how far the listing is; returns how many of them were new."""
        lines = (
            Line("listing", n, name, name, {"source": listing.source}, None) for n, name in enumerate(ids, 1)
        )
        with take_or_say_who(self.queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
            added = Seeding(self.queue, unwanted=self._elsewhere.ids()).add(lines).added if ids else 0
            listing.added += added
            listing.found += added if listing.listed_at else counted
            if listing.found > listing.most or over:
                listing.tries, listing.last_error, listing.next_try = 0, None, None
            listing.most = max(listing.most, listing.found)
            listing.token = token
            known = listings.read(self.queue, listing.number)
            listing.max_results = known.max_results if known else listing.max_results
            if over:
                self._through(listing)
                if listing.max_results != self._max_results:  # a search has been asked for more meanwhile
                    listing.restart()
            listings.save(self.queue, listing)
        return added

    def _through(self, listing: Listing) -> None:
        """The part under way has been read to where it ends."""
        part = listing.parts.pop(0)
        listing.token, listing.base = None, listing.found
        if listing.fresh.get(part) and newest_first(listing):
            listing.heads[part] = listing.fresh[part]
        if not listing.parts:
            listing.state, listing.fresh, listing.listed_at = listings.DONE, {}, utc()

    def _without(self, listing: Listing, got: Stopped) -> Stopped | None:
        """Skip a tab that a channel lacks, when all of its tabs were wanted. If it has none at all, its list of
        uploads may hold something (YouTube's "Topic" channels are such)."""
        tabs = listings.parts_of(listing.kind, listing.source)
        uploads = listing.parts[0].startswith("UU")
        if not (got.missing and len(tabs) > 1) and not (got.wrong and uploads):
            return got
        if listing.parts == tabs[-1:] and got.channel_id and listing.heads.keys().isdisjoint(tabs):
            listing.parts.append(f"UU{got.channel_id[2:]}")
        self._seed(listing, [], 0, None, over=True)
        return None

    def _failed(self, listing: Listing, stopped: Stopped) -> None:
        """Another try later, or none; a failure of the egress costs nothing."""
        failure, pace = stopped.failure, self._settings.budget.pace
        wait_s = None
        if not stopped.wrong:
            wait_s = WAITS_S[listing.tries] if listing.tries < len(WAITS_S) else None
            wait_s = wait_s if self._own else EGRESS_WAIT_S
        with take_or_say_who(self.queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
            listing.last_error = failure.message
            if listing.tries and failure.kind in (Kind.SERVER_ERROR, Kind.GARBLED):
                listing.token = None  # a second time there: YouTube may no longer know the place to go on at
            if wait_s is None:
                listing.state, listing.next_try = listings.FAILED, None
            else:
                listing.next_try = time.time() + wait_s / pace
            listing.tries += wait_s != EGRESS_WAIT_S
            listings.save(self.queue, listing)
        events.emit(
            self.queue,
            "listing_waits" if wait_s else "listing_failed",
            f"{listing.source}: {failure.message}",
            source=listing.source,
            kind=str(failure.kind),
        )

    def _take(self, egress: int | None = None) -> Permit:
        """A permit. As long as every egress is closed and there are jobs, probing is theirs: that a list can be had
        says nothing of players."""
        names = range(len(self._settings.egresses))
        while egress is None and not any(map(self._budget.calm, names)) and self._jobs_left():
            if self._stop.wait(CALM_S):
                raise Interrupted
        permit = self._budget.take(egress=egress, stop=self._stop)
        if permit is None:
            raise Interrupted
        return permit

    def _jobs_left(self) -> bool:
        checkpoint = read_checkpoint(self.queue)
        return self.queue.total() > (checkpoint.counts.final if checkpoint else 0)

    def _told(self, permit: Permit, failure: Failure | None, cost: RequestCost) -> None:
        """Count a request, and report what it says of its egress."""
        self._budget.add_bytes(permit.egress, cost.bytes)
        rotating = self._settings.egresses[permit.egress].rotating
        outcome = outcome_of(failure, rotating=rotating) if failure else Outcome.OK
        health = self._budget.report(
            permit,
            outcome,
            job=self._source,
            retry_after_s=failure.retry_after_s if failure else None,
            cause=failure.message if failure else "",
        )
        if outcome is Outcome.BLOCKED:  # its own when it is refused again, and nothing else is
            self._own = self._source in self._refused and not health.confirmed
            self._refused.add(self._source)
        else:
            on_the_way = outcome in (Outcome.NETWORK, Outcome.TIMEOUT, Outcome.EXIT)
            self._own = not (on_the_way and health.in_trouble)


def newest_first(listing: Listing) -> bool:
    """Whether each part of this source has its newest videos first."""
    return listing.kind == "channel" or listing.source.startswith("UU")


def _since(listing: Listing, page: Page, first: int) -> tuple[list[str], bool]:
    """The first videos of a page without those that are certainly older than `--since`; whether the part ends here.

    It ends where the order is newest first and the last video of the page that has a date is too old. What has no
    date is taken, and counted.
    """
    ids = list(page.ids[: max(0, first)])
    if not listing.since:
        return ids, False
    since = datetime.fromisoformat(f"{listing.since}T00:00:00+00:00").timestamp()
    dates = page.dates or (None,) * len(page.ids)
    old = [at is not None and at < since for at in dates]
    taken = [(name, at) for name, at, is_old in zip(ids, dates, old, strict=False) if not is_old]
    if not page.repeated:
        listing.left_out += len(ids) - len(taken)
        listing.undated += sum(at is None for _, at in taken)
    dated = [is_old for at, is_old in zip(dates, old, strict=True) if at is not None]
    return [name for name, _ in taken], newest_first(listing) and bool(dated) and dated[-1]


def _behind_newest(listing: Listing, ids: tuple[str, ...], head: frozenset[str], seen: int) -> int | None:
    """How many of a page's last videos `--newest` leaves out, when the part ends there; None when it goes on.

    The first time, N videos are taken. Later, those that stand before the first one known from the last listing. In a
    playlist that is not in the order of time there is no such place, so its first N are taken each time. `seen`: how
    many videos of the part have been read, this page's included.
    """
    if listing.newest is None:
        return None
    if head:
        at = next((number for number, name in enumerate(ids) if name in head), None)
        return None if at is None else len(ids) - at
    return seen - listing.newest if seen >= listing.newest else None


# ---- the process ---------------------------------------------------------------------------------------------
def _leave_with_supervisor() -> None:
    """Leave when standard input ends: the supervisor is gone or wants an end. What is saved is saved."""
    while os.read(0, 64):
        pass
    os._exit(Exit.OK)


def main(root: str) -> int:
    """Work off the open listings; exits when none is left."""
    return carried_out(lambda: _listed(root), f"listing into {root}")


def _listed(root: str) -> None:
    try:
        settings = Settings.unpack(sys.stdin.buffer)
    except EOFError:  # the supervisor died before it had said what to do
        return
    start_thread(_leave_with_supervisor, name="control")
    Heart.on_stdout().beat_by_itself()  # its main thread may wait an hour for a permit
    queue = open_queue(root)
    with take_or_say_who(queue.lister_lock, "lister", wait_s=LOCK_WAIT_S):
        lister = Lister(queue, settings, threading.Event())
        try:
            lister.run()
        finally:
            lister.close()


if __name__ == "__main__":
    sys.stdout.flush()
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)  # past the thread that waits in a read
