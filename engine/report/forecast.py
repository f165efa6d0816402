"""What a batch will cost: from the videos left and what the ones done so far have cost.

Requests and bytes of a video are those of its row, retries included; control videos and probes cost little and are
not counted. The range is the expected value plus or minus 1.96 standard errors of the mean (a normal 95 % interval):
few measured videos, or very different ones, make it wide. It assumes that the rest is like what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.budget import Rate
from engine.queue.directory import Queue
from engine.queue.manifest import read_lines

# One video by the default and by the full way of fetching, as measured on captured bodies.
DEFAULTS: Mapping[str, tuple[float, float]] = {"lean": (2.0, 42_000.0), "full": (3.0, 280_000.0)}
FULL_METADATA = (2.0, 12_000.0)  # what `--metadata full` adds to each
READ_BYTES = 64 << 20  # of the manifest, from its end: some 60,000 rows say as much as millions
Z = 1.959964


@dataclass(slots=True)
class Sample:
    """The mean and the spread of a number, gathered one by one (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self._squares += step * (value - self.mean)

    @property
    def error(self) -> float:
        """The standard error of the mean; that of a single value is as large as the value."""
        if self.count < 2:
            return self.mean
        return math.sqrt(self._squares / (self.count - 1) / self.count)


@dataclass(frozen=True, slots=True)
class Range:
    """What is expected, and the ends of the interval."""

    expected: float
    low: float
    high: float

    @classmethod
    def of(cls, sample: Sample, times: int) -> Range:
        half = Z * sample.error
        return cls(sample.mean * times, max(0.0, sample.mean - half) * times, (sample.mean + half) * times)

    def scaled(self, by: float) -> Range:
        return Range(self.expected * by, self.low * by, self.high * by)

    def to_json(self, digits: int | None = None) -> dict[str, float]:
        return {name: round(getattr(self, name), digits) for name in ("expected", "low", "high")}


@dataclass(slots=True)
class Measured:
    """What rows of the manifest have cost, by status and together."""

    requests: Sample = field(default_factory=Sample)
    bytes: Sample = field(default_factory=Sample)
    by_status: dict[str, tuple[Sample, Sample]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Measured:
        self = cls()
        for row in rows:
            mine = self.by_status.setdefault(str(row["status"]), (Sample(), Sample()))
            for sample, name in ((self.requests, "requests"), (self.bytes, "bytes")):
                sample.add(row[name])
            mine[0].add(row["requests"])
            mine[1].add(row["bytes"])
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.requests.count,
            **{
                status: {
                    "rows": requests.count,
                    "requests": round(requests.mean, 2),
                    "bytes": round(n_bytes.mean),
                }
                for status, (requests, n_bytes) in sorted(self.by_status.items())
            },
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """A forecast. `seconds` and `cost` are None when there is no rate, or no price, to go by."""

    videos: int
    measured: Measured | None
    per_video: tuple[float, float]  # requests, bytes
    requests: Range
    bytes: Range
    seconds: Range | None
    cost: Range | None


def forecast(
    videos: int,
    measured: Measured | None,
    *,
    rate: Rate,
    egresses: int,
    price_per_gb: float | None = None,
    fetch_mode: str = "lean",
    full_metadata: bool = False,
) -> Plan:
    """What so many videos will cost. Without measured rows, by the defaults of the way of fetching."""
    if measured is None or not measured.requests.count:
        added = FULL_METADATA if full_metadata else (0.0, 0.0)
        per_video = DEFAULTS[fetch_mode][0] + added[0], DEFAULTS[fetch_mode][1] + added[1]
        requests, n_bytes = (Range(value * videos, value * videos, value * videos) for value in per_video)
        measured = None
    else:
        per_video = measured.requests.mean, measured.bytes.mean
        requests, n_bytes = Range.of(measured.requests, videos), Range.of(measured.bytes, videos)
    per_s = rate.per_s * egresses
    return Plan(
        videos,
        measured,
        per_video,
        requests,
        n_bytes,
        requests.scaled(1 / per_s) if rate.kind == "fixed" else None,
        n_bytes.scaled(price_per_gb / 1e9) if price_per_gb is not None else None,
    )


def rows(queue: Queue) -> Iterator[dict[str, Any]]:
    """The latest rows of the manifest that say what they cost; none when there is no manifest.

    A damaged line is passed over.
    """
    for found, _ in read_lines(queue, last_bytes=READ_BYTES):
        row = found or {}
        amounts = (row.get("requests"), row.get("bytes"))
        if isinstance(row.get("status"), str) and all(
            type(amount) is int and amount >= 0 for amount in amounts
        ):
            yield row
