"""The report as a value: everything that the text, the page and the JSON say."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from engine.report.manifest_summary import NewVideos, StatusCost
from engine.report.next_commands import NextCommand
from engine.report.run_history import Notable
from engine.report.timeline import Span
from engine.storage.timestamps import utc

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class KindOfEnd:
    """The jobs that ended as one kind, with some of them (`video_id`, `title`, `message`: foreign text)."""

    kind: str
    status: str
    jobs: int
    means: str
    advice: str
    again: bool
    examples: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Hour:
    """A clock hour: jobs made final, and how much of it (seconds) a run worked or waited."""

    since: float
    jobs: int
    running_s: float
    waiting_s: float

    @property
    def per_hour(self) -> float:
        return self.jobs * HOUR_S / self.running_s


@dataclass(frozen=True, slots=True)
class Times:
    """When, in seconds since 1970, and for how long. running = working + blocked + offline; between: no run."""

    started: float | None
    ended: float | None
    runs: int
    running_s: float
    working_s: float
    blocked_s: float
    offline_s: float
    between_s: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Jobs made final in each interval of `step_s` from `since` on, and what happened meanwhile."""

    since: float
    step_s: int
    jobs: tuple[int, ...]
    runs: tuple[Span, ...]
    closed: tuple[Span, ...]
    deaths: tuple[float, ...]

    @property
    def until(self) -> float:
        return self.since + self.step_s * len(self.jobs)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the batch. `status` is that of `engine status --json`, of the same moment."""

    queue: str
    rehearsal: bool
    at: float
    status: dict[str, Any]
    kinds: tuple[KindOfEnd, ...]
    costs: dict[str, StatusCost]
    ways: dict[str, int]
    price_per_gb: float | None
    times: Times
    slowest: tuple[Hour, ...]
    worst: tuple[dict[str, Any], ...]
    deaths: dict[str, int]
    monitor_deaths: int
    notable: tuple[Notable, ...]
    bad_lines: dict[str, int]
    undated: int
    new: NewVideos | None
    chart: Chart | None
    following: tuple[NextCommand, ...]

    @property
    def final(self) -> int:
        return int(self.status["ok"] + self.status["absent"] + self.status["failed"])

    @property
    def left(self) -> int:
        return int(self.status["total"]) - self.final

    @property
    def requests(self) -> int:
        """All that was sent, by jobs that are not final as well; at least what the rows say."""
        return max(int(self.status["requests"]), sum(cost.requests for cost in self.costs.values()))

    @property
    def bytes(self) -> int:
        """Body bytes of all that, as `requests`."""
        return max(int(self.status["bytes"]), sum(cost.bytes for cost in self.costs.values()))

    @property
    def price(self) -> float | None:
        """What the bytes cost."""
        return None if self.price_per_gb is None else self.bytes / 1e9 * self.price_per_gb

    def per_thousand(self, amount: float) -> float | None:
        """So much for 1,000 final jobs; None as long as there is none."""
        return 1000 * amount / self.final if self.final else None

    def to_json(self) -> dict[str, Any]:
        """One JSON document, times as text in UTC."""
        status, counts = self.status, ("total", "pending", "in_flight", "deferred", "ok", "absent", "failed")
        price = self.price
        return {
            "schema_version": 1,
            "queue": self.queue,
            "rehearsal": self.rehearsal,
            "at": utc(self.at, ms=True),
            "state": status["state"],
            **{name: status[name] for name in counts},
            "listings": status.get("listings"),
            "kinds": [asdict(kind) for kind in self.kinds],
            "cost": {
                "requests": self.requests,
                "bytes": self.bytes,
                "price_per_gb": self.price_per_gb,
                "price": price,
                "per_1000": {
                    "requests": self.per_thousand(self.requests),
                    "bytes": self.per_thousand(self.bytes),
                    "price": None if price is None else self.per_thousand(price),
                },
                "by_status": {status: asdict(cost) for status, cost in self.costs.items()},
            },
            "ways": self.ways,
            "time": {
                **asdict(self.times),
                "started": _text(self.times.started),
                "ended": _text(self.times.ended),
            },
            "slowest_hours": [
                {**asdict(hour), "since": utc(hour.since), "per_hour": round(hour.per_hour, 1)}
                for hour in self.slowest
            ],
            "worst_egresses": list(self.worst),
            "deaths": {"workers": self.deaths, "monitor": self.monitor_deaths},
            "events": [
                {**asdict(event), "first": utc(event.first), "last": utc(event.last)}
                for event in self.notable
            ],
            "bad_lines": self.bad_lines,
            "undated": self.undated,
            "new": self.new and _new_json(self.new),
            "chart": self.chart and _chart_json(self.chart),
            "next": [asdict(command) for command in self.following],
        }


def _new_json(new: NewVideos) -> dict[str, Any]:
    return {**asdict(new), "since": utc(new.since), "examples": list(new.examples)}


def _chart_json(chart: Chart) -> dict[str, Any]:
    def as_json(span: Span) -> dict[str, Any]:
        times = {"since": utc(span.since, ms=True), "until": utc(span.until, ms=True)}
        return {**times, "why": span.why} if span.why else times

    return {
        "since": utc(chart.since),
        "step_s": chart.step_s,
        "jobs": list(chart.jobs),
        "runs": [as_json(span) for span in chart.runs],
        "closed": [as_json(span) for span in chart.closed],
        "deaths": [utc(at) for at in chart.deaths],
    }


def _text(at: float | None) -> str | None:
    return None if at is None else utc(at)


def name(root: str) -> str:
    """The queue's name: the last part of its path."""
    return os.path.basename(os.path.abspath(root)) or root
