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

from engine.budget import Outcome
from engine.errors import Exit, Interrupted
from engine.inputs import Line
from engine.model import Cost, Failure, Kind, Permit
from engine.process.child_side import carried_out
from engine.process.heartbeat import Heart
from engine.queue import channel_state, events
from engine.queue.channel_state import Listing
from engine.queue.directory import Queue, open_queue
from engine.queue.manifest import read_checkpoint
from engine.seeding.elsewhere import Elsewhere
from engine.seeding.seed import SEED_WAIT_S, Seeding
from engine.settings import Settings
from engine.storage.locks import take_or_say_who
from engine.storage.timestamps import utc
from engine.worker.attempt import outcome_of
from engine.worker.context import open_budget, open_door
from engine.youtube.channel_pages import Lists, Stopped, address

BATCH_IDS = 900  # from which on they are seeded; with a page of up to 100 more they are a thousand at most
WAITS_S = (60.0, 600.0, 3600.0)
NOT_ITS_FAULT_S = 5.0  # the egress was closed: permits are waited for, so this only breaks a circle
LOOK_S = 2.0
CALM_S = 0.25
LOCK_WAIT_S = 5.0


class Lister:
    """Works off the open listings. `stop` ends it between two requests."""

    def __init__(self, queue: Queue, settings: Settings, stop: threading.Event) -> None:
        self.queue = queue
        self._settings = settings
        self._stop = stop
        self._budget = open_budget(queue, settings)
        self._door = open_door(settings, self._budget, self._take)
        self._lists = Lists(self._door, self._take, self._told, settings.deadline_s)
        self._elsewhere = Elsewhere(queue)
        self._source = ""  # of the listing under way
        self._max_results: int | None = None
        self._own = (
            True  # whether its last failure is to be charged to the listing under way, and not to the egress
        )
        self._refused: set[str] = set()  # sources that were refused before

    def run(self) -> None:
        """Work until no listing is open. Raises EngineError, OSError."""
        while not self._stop.is_set():
            left = channel_state.open_ones(self.queue)
            if not left:
                return
            due = [its for its in left if its.due(time.time())]
            if not due:
                self._stop.wait(min(channel_state.next_due_s(left), LOOK_S))
            for its in due:  # all are read once for all of them, not once for each
                if self._stop.is_set():
                    return
                now = channel_state.read(
                    self.queue, its.number
                )  # a seeding or `sync` may have changed it meanwhile
                if now is not None and now.due(time.time()):
                    self.work(now)

    def close(self) -> None:
        self._lists.close()
        self._door.close()
        self._budget.close()

    # ---- one listing ----------------------------------------------------------------------------------------
    def work(self, its: Listing) -> None:
        """List a source as far as it goes now."""
        self._source, self._own = its.source, True
        try:
            while its.parts:
                stopped = self._part(its)
                if stopped is not None:
                    self._failed(its, stopped)
                    return
        except Interrupted:
            return
        events.emit(self.queue, "listed", f"{its.source}: {its.found:,} videos", source=its.source)

    def _part(self, its: Listing) -> Stopped | None:
        """List the part under way; what stopped it, or None when it is through."""
        part, goes_on_at = its.parts[0], its.token
        if goes_on_at is None:
            its.found, its.fresh[part] = its.base, []
        self._max_results = its.max_results
        head = frozenset(its.heads.get(part, ()))
        gathered: list[str] = []
        counted = 0
        for got in self._lists.pages(address(its.kind, its.source, part, its.max_results), goes_on_at):
            if isinstance(got, Stopped):
                if gathered:
                    self._seed(its, gathered, counted, goes_on_at)
                return self._without(its, got)
            if not got.repeated:
                counted += len(got.ids)
                its.fresh[part] = its.fresh.get(part) or list(got.ids[: channel_state.HEAD_IDS])
            gathered += got.ids
            # Results of a search come in another order each time: there is no place to go on in them.
            goes_on_at = got.following if its.kind != "search" else None
            over = got.following is None
            if over or head or len(gathered) >= min(BATCH_IDS, max(1, its.found - its.base)):
                fresh = self._seed(its, gathered, counted, goes_on_at, over=over)
                if not (over or fresh or head.isdisjoint(gathered)):
                    self._seed(its, [], 0, None, over=True)
                    return None
                gathered, counted = [], 0
        return None

    def _seed(
        self, its: Listing, ids: list[str], counted: int, token: str | None, *, over: bool = False
    ) -> int:
        """Seed videos and save how far the listing is; returns how many of them were new."""
        lines = (
            Line("listing", n, name, name, {"source": its.source}, None) for n, name in enumerate(ids, 1)
        )
        with take_or_say_who(self.queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
            added = Seeding(self.queue, unwanted=self._elsewhere.ids()).add(lines).added if ids else 0
            its.added += added
            its.found += added if its.listed_at else counted
            if its.found > its.most or over:
                its.tries, its.last_error, its.next_try = 0, None, None
            its.most = max(its.most, its.found)
            its.token = token
            known = channel_state.read(self.queue, its.number)
            its.max_results = known.max_results if known else its.max_results
            if over:
                self._through(its)
                if its.max_results != self._max_results:  # a search has been asked for more meanwhile
                    its.begin_again()
            channel_state.save(self.queue, its)
        return added

    def _through(self, its: Listing) -> None:
        """The part under way has been read to where it ends."""
        part = its.parts.pop(0)
        its.token, its.base = None, its.found
        if its.fresh.get(part) and (its.kind == "channel" or its.source.startswith("UU")):  # newest first
            its.heads[part] = its.fresh[part]
        if not its.parts:
            its.state, its.fresh, its.listed_at = channel_state.DONE, {}, utc()

    def _without(self, its: Listing, got: Stopped) -> Stopped | None:
        """Go on where a channel of which all tabs are meant lacks one. If it has none at all, its list of uploads may
        hold something (YouTube's "Topic" channels are such)."""
        tabs = channel_state.parts_of(its.kind, its.source)
        uploads = its.parts[0].startswith("UU")
        if not (got.missing and len(tabs) > 1) and not (got.wrong and uploads):
            return got
        if its.parts == tabs[-1:] and got.channel_id and its.heads.keys().isdisjoint(tabs):
            its.parts.append(f"UU{got.channel_id[2:]}")
        self._seed(its, [], 0, None, over=True)
        return None

    def _failed(self, its: Listing, stopped: Stopped) -> None:
        """Another try later, or none; a failure of the egress costs nothing."""
        failure, pace = stopped.failure, self._settings.budget.pace
        wait_s = None
        if not stopped.wrong:
            wait_s = WAITS_S[its.tries] if its.tries < len(WAITS_S) else None
            wait_s = wait_s if self._own else NOT_ITS_FAULT_S
        with take_or_say_who(self.queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
            its.last_error = failure.message
            if its.tries and failure.kind in (Kind.SERVER_ERROR, Kind.GARBLED):
                its.token = None  # a second time there: YouTube may no longer know the place to go on at
            if wait_s is None:
                its.state, its.next_try = channel_state.FAILED, None
            else:
                its.next_try = time.time() + wait_s / pace
            its.tries += wait_s != NOT_ITS_FAULT_S
            channel_state.save(self.queue, its)
        events.emit(
            self.queue,
            "listing_waits" if wait_s else "listing_failed",
            f"{its.source}: {failure.message}",
            source=its.source,
            kind=str(failure.kind),
        )

    # ---- permits --------------------------------------------------------------------------------------------
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

    def _told(self, permit: Permit, failure: Failure | None, cost: Cost) -> None:
        """Count a request, and report what it says of its egress."""
        self._budget.add_bytes(permit.egress, cost.bytes)
        rotating = self._settings.egresses[permit.egress].rotating
        outcome = outcome_of(failure, rotating=rotating) if failure else Outcome.OK
        health = self._budget.report(
            permit,
            outcome,
            job=self._source,
            retry_after_s=failure.retry_after_s if failure else None,
        )
        if outcome is Outcome.BLOCKED:  # its own when it is refused again, and nothing else is
            self._own = self._source in self._refused and not health.confirmed
            self._refused.add(self._source)
        else:
            on_the_way = outcome in (Outcome.NETWORK, Outcome.TIMEOUT, Outcome.EXIT)
            self._own = not (on_the_way and health.in_trouble)


# ---- the process ---------------------------------------------------------------------------------------------
def _leave_with_supervisor() -> None:
    """The lifeline: when standard input ends, the supervisor is gone or wants an end, and what is saved is saved."""
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
    threading.Thread(target=_leave_with_supervisor, name="lifeline", daemon=True).start()
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
    os._exit(code)  # past the lifeline's thread, which waits in a read
