"""What moves on the page: parts of its HTML and the state of its controls, read again from the queue's files.

All browsers share one reading, at most twice a second, however many there are.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.batch import Batch
from engine.errors import EngineError
from engine.monitor.batch_status import BatchStatus
from engine.output.formats import FORMATS
from engine.page import downloads, next_steps
from engine.page.index import RowIndex
from engine.page.views import render
from engine.queue import events
from engine.queue.directory import Queue, exists
from engine.queue.manifest_row import ManifestRow
from engine.report import run_history
from engine.report.build import chart_of, lengthen
from engine.report.chart import Drawing, draw
from engine.report.kind_help import EVENTS, MEANINGS, OTHER
from engine.report.next_commands import quote
from engine.settings import Frozen
from engine.storage.timestamps import seconds

READ_S = 0.5
CHART_S = 2.0
EVENTS_S = 30 * 86_400.0
SHOWN_EVENTS, SHOWN_REJECTS = 12, 10
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class LiveState:
    """One reading. `parts` are HTML by the id of the element that holds it; `controls` is what the script needs."""

    parts: dict[str, str]
    controls: dict[str, Any]
    status: BatchStatus | None = field(default=None, repr=False)


class LiveView:
    """Reads a batch for all browsers; its method may be called from any thread."""

    def __init__(self, batch: Batch, index: RowIndex, *, read_only: bool, rehearsal: bool = False) -> None:
        self.batch, self.index = batch, index
        self._read_only, self.rehearsal = read_only, rehearsal
        self._lock = threading.Lock()
        self._state: LiveState | None = None
        self._read_at = 0.0
        self._chart: Drawing | None = None
        self._chart_at = 0.0

    def __call__(self) -> LiveState:
        """The state, half a second old at most."""
        with self._lock:
            if self._state is None or time.monotonic() - self._read_at >= READ_S:
                self._state = self._read()
                self._read_at = time.monotonic()
            return self._state

    def forget(self) -> None:
        """Have the next call read again: something was changed."""
        with self._lock:
            self._state, self._chart_at = None, 0.0

    def _read(self) -> LiveState:
        try:
            status = self.batch.status()
            settings = self.batch.live_settings() if status.live else None
            known = status.state != "empty" or exists(self.batch.root)
            rehearsal = (
                bool(Queue(self.batch.root).read_batch().get("rehearsal")) if known else self.rehearsal
            )
        except EngineError as exc:
            trouble = {"summary": render("trouble.html", lines=exc.lines)}
            return LiveState(trouble, {"state": "unreadable", "startable": False})
        startable = rehearsal == self.rehearsal and not self._read_only  # a page starts runs of one sort
        steps = next_steps.following(
            self.batch.root, status, rehearsal=rehearsal, startable=startable, oldest=self._oldest
        )
        values = {
            "status": status,
            "settings": settings,
            "read_only": self._read_only,
            "rehearsal": rehearsal,
            "startable": startable,
            "queue": quote(self.batch.root),
            "meanings": MEANINGS,
            "other": OTHER,
        }
        parts = {
            "summary": render("summary.html", **values),
            "pace": render("pace.html", **values),
            "egresses": render("egresses.html", **values),
            "chart": render("chart.html", chart=self._drawing(status)),
            "events": render("events.html", events=self._events()),
            "rejects": render("rejects.html", rejects=self._rejects()),
            "next": render("next.html", steps=steps, **values),
            "downloads": render("downloads.html", downloads=downloads.offered(self.batch.root)),
            "content": "" if self._read_only else render("content.html", **self._content(), **values),
        }
        controls = {
            "state": status.state,
            "live": status.live,
            "rows": status.rows,
            "left": status.total - status.final,
            "starting": status.live and settings is None,
            "at_once": settings.processes * settings.threads if settings else None,
            "rate": settings.rate if settings else None,
            "startable": startable,
        }
        return LiveState(parts, controls, status)

    def _oldest(self, kind: str) -> ManifestRow | None:
        with contextlib.suppress(OSError, sqlite3.Error):
            return self.index.oldest(kind)
        return None

    def habits(self) -> bool:
        """Whether a file or the environment sets options of a run: then the form leaves them empty."""
        files = (self.index.queue.path("engine.toml"), user_file("config.toml"))
        names = ("ENGINE_RATE", "ENGINE_LANGUAGES", "ENGINE_FORMAT", "ENGINE_PROFILE")
        return any(map(os.path.exists, files)) or any(map(os.environ.get, names))

    def _content(self) -> dict[str, Any]:
        """What decides the content of a record: chosen for the first run, and fixed by it."""
        frozen = None
        with contextlib.suppress(EngineError, KeyError, TypeError, ValueError):
            frozen = Frozen.from_json(self.index.queue.read_batch()["frozen"])
        default = "rehearsal_out" if self.rehearsal else "transcripts"
        return {
            "frozen": frozen,
            "formats": FORMATS,
            "habits": self.habits(),
            "output": os.path.abspath(os.environ.get("ENGINE_OUTPUT") or default),
        }

    def _drawing(self, status: BatchStatus) -> Drawing | None:
        """The chart of all runs; drawn again every few seconds only."""
        if self._chart_at and time.monotonic() - self._chart_at < CHART_S:
            return self._chart
        now = time.time()
        chart = None
        with contextlib.suppress(OSError, sqlite3.Error):
            finished = self.index.finished()
            last = finished.span()
            seen = now if status.live else max(last.until if last else 0.0, seconds(status.started_at) or 0.0)
            queue = self.index.queue
            history = run_history.read(queue, egresses=len(status.egresses), seen_until=seen, now=now)
            lengthen(history, finished)
            chart = chart_of(history, finished)
        self._chart = draw(chart, now=now) if chart and any(chart.jobs) else None
        self._chart_at = time.monotonic()
        return self._chart

    def _events(self) -> list[dict[str, str]]:
        """The last events, the newest first, in words."""
        found = events.recent(self.index.queue, EVENTS_S)[-SHOWN_EVENTS:]
        return [
            {
                "at": local_time(event.get("at")),
                "what": _what(event),
                "why": str(event.get("reason") or "").strip("{}"),
            }
            for event in reversed(found)
        ]

    def _rejects(self) -> list[list[str]]:
        """The last lines of `rejects.csv`, the newest first: file, line, text, reason."""
        try:
            with open(self.index.queue.rejects, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()[1:]
        except OSError:
            return []
        try:
            found = [row for row in csv.reader(io.StringIO("\n".join(lines))) if len(row) == 4]
        except csv.Error:
            return []
        return found[: -SHOWN_REJECTS - 1 : -1]


def user_file(name: str) -> str:
    """A file in the user's configuration directory (XDG)."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "engine", name)


def _what(event: dict[str, Any]) -> str:
    """What an event was, in words."""
    name = str(event.get("event"))
    if name == "start" or (name == "stop" and not event.get("reason")):
        return "a run began" if name == "start" else "a run ended"
    words = EVENTS.get(name, name.replace("_", " "))
    return words.replace("an egress", "a connection").replace("its connection", "the network")


def local_time(text: object) -> str:
    """A time of the files in this machine's zone, as people read it."""
    at = seconds(text)
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%d %b %H:%M:%S")
