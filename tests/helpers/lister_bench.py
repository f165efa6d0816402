"""A lister over a made-up site, on a queue of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from engine.budget import BudgetSettings, Rate
from engine.inputs import Line
from engine.model import EgressSpec, Failure, Kind
from engine.queue import listings
from engine.queue.directory import Queue
from engine.queue.listings import Listing
from engine.queue.making import make_queue
from engine.queue.segments import read_ids
from engine.rehearsal import invented_ids
from engine.run.lister import Lister
from engine.seeding.seed import Seeding
from engine.settings import Frozen, Settings
from engine.storage.locks import take_or_say_who
from engine.youtube.channel_pages import Page, Stopped

IDS = list(invented_ids(4000))
REFUSED = Failure(Kind.BLOCKED, "YouTube answers 429")
NO = Failure(Kind.SERVER_ERROR, "YouTube answers 500")


class Site:
    """Pages of 30 in the place of yt-dlp; it stops at the page it is told to, `times` times."""

    def __init__(self) -> None:
        self.lists: dict[str, list[str]] = {}
        self.stops: dict[str, tuple[int, Stopped, int]] = {}
        self.asked: list[int] = []  # pages
        self.dates: dict[str, float] = {}  # of videos; the others have none

    def pages(self, url: str, token: str | None = None, *, dated: bool = False) -> Iterator[Page | Stopped]:
        part = url.rpartition("/")[2]
        if part not in self.lists:
            yield Stopped(NO, wrong=True, missing=True, channel_id="UCtopic")
            return
        videos, at = self.lists[part], 0
        while True:
            stop_at, stopped, times = self.stops.get(part, (-1, Stopped(NO), 0))
            if at == stop_at and times:
                self.stops[part] = (stop_at, stopped, times - 1)
                yield stopped
                return
            self.asked.append(at)
            jumps = at == 0 and token is not None
            following = int(token or 0) if jumps else at + 1
            more = following * 30 < len(videos)
            ids = tuple(videos[at * 30 : at * 30 + 30])
            dates = tuple(map(self.dates.get, ids)) if dated else ()
            yield Page(ids, str(following) if more else None, repeated=jumps, dates=dates)
            if not more:
                return
            at = following

    def close(self) -> None: ...


class Bench:
    """A queue with one source, a lister over the made-up site, and what it has done."""

    def __init__(self, root: Path, source: str = "@one", kind: str = "channel", pace: float = 1.0) -> None:
        self.queue = make_queue(str(root / "q"))
        with take_or_say_who(self.queue.seed_lock, "seeding"):
            listings.Sources(self.queue).add(kind, source)
        self.site = Site()
        self.lister = Lister(self.queue, settings(self.queue, pace), threading.Event())
        self.lister._lists.close()
        self.lister._lists = self.site  # type: ignore[assignment]

    @property
    def listing(self) -> Listing:
        state = listings.read(self.queue, 0)
        assert state is not None
        return state

    def work(self) -> Listing:
        self.site.asked.clear()
        self.lister.work(self.listing)
        return self.listing

    def segments(self) -> list[int]:
        return [self.queue.header(number).jobs for number in self.queue.segments()]

    def seeded(self) -> list[str]:
        return [name for number in self.queue.segments() for name in read_ids(self.queue.segment(number))]

    def add(self, names: list[str]) -> None:
        with take_or_say_who(self.queue.seed_lock, "seeding"):
            Seeding(self.queue).add(Line("f", 1, name, name, {}, None) for name in names)


def settings(queue: Queue, pace: float = 1.0) -> Settings:
    budget = BudgetSettings(Rate(None), pace)
    return Settings(queue.root, Frozen("/nowhere"), (EgressSpec("direct"),), budget)
