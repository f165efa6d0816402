"""The status of a batch, from its files, at any time, without a lock.

Rates and the ETA come from the history that the monitor keeps in `status.json`.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from engine import budget
from engine.errors import Exit
from engine.monitor import eta
from engine.monitor.recount import Recount
from engine.monitor.recount import finished as finished
from engine.monitor.recount import recount as recount
from engine.queue import claims, events, listings
from engine.queue.control import read_run_state
from engine.queue.directory import Queue, exists, open_queue
from engine.storage.locks import living_holder
from engine.storage.timestamps import utc
from engine.youtube.way_health_file import read_health

STALLED_AFTER_S = 120.0


def read_snapshot(queue: Queue) -> dict[str, Any]:
    """The monitor's last `status.json`; empty when it is not what a monitor writes."""
    try:
        with open(queue.status, "rb") as file:
            value = json.load(file)
        value["history"] = [[float(at), float(final)] for at, final in value.get("history") or []]
        for name in ("requests", "bytes", "progressed_at", "progressed_s"):
            value[name] = max(0, value.get(name) or 0)
        numbers = [*(part for point in value["history"] for part in point), value["requests"], value["bytes"]]
        if not all(map(math.isfinite, [*numbers, value["progressed_at"]])):
            return {}
        if not isinstance(value.get("started_at"), str):
            value["started_at"] = None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}
    return dict(value)


def empty() -> dict[str, Any]:
    """The status of a directory without a queue."""
    return {
        "schema_version": 1,
        "state": "empty",
        **dict.fromkeys(("total", "pending", "in_flight", "deferred", "ok", "absent", "failed"), 0),
        "kinds": {},
        "ways": {},
        "rows": 0,
        "waits": None,
        "rate_per_s": {"1m": 0.0, "15m": 0.0},
        "eta_s": None,
        "limited_by": "nothing",
        "workers": [],
        "egresses": [],
        "requests": 0,
        "bytes": 0,
        "listings": listings.empty_summary(),
        "ways_off": [],
        "started_at": None,
        "updated_at": utc(ms=True),
    }


def _ways_off(queue: Queue) -> list[dict[str, Any]]:
    """The ways that are off: for which egress (`*`: all), until when, and why."""
    return [
        {"name": name, "egress": egress, "until": utc(until), "reason": way.reason}
        for name, way in sorted(read_health(queue).ways.items())
        for egress, until in sorted(way.off_until.items())
    ]


def collect(root: str) -> dict[str, Any]:
    """The status as in `engine status --json`; `empty()` when there is no queue.

    Raises UsageError when the queue is of a newer format or cannot be read.
    """
    if not exists(root):
        return empty()
    queue = open_queue(root)
    # Read before the jobs are counted: a listing seeds what it finds before it is done.
    listed = listings.summary(queue)
    snapshot = read_snapshot(queue)
    run = living_holder(queue.run_lock)
    now = time.time()
    total = queue.total()
    recounted = recount(queue, now)
    counts = recounted.counts
    total = max(total, queue.total() if counts.final > total else 0)
    workers = [
        {"slot": _slot(worker_id), "pid": pid, "in_flight": len(jobs)}
        for worker_id, pid, jobs in (claims.living(queue, run) if run else [])
    ]
    left = max(0, total - counts.final)
    deferred = min(len(recounted.waiting), left)
    in_flight = min(sum(worker["in_flight"] for worker in workers), left - deferred)
    egresses = budget.snapshot(queue.budget)
    causes = events.causes(queue) if any(egress.lost for egress in egresses) else {}
    requests, body_bytes = budget.totals(queue.budget)
    history = snapshot.get("history") or []
    run_state = read_run_state(queue, run)
    paused = run_state is not None and run_state.paused
    works = run if not paused else None
    rates = {
        "1m": eta.rate(history, eta.MINUTE_S, now, works),
        "15m": eta.rate(history, eta.QUARTER_S, now, works),
    }
    complete = _is_complete(recounted, total, listed)
    state = "paused" if paused else _state(run, complete, total, left - deferred, snapshot, egresses, now)
    return {
        "schema_version": 1,
        "state": state,
        "total": total,
        "pending": left - deferred - in_flight,
        "in_flight": in_flight,
        "deferred": deferred,
        **counts.to_json(),
        "rows": recounted.rows,
        "waits": _waits(recounted, now),
        "rate_per_s": rates,
        # Unknown while a listing is open: it may add any number of jobs.
        "eta_s": eta.time_left(left, history, now, max(recounted.waiting.values(), default=now) - now)
        if works and not listed["open"]
        else None,
        "limited_by": _limited_by(run, state, egresses, workers, left - deferred - in_flight),
        "workers": workers,
        "egresses": [_egress(egress, causes) for egress in egresses],
        # of all egresses ever used; they must not go back when a record of the budget is damaged
        "requests": max(requests, int(snapshot.get("requests") or 0)),
        "bytes": max(body_bytes, int(snapshot.get("bytes") or 0)),
        "listings": listed,
        "ways_off": _ways_off(queue),
        "bad_lines": recounted.bad_lines,
        "started_at": (run or {}).get("since") or snapshot.get("started_at"),
        "updated_at": utc(now, ms=True),
    }


