"""Listings: channels, playlists and searches whose videos are to be found, and how far each is.

One file each, `listings/<n>.json`. Whoever writes one holds seed.lock and has read the file under it, so a seeding,
`sync`, `retry` and the lister never undo each other. A listing is no job: what it finds is seeded as jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from engine.queue.directory import Queue, is_number
from engine.storage import disk

OPEN, DONE, FAILED = "open", "done", "failed"
STATES = (OPEN, DONE, FAILED)
KIND = "listing"  # in place of a failure's kind, where jobs and listings are shown together
MAX_RESULTS = 50
HEAD_IDS = 100
_CLOCK_JUMP_S = 6 * 3600.0


@dataclass(slots=True)
class Listing:
    """One source, and how far it is listed.

    source, kind  as in `engine.inputs.sources`
    found, added  videos seen so far, and how many of them were new to the queue (may be too low after a crash)
    newest        how many of each part are taken when it is listed for the first time; None: all
    since         videos that are certainly older than this day (`2026-01-31`, UTC) are left out; None: none
    left_out      how many that were, the last time, and `undated` how many were taken that the list gives no date of
    parts         what is still to be listed, the current one first: tabs of a channel, otherwise one without a name
    token         where the current part continues; None: at its beginning
    base, most    `found` when the current part began, and its highest value
    tries         failures since the last progress; `next_try` is wall time in seconds
    heads         the first ids of each part that was listed completely, newest first
    fresh         the same of the listing under way
    listed_at     when it was last listed completely
    """

    number: int
    source: str
    kind: str
    state: str = OPEN
    found: int = 0
    added: int = 0
    max_results: int | None = None
    newest: int | None = None
    since: str | None = None
    left_out: int = 0
    undated: int = 0
    parts: list[str] = field(default_factory=list)
    token: str | None = None
    base: int = 0
    most: int = 0
    tries: int = 0
    last_error: str | None = None
    next_try: float | None = None
    heads: dict[str, list[str]] = field(default_factory=dict)
    fresh: dict[str, list[str]] = field(default_factory=dict)
    listed_at: str | None = None

    def due(self, now: float) -> bool:
        """Whether it may be tried now. A wait of many hours means that the clock was set."""
        return self.state == OPEN and not now < (self.next_try or 0.0) < now + _CLOCK_JUMP_S

    def put_back(self) -> None:
        """Open it, to continue where it stopped."""
        self.state, self.tries, self.next_try, self.last_error = OPEN, 0, None, None

    def restart(self) -> None:
        """Open it, to be listed from the beginning."""
        self.put_back()
        self.parts, self.token, self.fresh = parts_of(self.kind, self.source), None, {}
        self.base = self.most = self.found
        self.left_out = self.undated = 0


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A channel, playlist or search of a batch, as others see it.

    `state` is open (to be listed), done or failed; `found` videos were seen, `added` of them were new to the queue.
    `since`: videos older than this day are left out. Of the last listing: `left_out` were, and `undated` were taken
    though the list gives no date of them. `next_try_s`: when a listing that failed is tried again.
    """

    source: str
    kind: str
    state: str
    found: int
    added: int
    newest: int | None
    since: str | None
    left_out: int
    undated: int
    max_results: int | None
    listed_at: str | None
    last_error: str | None
    next_try_s: float | None


def source_status(listing: Listing) -> SourceStatus:
    """How far a listing is, by now."""
    next_try_s = round(max(0.0, listing.next_try - time.time()), 1) if listing.next_try else None
    same = (field.name for field in fields(SourceStatus) if field.name != "next_try_s")
    return SourceStatus(**{name: getattr(listing, name) for name in same}, next_try_s=next_try_s)


def about_dates(listing: Listing) -> str:
    """What `--since` did in the last listing, or will do, to be put behind it; nothing without that."""
    if not listing.since:
        return ""
    if not listing.found:
        return f"; since {listing.since}"
    text = f"; {listing.left_out:,} older than {listing.since} left out"
    return f"{text}, {listing.undated:,} without a date taken" if listing.undated else text


def parts_of(kind: str, source: str) -> list[str]:
    """The parts of a source that are listed one after another: a channel without a tab has three."""
    if kind != "channel":
        return [""]
    name, slash, tab = source.rpartition("/")
    return [tab] if slash and name not in ("c", "user") else ["videos", "shorts", "streams"]


def read_all(queue: Queue) -> list[Listing]:
    """All listings in the order they were given, without unreadable ones (`engine verify` names those)."""
    return list(_read(queue))


def _read(queue: Queue) -> Iterator[Listing]:
    for number in _numbers(queue):
        listing = read(queue, number)
        if listing is not None:
            yield listing


def read(queue: Queue, number: int) -> Listing | None:
    """One listing; None when it is missing or cannot be read."""
    try:
        with open(queue.listing(number), "rb") as file:
            value = json.load(file)
        listing = Listing(**{name: value[name] for name in _FIELDS if name in value})
        counts = (listing.found, listing.added, listing.base, listing.most, listing.tries)
        valid = listing.number == number and listing.state in STATES and isinstance(listing.source, str)
        return listing if valid and all(isinstance(n, int) for n in counts) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _numbers(queue: Queue) -> list[int]:
    try:
        names = os.listdir(queue.listings)
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(int(stem) for stem in stems if is_number(stem))


def save(queue: Queue, listing: Listing) -> None:
    """Write a listing, durably. The caller holds seed.lock."""
    data = json.dumps({"schema_version": 1, **asdict(listing)}) + "\n"
    disk.publish_durably(queue.listing(listing.number), data.encode(), tmp_dir=queue.tmp)


