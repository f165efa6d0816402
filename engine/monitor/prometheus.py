"""The status of a batch in the text format of Prometheus, version 0.0.4: for a scrape, or for a textfile collector.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from engine.storage.timestamps import seconds

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("running", "paused", "stalled", "stopped", "finished", "halted", "empty")
_LIMITS = ("rate", "blocks", "network", "workers", "nothing")
_JOBS = ("pending", "in_flight", "deferred", "ok", "absent", "failed")
# (name in an egress's status, name of the metric, type, help)
_EGRESS = (
    ("requests", "engine_egress_requests_total", "counter", "Requests sent by an egress."),
    ("bytes", "engine_egress_bytes_total", "counter", "Body bytes received by an egress."),
    ("ok", "engine_egress_ok_total", "counter", "Videos that an egress fetched."),
    (
        "blocked",
        "engine_egress_blocked_total",
        "counter",
        "Requests of an egress that were refused as a block.",
    ),
    ("rate_per_s", "engine_egress_rate_per_second", "gauge", "Requests a second that an egress may send."),
    ("open_in_s", "engine_egress_open_in_seconds", "gauge", "Seconds until an egress may be used again."),
)


def render(status: Mapping[str, Any], root: str) -> str:
    """What `engine status --json` says, as metrics. Every one has the queue's absolute path as the label `queue`."""
    return "".join(f"{line}\n" for line in _lines(status, {"queue": os.path.abspath(root)}))


def _lines(status: Mapping[str, Any], queue: dict[str, str]) -> Iterator[str]:
    yield from _metric(
        "engine_jobs",
        "gauge",
        "Videos by what they are at.",
        [({"state": name}, status[name]) for name in _JOBS],
        queue,
    )
    yield from _metric("engine_jobs_seeded", "gauge", "Videos in the queue.", [({}, status["total"])], queue)
    kinds = [({"kind": kind}, count) for kind, count in sorted(status["kinds"].items())]
    yield from _metric(
        "engine_jobs_without_transcript", "gauge", "Videos that are not ok, by kind.", kinds, queue
    )
    states = [({"state": name}, int(status["state"] == name)) for name in STATES]
    yield from _metric("engine_state", "gauge", "1 for the state that the batch is in.", states, queue)
    limits = [({"by": name}, int(status["limited_by"] == name)) for name in _LIMITS]
    yield from _metric("engine_limited", "gauge", "1 for what limits the run now.", limits, queue)
    rates = [({"over": span}, rate) for span, rate in sorted(status["rate_per_s"].items())]
    yield from _metric("engine_videos_per_second", "gauge", "Videos made final a second.", rates, queue)
    eta = [({"end": end}, value) for end, value in sorted((status["eta_s"] or {}).items())]
    yield from _metric("engine_eta_seconds", "gauge", "Seconds that the rest will take.", eta, queue)
    yield from _metric(
        "engine_requests_total", "counter", "Requests sent.", [({}, status["requests"])], queue
    )
    yield from _metric(
        "engine_bytes_total", "counter", "Body bytes received.", [({}, status["bytes"])], queue
    )
    yield from _metric(
        "engine_worker_processes", "gauge", "Living worker processes.", [({}, len(status["workers"]))], queue
    )
    for key, name, sort, about in _EGRESS:
        found = [({"egress": each["name"]}, each[key]) for each in status["egresses"]]
        yield from _metric(name, sort, about, found, queue)
    open_ = [({"egress": each["name"]}, int(each["state"] == "ok")) for each in status["egresses"]]
    yield from _metric("engine_egress_up", "gauge", "1 for an egress that may be used.", open_, queue)
    updated = seconds(status["updated_at"])
    yield from _metric(
        "engine_updated_timestamp_seconds", "gauge", "When this was counted.", [({}, updated)], queue
    )


def _metric(
    name: str, sort: str, about: str, samples: list[tuple[dict[str, str], Any]], queue: dict[str, str]
) -> Iterator[str]:
    """A metric with its samples; one whose value is unknown is left out."""
    known = [(labels, value) for labels, value in samples if value is not None]
    if known:
        yield f"# HELP {name} {about}"
        yield f"# TYPE {name} {sort}"
    for labels, value in known:
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in {**queue, **labels}.items())
        yield f"{name}{{{pairs}}} {value}"


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text.encode("utf-8", "replace").decode()