def _egress(view: budget.EgressView, causes: dict[str, str]) -> dict[str, Any]:
    return {
        "name": view.name,
        "state": view.state,
        "rate_per_s": view.rate_per_s,
        "open_in_s": round(view.open_in_s, 1),
        "ok": view.ok,
        "blocked": view.blocked,
        "requests": view.requests,
        "bytes": view.bytes,
        "cause": causes.get(view.name) if view.lost else None,
    }


def _slot(worker_id: str) -> int:
    """The slot in a worker's id `<run>.<slot>.<n>`."""
    parts = worker_id.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else 0


def _waits(recounted: Recount, now: float) -> dict[str, Any] | None:
    """In how many seconds the first and the last deferred job are due, and after what kinds of failure they wait."""
    if not recounted.waiting:
        return None
    times = recounted.waiting.values()
    return {
        "first_s": round(min(times) - now, 1),
        "last_s": round(max(times) - now, 1),
        "kinds": dict(recounted.reasons.most_common()),
    }


def _is_complete(recounted: Recount, total: int, listed: dict[str, Any]) -> bool:
    """Whether nothing is left to do: all rows are in the manifest, all chunks filed, all sources listed.

    An empty queue is not complete.
    """
    if listed["open"] or not recounted.all_filed or recounted.rows < total:
        return False
    return bool(total or listed["done"] + listed["failed"])


def _state(
    run: dict[str, Any] | None,
    complete: bool,
    total: int,
    startable: int,
    snapshot: dict[str, Any],
    egresses: list[budget.EgressView],
    now: float,
) -> str:
    if run is None:
        if complete:
            return "finished"
        halted = snapshot.get("halted") and snapshot.get("total") == total
        return "halted" if halted else "stopped"
    idle_s = now - float(snapshot.get("progressed_at") or 0.0)
    if snapshot.get(
        "progressed_s"
    ):  # monotonic, so setting the clock does not matter; the run lives, so it is of this boot
        idle_s = time.monotonic() - float(snapshot["progressed_s"])
    waits = any(egress.state in ("blocked", "network", "probing") for egress in egresses)
    fresh = snapshot.get("run_pid") == run.get("pid")
    if fresh and startable and idle_s > STALLED_AFTER_S and not waits:
        return "stalled"
    return "running"


def _limited_by(
    run: object, state: str, egresses: list[budget.EgressView], workers: list[dict[str, Any]], pending: int
) -> str:
    if not run or state in ("finished", "paused"):
        return "nothing"
    usable = [egress for egress in egresses if egress.state != "retired"]
    closed = [egress for egress in usable if egress.state != "ok"]
    if usable and len(closed) == len(usable):
        lost = all(egress.lost for egress in closed)
        return "network" if lost else "blocks"
    if any(egress.limited for egress in usable):
        return "rate"
    return "workers" if pending and workers else "nothing"


def exit_code(value: dict[str, Any]) -> Exit:
    """The exit code of a status: 0 finished, 3 finished with failures, 20 running, 21 paused, 22 stalled, 23 stopped
    with work left, 10 no queue."""
    live = {"empty": Exit.NO_QUEUE, "running": Exit.RUNNING, "paused": Exit.PAUSED, "stalled": Exit.STALLED}
    if value["state"] in live:
        return live[value["state"]]
    listed = value["listings"]
    final = value["ok"] + value["absent"] + value["failed"]
    if value["pending"] + value["in_flight"] + value["deferred"] + listed["open"]:
        return Exit.STOPPED
    if final and value["state"] != "finished":  # all are final, but not all rows are in the manifest
        return Exit.STOPPED
    return Exit.SOME_FAILED if value["failed"] + listed["failed"] else Exit.OK


def dumps(value: dict[str, Any]) -> str:
    """One line of JSON, in ASCII, so that any terminal can show it."""
    return json.dumps(value)
