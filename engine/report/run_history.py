"""The history of a queue's runs, from `events.jsonl`: when they worked, when all egresses were blocked, what failed.

An egress cannot be used from its `block`, `network_lost` or `egress_retired` until its `resume` or `network_back`. A
run waits while that is so of all its egresses at once; its `start` says how many it has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.queue.directory import Queue
from engine.report.timeline import Span, joined
from engine.storage.timestamps import seconds

CLOSES = {"block": "blocked", "network_lost": "offline", "egress_retired": "offline"}
OPENS = frozenset({"resume", "network_back"})
_ORDINARY = frozenset({"start", "probe", *OPENS})
MAX_NAMES = 64  # of events and reasons: a damaged file may hold any
MAX_LINE = 1 << 16
MAX_EGRESSES = 4096
MAX_SPANS = 10_000


@dataclass(slots=True)
class Run:
    """One run. `exit_code` is None when it lives or was killed; `until` is then when it was last seen."""

    since: float
    until: float
    exit_code: int | None = None
    reason: str = ""


@dataclass(slots=True)
class Notable:
    """An event that is worth a look: how often, when first and last, and what it said last."""

    event: str
    count: int
    first: float
    last: float
    reason: str


@dataclass(slots=True)
class RunHistory:
    """All that the events say. Spans are in order of time; `closed` are those in which no egress could be used."""

    runs: list[Run] = field(default_factory=list)
    closed: list[Span] = field(default_factory=list)
    notable: dict[str, Notable] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)  # of workers, by how
    died_at: list[float] = field(default_factory=list)
    monitor_deaths: int = 0
    bad_lines: int = 0


class _Reader:
    """Goes through the events once."""

    def __init__(self, egresses: int) -> None:
        self.history = RunHistory()
        self._default = max(1, egresses)
        self._egresses = self._default
        self._shut: dict[str, str] = {}
        self._all_shut: tuple[float, str] | None = None
        self._closed: list[Span] = []
        self._fold_at = MAX_SPANS
        self._at = 0.0

    def add(self, event: dict[str, Any], at: float) -> None:
        name, egress = str(event.get("event"))[:40], str(event.get("egress"))[:80]
        reason = str(event.get("reason") or "")[:300]
        if name == "start":
            self._end_span(self._at)
            self._shut.clear()
            count = event.get("egresses")  # an earlier version did not say
            self._egresses = count if type(count) is int and count > 0 else self._default
            self.history.runs.append(Run(at, at))
        self._at = at
        if self.history.runs:
            self.history.runs[-1].until = max(self.history.runs[-1].until, at)
        if name in CLOSES and (egress in self._shut or len(self._shut) < MAX_EGRESSES):
            self._shut[egress] = CLOSES[name]
        elif name in OPENS:
            self._shut.pop(egress, None)
        elif name == "stop":
            self._end_run(event, reason, at)
        self._look(at)
        self._note(name, reason, at)

    def _look(self, at: float) -> None:
        if len(self._shut) < self._egresses:
            self._end_span(at)
            return
        why = "blocked" if "blocked" in self._shut.values() else "offline"
        if self._all_shut is None or self._all_shut[1] != why:
            self._end_span(at)
            self._all_shut = (at, why)

    def _end_span(self, at: float) -> None:
        if self._all_shut is not None:
            self._closed.append(Span(self._all_shut[0], at, self._all_shut[1]))
            self._all_shut = None
        if len(self._closed) > self._fold_at:  # a run has few; so many are joined to fewer and longer ones
            self._closed = list(joined(self._closed, gap_s=60.0))
            self._fold_at = MAX_SPANS + 2 * len(self._closed)

    def _end_run(self, event: dict[str, Any], reason: str, at: float) -> None:
        self._end_span(at)
        self._shut.clear()
        code = event.get("exit_code")
        if self.history.runs:
            self.history.runs[-1].exit_code = code if type(code) is int else None
            self.history.runs[-1].reason = reason

    def _note(self, name: str, reason: str, at: float) -> None:
        if name == "slot_died":
            self.history.deaths[reason if len(self.history.deaths) < MAX_NAMES else "other"] += 1
            if len(self.history.died_at) < 1000:
                self.history.died_at.append(at)
        self.history.monitor_deaths += name == "monitor_died"
        if name in _ORDINARY or (name == "stop" and not reason):
            return
        known = self.history.notable.get(name)
        if known is not None:
            known.count, known.last, known.reason = known.count + 1, at, reason
        elif len(self.history.notable) < MAX_NAMES:
            self.history.notable[name] = Notable(name, 1, at, at, reason)

    def end(self, at: float) -> RunHistory:
        """The history; the last run lasts until `at` if no event ends it."""
        runs = self.history.runs
        if runs and runs[-1].exit_code is None:
            runs[-1].until = max(runs[-1].until, at)
            self._end_span(runs[-1].until)
        self._end_span(self._at)
        self.history.closed = list(joined(self._closed))
        return self.history


def parse(lines: Iterable[bytes], *, egresses: int, seen_until: float, now: float) -> RunHistory:
    """The history from the lines of `events.jsonl`.

    `egresses`: how many a run has whose `start` does not say it. `seen_until` (seconds since 1970): when other files
    last showed the last run alive. A line that is damaged, or dated in the future, counts as bad.
    """
    reader = _Reader(egresses)
    for line in lines:
        event: Any = None
        if len(line) <= MAX_LINE:
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
        at = seconds(event.get("at")) if isinstance(event, dict) else None
        if at is None or not 0 < at <= now + 1:
            reader.history.bad_lines += 1
            continue
        reader.add(event, at)
    return reader.end(min(seen_until, now))


def last_start(queue: Queue, now: float) -> float | None:
    """When the last run began; None when the events tell of none."""
    found = None
    for line in _lines(queue.events):
        if b'"start"' not in line:
            continue
        with suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == "start":
                at = seconds(event.get("at"))
                found = at if at is not None and 0 < at <= now + 1 else found
    return found


def read(queue: Queue, *, egresses: int, seen_until: float, now: float) -> RunHistory:
    """The history of a queue; empty when there is no file of events."""
    return parse(_lines(queue.events), egresses=egresses, seen_until=seen_until, now=now)


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while line := file.readline(MAX_LINE + 1):
                yield line
    except FileNotFoundError:
        return
