"""The status of a batch as a typed value: `engine status --json`, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One living worker process, and how many jobs it has in flight."""

    slot: int
    pid: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class EgressStatus:
    """One egress. `open_in_s`: seconds until it may be used again, 0 when it may; `rate_per_s` None: no limit.
    `cause`: why its connections fail, in words, while they do."""

    name: str
    state: str
    rate_per_s: float | None
    open_in_s: float
    ok: int
    blocked: int
    requests: int
    bytes: int
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a batch is. `total` = pending + in_flight + deferred + ok + absent + failed.

    `state` is running, paused, stalled, stopped, finished, halted or empty (no queue). `kinds` counts the jobs that
    are not ok by kind, `ways` those that are ok by the way that served them, `rows` those whose row is in the
    manifest. `rate_per_s` holds `1m` and `15m`, `eta_s` `low` and `high` (None: unknown), `waits` until when
    deferred jobs wait, `listings` how far sources are listed, `ways_off` which ways are not used for now.
    """

    state: str
    total: int
    pending: int
    in_flight: int
    deferred: int
    ok: int
    absent: int
    failed: int
    kinds: Mapping[str, int]
    ways: Mapping[str, int]
    rows: int
    rate_per_s: Mapping[str, float]
    eta_s: Mapping[str, float] | None
    limited_by: str
    workers: tuple[WorkerStatus, ...]
    egresses: tuple[EgressStatus, ...]
    requests: int
    bytes: int
    waits: Mapping[str, Any] | None
    listings: Mapping[str, Any]
    ways_off: tuple[Mapping[str, Any], ...]
    started_at: str | None
    updated_at: str

    @property
    def final(self) -> int:
        """Jobs that are done with: ok, absent or failed."""
        return self.ok + self.absent + self.failed

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: every job is final and every row is in the manifest."""
        return self.state == "finished"

    @property
    def live(self) -> bool:
        """Whether a run is at work, paused ones included."""
        return self.state in ("running", "paused", "stalled")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The status in what `engine.monitor.status.collect` returns."""
        known = {name: value[name] for name in cls.__dataclass_fields__}
        known["workers"] = tuple(WorkerStatus(**each) for each in value["workers"])
        known["ways_off"] = tuple(value["ways_off"])
        known["egresses"] = tuple(
            EgressStatus(**{name: each[name] for name in EgressStatus.__dataclass_fields__ if name in each})
            for each in value["egresses"]
        )
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The same as `engine status --json` prints it."""
        value = asdict(self)
        for name in ("workers", "egresses", "ways_off"):
            value[name] = list(value[name])
        return {"schema_version": 1, **value}
