"""Listings: channels, playlists and searches whose videos are to be found, and how far that is.

One file each, `listings/<n>.json`, replaced whole. Whoever writes one holds seed.lock and has read it under it, so a
seeding, `sync`, `retry` and the lister never undo each other. A listing is no job: what it finds is seeded as jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from engine.queue.directory import Queue, is_number
from engine.storage import disk

OPEN, DONE, FAILED = "open", "done", "failed"
STATES = (OPEN, DONE, FAILED)
KIND = "listing"  # what stands for the kind of a failure where jobs and listings are told together
MAX_RESULTS = 50
HEAD_IDS = 100
_CLOCK_JUMP_S = 6 * 3600.0


@dataclass(slots=True)
class Listing:
    """One source, and how far it is listed.

    source, kind  as in `engine.inputs.sources`
    found, added  videos met so far, and those of them that were new to the queue (after a crash it may say less)
    parts         what is still to be listed, the first of them under way: tabs of a channel, else one nameless
    token         where the part under way goes on; None: at its beginning
    base, most    `found` when the part under way was begun, and at its highest
    tries         failures since it last came on; `next_try` is wall time in seconds
    heads         of parts that were listed whole, and newest first: the ids they began with then
    fresh         the same of the listing under way
    listed_at     when it was last listed whole
    """

    number: int
    source: str
    kind: str
    state: str = OPEN
    found: int = 0
    added: int = 0
    max_results: int | None = None
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
        """Whether it may be tried now (a wait of many hours means that the clock was set)."""
        return self.state == OPEN and not now < (self.next_try or 0.0) < now + _CLOCK_JUMP_S

    def put_back(self) -> None:
        """Open it, to be gone on with where it was."""
        self.state, self.tries, self.next_try, self.last_error = OPEN, 0, None, None

    def begin_again(self) -> None:
        """Open it, to be listed from its beginning."""
        self.put_back()
        self.parts, self.token, self.fresh = parts_of(self.kind, self.source), None, {}
        self.base = self.most = self.found


def parts_of(kind: str, source: str) -> list[str]:
    """The parts that a source is listed in: a channel without a tab has three."""
    if kind != "channel":
        return [""]
    name, slash, tab = source.rpartition("/")
    return [tab] if slash and name not in ("c", "user") else ["videos", "shorts", "streams"]


def read_all(queue: Queue) -> list[Listing]:
    """All listings in the order they were given; one that cannot be read is left out (`engine verify` names it)."""
    return list(_read(queue))


def _read(queue: Queue) -> Iterator[Listing]:
    for number in _numbers(queue):
        its = read(queue, number)
        if its is not None:
            yield its


def read(queue: Queue, number: int) -> Listing | None:
    """One listing; None when it is not there or cannot be read."""
    try:
        with open(queue.listing(number), "rb") as file:
            value = json.load(file)
        its = Listing(**{name: value[name] for name in _FIELDS if name in value})
        whole = its.number == number and its.state in STATES and isinstance(its.source, str)
        counts = (its.found, its.added, its.base, its.most, its.tries)
        return its if whole and all(isinstance(n, int) for n in counts) else None
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
    disk.publish(queue.listing(listing.number), data.encode(), tmp_dir=queue.tmp)
    disk.sync_dir(queue.listings)


class Sources:
    """The sources that a queue knows; the caller holds seed.lock, unless it is `read_only` (None: no queue)."""

    def __init__(self, queue: Queue | None, *, read_only: bool = False) -> None:
        self._queue = queue
        self._read_only = read_only
        self._known: dict[str, Listing] | None = None
        self._next = 0

    def add(self, kind: str, source: str, max_results: int = MAX_RESULTS) -> bool:
        """Record a source; False when it is known. A search that may find more than before is done again."""
        if self._known is None:
            if self._queue is not None and not self._read_only:
                disk.ensure_dir(self._queue.listings)
            self._known = {its.source: its for its in _read(self._queue)} if self._queue else {}
            self._next = max(_numbers(self._queue), default=-1) + 1 if self._queue else 0
        limit = max_results if kind == "search" else None
        its = self._known.get(source)
        if its is not None:
            if limit is None or limit <= (its.max_results or 0):
                return False
            its.max_results = limit
            its.begin_again()
        else:
            its = Listing(self._next, source, kind, max_results=limit, parts=parts_of(kind, source))
            self._next += 1
        if self._queue is not None and not self._read_only:
            save(self._queue, its)
        self._known[source] = its
        return True


def open_ones(queue: Queue) -> list[Listing]:
    """Those that are still to be listed."""
    return [its for its in _read(queue) if its.state == OPEN]


def summary(queue: Queue) -> dict[str, Any]:
    """How many there are by state, how many videos they have found, and, when all open ones wait for another try, how
    long the first of them does."""
    its = _briefs(queue)
    counts = {state: sum(each.state == state for each in its) for state in STATES}
    wait_s = next_due_s([each for each in its if each.state == OPEN])
    return {**counts, "found": sum(each.found for each in its), "next_try_s": round(wait_s, 1) or None}


_Seen = tuple[
    tuple[int, int, int], Listing | None
]  # what a file was, by inode, time and size, and what it held
_seen: dict[str, dict[int, _Seen]] = {}


def _briefs(queue: Queue) -> list[Listing]:
    """All listings, to be looked at and not changed. Whoever asks again in the same process has those read again that
    were replaced since: with ten thousand of them each look would read them all."""
    before = _seen.get(queue.root, {})
    now: dict[int, _Seen] = {}
    try:
        with os.scandir(queue.listings) as entries:
            for entry in entries:
                stem = entry.name.removesuffix(".json")
                if stem == entry.name or not is_number(stem):
                    continue
                with contextlib.suppress(OSError):  # replaced this moment: the next look has it
                    stat = entry.stat()
                    mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                    number = int(stem)
                    known = before.get(number)
                    same = known is not None and known[0] == mark
                    now[number] = known if known and same else (mark, read(queue, number))
    except OSError:
        pass
    _seen[queue.root] = now
    return [its for _, (_, its) in sorted(now.items()) if its is not None]


def nothing() -> dict[str, Any]:
    """The summary where there are none."""
    return {**dict.fromkeys(STATES, 0), "found": 0, "next_try_s": None}


def failure_rows(queue: Queue) -> Iterator[dict[str, Any]]:
    """The failed ones in the shape of a job's row, the source in place of the id."""
    for its in _read(queue):
        if its.state == FAILED:
            yield {
                "video_id": its.source,
                "status": FAILED,
                "kind": KIND,
                "message": its.last_error,
                "attempts": its.tries,
            }


def put_back(queue: Queue, *, dry_run: bool = False) -> int:
    """Open the failed ones; returns how many. The caller holds seed.lock."""
    return _change(queue, lambda its: its.state == FAILED, Listing.put_back, dry_run)


def sync(queue: Queue, *, searches: bool = False) -> int:
    """Have what was listed whole listed again for what is new, and what failed gone on with; returns how many. The
    caller holds seed.lock."""

    def wanted(its: Listing) -> bool:
        return its.state != OPEN and (searches or its.kind != "search")

    return _change(queue, wanted, lambda its: its.begin_again() if its.state == DONE else its.put_back())


def _change(
    queue: Queue, which: Callable[[Listing], bool], how: Callable[[Listing], None], dry_run: bool = False
) -> int:
    chosen = [its for its in _read(queue) if which(its)]
    for its in chosen if not dry_run else ():
        how(its)
        save(queue, its)
    return len(chosen)


def next_due_s(listings: list[Listing]) -> float:
    """How long until the first of these may be tried."""
    now = time.time()
    return min((0.0 if its.due(now) else (its.next_try or 0.0) - now for its in listings), default=0.0)


_FIELDS = tuple(its.name for its in fields(Listing))
