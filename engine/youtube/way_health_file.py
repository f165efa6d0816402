"""The health of the ways, shared by all processes of a queue through a small file, `ways.json`, under its own lock.

The file is written only when something changes. Who only fetches looks at its time once in a while and reads it when
that has changed. A file that is lost or damaged costs no more than that the ways are tried again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from engine.queue import checked_json, events
from engine.queue.directory import Queue
from engine.storage import disk
from engine.storage.locks import Lock
from engine.youtube import way_health
from engine.youtube.way_health import FAILURES, Health

POLL_S = 1.0
LOCK_WAIT_S = 2.0
MASK_EVERY = 60  # videos of a process, of which one is asked with and without the mask
UNPROVEN_EVERY = 16  # the same until the two were once the same


class WayHealth:
    """The health of all ways, for the threads of a process. Without a queue it is this process's alone.

    names  of the egresses, by index
    pace   shortens the times, as ENGINE_BUDGET_PACE does the budget's
    """

    def __init__(
        self,
        queue: Queue | None = None,
        names: Collection[str] = ("direct",),
        pace: float = 1.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._names = tuple(names)
        self._pace = pace
        self._wall = wall
        self._lock = threading.Lock()
        self._health = Health()
        self._stamp: tuple[int, int] | None = None  # of the file that `_health` was read from
        self._looked_at = 0.0
        self._served: set[tuple[str, int]] = set()  # (way, egress) that served, and have not failed since
        self._masked: dict[str, int] = {}  # by way: videos asked with the mask
        self._checked: dict[str, int] = {}  # by way: at which of them it was last compared
        self._spoilt: dict[str, int] = {}  # by way: answers in a row that could be read only without the mask
        if queue is not None:
            self._read()

    @property
    def is_shared(self) -> bool:
        """Whether it is a queue's, with more videos to come."""
        return self._queue is not None

    # ---- on the path of every video: memory only, and the file's time once a second ----------------------------
    def usable(self, ways: Collection[str], egress: int) -> tuple[str, ...]:
        """The ways to be tried for a video by an egress, in order."""
        self._look()
        if not self._health.ways:
            return tuple(ways)
        return way_health.usable(self._health, ways, self._names[egress])

    def in_health(self) -> set[str]:
        """The ways that served a video here, and have not failed since."""
        with self._lock:
            return {way for way, _ in self._served}

    def served(self, way: str, egress: int) -> None:
        """A way served a video."""
        first = (way, egress) not in self._served
        if first:
            with self._lock:
                self._served.add((way, egress))
        if self._health.unheard or self._off(way, egress) or (first and self._failed(way, egress)):
            self._serves_again(way, egress)

    def masked(self, way: str) -> bool:
        """Whether to ask with the mask."""
        return way_health.mask_is_on(self._health, way, self._wall(), self._pace)

    def mask_is_due(self, way: str) -> bool:
        """Whether this video is to be asked with and without the mask; counts it."""
        with self._lock:
            n = self._masked[way] = self._masked.get(way, 0) + 1
            every = MASK_EVERY if self._health.mask(way).proven else UNPROVEN_EVERY
            due = n - self._checked.get(way, 0 if every == MASK_EVERY else -every) >= every
            if due:
                self._checked[way] = n
        return due

    def mask_checked(self, way: str) -> None:
        """A video is asked with and without the mask; the next in a while."""
        with self._lock:
            self._checked[way] = self._masked.get(way, 0)

    def mask_served(self, way: str) -> None:
        """An answer with the mask could be read."""
        if self._spoilt:
            self._spoilt.pop(way, None)

    def mask_spoilt(self, way: str) -> int:
        """An answer could be read only without the mask; how many in a row by now."""
        with self._lock:
            n = self._spoilt[way] = self._spoilt.get(way, 0) + 1
        return n

    # ---- rare ----------------------------------------------------------------------------------------------
    def failed(self, way: str, egress: int, reason: str) -> None:
        """A way failed for a video that another way then served."""
        name = self._names[egress]
        with self._lock:
            served_since = (way, egress) in self._served
            self._served.discard((way, egress))
        before, after = self._change(
            lambda health, now: way_health.failed(
                health,
                way,
                name,
                reason,
                now,
                single=len(self._names) == 1,
                served_since=served_since,
                pace=self._pace,
            )
        )
        if before.way(way).off_for(name) is None and (scope := after.way(way).off_for(name)) is not None:
            where = "" if scope == way_health.ALL else name
            self._tell("way_off", f"{way}: {reason}; other ways serve the same videos", where, way=way)

    def forget_served(self) -> None:
        """The ways that were thought to work were not answered: of none is it known from now on."""
        with self._lock:
            self._served.clear()

    def unheard(self, ways: Collection[str], egress: int, reason: str) -> bool:
        """No way was answered anything about a video. Whether no way works, as far as can be known."""
        self.forget_served()
        before, after = self._change(
            lambda health, now: Health(health.ways, health.masks, min(health.unheard + 1, FAILURES))
        )
        if after.unheard < FAILURES:
            return False
        if before.unheard < FAILURES:
            self._tell("ways_dead", f"no way to YouTube works: {reason}", ways=list(ways))
        return True

    def trial(self, ways: Collection[str], egress: int) -> str | None:
        """The way that is to be tried again now, with a video that another has just served; None mostly."""
        name, now = self._names[egress], self._wall()
        if not self._health.ways or way_health.due(self._health, ways, name, now, self._pace) is None:
            return None
        chosen: list[str] = []

        def take(health: Health, now: float) -> Health:
            way = way_health.due(health, ways, name, now, self._pace)
            if way is None:
                return health
            chosen.append(way)
            return way_health.tried(health, way, name, now, self._pace)

        self._change(take)
        return chosen[0] if chosen else None

    def trial_failed(self, way: str, egress: int, reason: str) -> None:
        """A way that was off has failed again."""
        name = self._names[egress]
        self._change(lambda health, now: way_health.failed_again(health, way, name, reason, now, self._pace))

    def mask_agreed(self, way: str) -> None:
        """The same video was the same with and without the mask."""
        if not self._health.mask(way).proven:
            self._change(lambda health, now: way_health.mask_agreed(health, way))

    def mask_differed(self, way: str, reason: str) -> None:
        """The mask changed an answer."""
        before, _ = self._change(
            lambda health, now: way_health.mask_differed(health, way, reason, now, self._pace)
        )
        now = self._wall()
        if way_health.mask_is_on(before, way, now, self._pace):
            self._tell("mask_off", f"{way}: {reason}; asked without the mask for an hour", way=way)

    # ---- the file --------------------------------------------------------------------------------------------
    def _off(self, way: str, egress: int) -> bool:
        return bool(self._health.ways) and self._health.way(way).off_for(self._names[egress]) is not None

    def _failed(self, way: str, egress: int) -> bool:
        return bool(self._health.ways) and self._names[egress] in self._health.way(way).failures

    def _serves_again(self, way: str, egress: int) -> None:
        name = self._names[egress]

        def works(health: Health, now: float) -> Health:
            after = way_health.works(health, way, name)
            return Health(after.ways, after.masks, 0)

        before, after = self._change(works)
        if before.way(way).off_for(name) is not None and after.way(way).off_for(name) is None:
            self._tell("way_on", f"{way}: it serves again", way=way)

    def _change(self, change: Callable[[Health, float], Health]) -> tuple[Health, Health]:
        """Change the health for all processes; what it was before, and what it is now."""
        with self._lock:
            with self._held():
                self._read()
                before = self._health
                after = change(before, self._wall())
                if after != before:
                    self._health = after
                    self._write()
            return before, after

    @contextlib.contextmanager
    def _held(self) -> Any:
        """The file's lock. A process that cannot have it goes on without: it would lose a change of another's."""
        lock = None if self._queue is None else Lock(self._queue.ways_lock)
        try:
            if lock is not None:
                lock.take(wait_s=LOCK_WAIT_S)
        except OSError:
            lock = None
        try:
            yield
        finally:
            if lock is not None and lock.held:
                lock.release()

    def _look(self) -> None:
        """Read the file if it has changed; its time is looked at once a second."""
        now = time.monotonic()
        if self._queue is None or now - self._looked_at < POLL_S:
            return
        self._looked_at = now
        if _stamp(self._queue.ways) != self._stamp:
            with self._lock:
                self._read()

    def _read(self) -> None:
        if self._queue is None:
            return
        stamp = _stamp(self._queue.ways)
        if stamp != self._stamp:
            self._health, self._stamp = read_health(self._queue), stamp

    def _write(self) -> None:
        if self._queue is None:
            return
        with contextlib.suppress(OSError):  # then only this process knows
            data = checked_json.to_bytes(self._health.to_json())
            disk.publish(self._queue.ways, data, tmp_dir=self._queue.tmp, sync=False)
            self._stamp = _stamp(self._queue.ways)

    def _tell(self, event: str, reason: str, egress: str = "", **details: Any) -> None:
        if self._queue is not None:
            events.emit(self._queue, event, reason, **({"egress": egress} if egress else {}), **details)


def read_health(queue: Queue) -> Health:
    """What the file says now; nothing is wrong when it is missing or damaged."""
    try:
        return Health.from_json(checked_json.read(queue.ways))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return Health()


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