class Sources:
    """The sources of a queue (None: there is no queue). The caller holds seed.lock, unless `read_only`."""

    def __init__(self, queue: Queue | None, *, read_only: bool = False) -> None:
        self._queue = queue
        self._read_only = read_only
        self._known: dict[str, Listing] | None = None
        self._next = 0

    def add(
        self,
        kind: str,
        source: str,
        max_results: int = MAX_RESULTS,
        newest: int | None = None,
        since: str | None = None,
    ) -> bool:
        """Record a source; False when it is known. A search with a higher limit than before is done again."""
        if self._known is None:
            if self._queue is not None and not self._read_only:
                disk.ensure_dir(self._queue.listings)
            self._known = {found.source: found for found in _read(self._queue)} if self._queue else {}
            self._next = max(_numbers(self._queue), default=-1) + 1 if self._queue else 0
        limit = max_results if kind == "search" else None
        listing = self._known.get(source)
        if listing is not None:
            if limit is None or limit <= (listing.max_results or 0):
                return False
            listing.max_results = limit
            listing.restart()
        else:
            listing = Listing(self._next, source, kind, max_results=limit, parts=parts_of(kind, source))
            if kind != "search":
                listing.newest, listing.since = newest, since
            self._next += 1
        if self._queue is not None and not self._read_only:
            save(self._queue, listing)
        self._known[source] = listing
        return True


def open_listings(queue: Queue) -> list[Listing]:
    """The listings that are not complete."""
    return [listing for listing in _read(queue) if listing.state == OPEN]


def summary(queue: Queue) -> dict[str, Any]:
    """How many listings there are by state and how many videos they found; `next_try_s` when all open ones wait."""
    found = _cached(queue)
    counts = {state: sum(listing.state == state for listing in found) for state in STATES}
    wait_s = next_due_s([listing for listing in found if listing.state == OPEN])
    return {
        **counts,
        "found": sum(listing.found for listing in found),
        "next_try_s": round(wait_s, 1) or None,
    }


_Cached = tuple[tuple[int, int, int], Listing | None]  # (inode, time and size of a file, what it holds)
_cache: dict[str, dict[int, _Cached]] = {}


def _cached(queue: Queue) -> list[Listing]:
    """All listings, for reading only. Only files that changed since the last call in this process are read.

    A queue may have ten thousand of them, and the status asks twice a second.
    """
    before = _cache.get(queue.root, {})
    now: dict[int, _Cached] = {}
    try:
        with os.scandir(queue.listings) as entries:
            for entry in entries:
                stem = entry.name.removesuffix(".json")
                if stem == entry.name or not is_number(stem):
                    continue
                with contextlib.suppress(OSError):  # replaced at this moment: the next call reads it
                    stat = entry.stat()
                    mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                    number = int(stem)
                    known = before.get(number)
                    same = known is not None and known[0] == mark
                    now[number] = known if known and same else (mark, read(queue, number))
    except OSError:
        pass
    _cache[queue.root] = now
    return [listing for _, (_, listing) in sorted(now.items()) if listing is not None]


def empty_summary() -> dict[str, Any]:
    """The summary when there are no listings."""
    return {**dict.fromkeys(STATES, 0), "found": 0, "next_try_s": None}


def failure_rows(queue: Queue) -> Iterator[dict[str, Any]]:
    """The failed listings in the shape of a job's row, with the source in place of the id."""
    for listing in _read(queue):
        if listing.state == FAILED:
            yield {
                "video_id": listing.source,
                "status": FAILED,
                "kind": KIND,
                "message": listing.last_error,
                "attempts": listing.tries,
            }


def put_back(queue: Queue, *, dry_run: bool = False) -> int:
    """Open the failed listings; returns how many. The caller holds seed.lock."""
    failed = [listing for listing in _read(queue) if listing.state == FAILED]
    for listing in failed if not dry_run else ():
        listing.put_back()
        save(queue, listing)
    return len(failed)


def sync(queue: Queue, *, searches: bool = False, since: str | None = None) -> int:
    """Open the complete listings to look for new videos, and the failed ones to continue; returns how many.

    From now on they leave out what is older than `since`, if that is given. The caller holds seed.lock.
    """
    closed = [
        listing
        for listing in _read(queue)
        if listing.state != OPEN and (searches or listing.kind != "search")
    ]
    for listing in closed:
        if listing.state == DONE:
            listing.restart()
        else:
            listing.put_back()
        if since and listing.kind != "search":
            listing.since = since
        save(queue, listing)
    return len(closed)


def drop(queue: Queue, listing: Listing) -> None:
    """Forget a source; the videos that it added stay. The caller holds lister.lock and seed.lock."""
    disk.unlink(queue.listing(listing.number))
    disk.sync_dir(queue.listings)


def rename(queue: Queue, listing: Listing, source: str) -> None:
    """Go on with a source under another name, as when a channel has changed its handle. Locks as for `drop`."""
    if parts_of(listing.kind, source) != parts_of(listing.kind, listing.source):
        listing.heads = {}
        listing.restart()
        listing.parts = parts_of(listing.kind, source)
    listing.source = source
    if listing.state == FAILED:
        listing.put_back()
    save(queue, listing)


def next_due_s(listings: list[Listing]) -> float:
    """In how many seconds the first of these may be tried."""
    now = time.time()
    return min((0.0 if each.due(now) else (each.next_try or 0.0) - now for each in listings), default=0.0)


_FIELDS = tuple(each.name for each in fields(Listing))
