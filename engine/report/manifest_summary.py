"""One pass over the manifest: when jobs became final, what each status cost, and a few examples of each kind."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.model import WAYS, Kind, Status
from engine.queue.directory import Queue
from engine.queue.manifest import read_checkpoint, read_lines
from engine.report.timeline import Timeline
from engine.report.unfetched import Unfetched
from engine.storage.timestamps import seconds

EXAMPLES = 3  # of each kind, the latest
NEW_EXAMPLES = 10
MAX_SOURCES = 10_000  # of new videos: a user's column may be named `source` as well
_KINDS = frozenset(map(str, Kind))
OTHER = "other"  # whatever else a row may say


@dataclass(slots=True)
class StatusCost:
    """Jobs of one status, and the requests and body bytes that they took."""

    jobs: int = 0
    requests: int = 0
    bytes: int = 0


@dataclass(slots=True)
class NewVideos:
    """Videos that have become final since the last run began (`since`, seconds since 1970), by status.

    `sources` counts those that a channel, playlist or search brought; `examples` are the latest with a transcript.
    """

    since: float
    ok: int = 0
    absent: int = 0
    failed: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    examples: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=NEW_EXAMPLES))

    @property
    def videos(self) -> int:
        return self.ok + self.absent + self.failed

    def add(self, row: dict[str, Any]) -> None:
        status = row["status"]
        setattr(self, status, getattr(self, status) + 1)
        given = row.get("input")
        source = _text(given.get("source")) if isinstance(given, dict) else ""
        if source and (source in self.sources or len(self.sources) < MAX_SOURCES):
            self.sources[source] = self.sources.get(source, 0) + 1
        if status == Status.OK:
            self.examples.append({name: _text(row.get(name)) for name in ("video_id", "title", "channel")})


@dataclass(slots=True)
class Rows:
    """What the manifest says. Its size does not depend on how many rows there are."""

    finished: Timeline = field(default_factory=Timeline)
    costs: dict[str, StatusCost] = field(
        default_factory=lambda: {str(status): StatusCost() for status in Status}
    )
    kinds: dict[str, int] = field(default_factory=dict)
    examples: dict[str, deque[dict[str, Any]]] = field(default_factory=dict)
    ways: dict[str, int] = field(default_factory=dict)  # videos that each way served
    undated: int = 0
    bad_lines: int = 0
    new: NewVideos | None = None
    unfetched: Unfetched = field(default_factory=Unfetched)
    _day: str = ""
    _day_s: float | None = None

    def add(self, row: dict[str, Any] | None, now: float) -> None:
        """Count a row; None, or what lacks its fields, is a bad line."""
        try:
            row = row or {}
            cost = self.costs[row["status"]]
            requests, n_bytes = int(row["requests"]), int(row["bytes"])
        except (ValueError, KeyError, TypeError, OverflowError):
            self.bad_lines += 1
            return
        cost.jobs += 1
        cost.requests += max(0, requests)
        cost.bytes += max(0, n_bytes)
        at = self._seconds(row.get("finished_at"))
        if at is None or not 0 < at <= now + 1:
            self.undated += 1
        else:
            self.finished.add(int(at))
            if self.new is not None and at >= int(self.new.since):  # rows know whole seconds
                self.new.add(row)
        if row["status"] == Status.OK:
            way = row.get("way")
            if way in WAYS:
                self.ways[way] = self.ways.get(way, 0) + 1
        else:
            kind = row.get("kind")
            kind = kind if isinstance(kind, str) and kind in _KINDS else OTHER
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            self.unfetched.add(row)
            shown = {name: _text(row.get(name)) for name in ("video_id", "title", "message")}
            self.examples.setdefault(kind, deque(maxlen=EXAMPLES)).append(shown)

    def _seconds(self, text: object) -> float | None:
        """The time in the form that rows have it, `2026-11-22T21:03:11Z`, read by the day: there are few days
        and many rows."""
        if not isinstance(text, str) or len(text) != 20 or text[10] != "T" or text[19] != "Z":
            return seconds(text)
        if text[:10] != self._day:
            self._day, self._day_s = text[:10], seconds(text[:10] + "T00:00:00Z")
        try:
            hours, minutes, its_seconds = int(text[11:13]), int(text[14:16]), int(text[17:19])
        except ValueError:
            return None
        return None if self._day_s is None else self._day_s + hours * 3600 + minutes * 60 + its_seconds


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""


def read(queue: Queue, now: float, new_since: float | None = None) -> Rows:
    """The rows as far as the checkpoint promises them; none when there is no checkpoint.

    `new_since`: when the last run began.
    """
    rows, checkpoint = Rows(), read_checkpoint(queue)
    rows.new = None if new_since is None else NewVideos(new_since)
    if checkpoint is not None:
        for row, _ in read_lines(queue, checkpoint.length):
            rows.add(row, now)
    return rows


def read_new(queue: Queue, since: float, after_bytes: int) -> NewVideos:
    """What has become final since a time, of the rows behind the manifest's first `after_bytes`."""
    new = NewVideos(since)
    rows, checkpoint = Rows(new=new), read_checkpoint(queue)
    length = checkpoint.length if checkpoint else 0
    with suppress(OSError):
        size = os.stat(queue.manifest).st_size
        # One byte more: the line that it begins in is passed over, and that is the one before.
        behind = size - after_bytes + 1 if after_bytes else None
        for row, _ in read_lines(queue, None if after_bytes else length, last_bytes=behind):
            rows.add(row, time.time())
    return new
