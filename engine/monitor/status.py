"""What is the state of the batch? A recount from the files, at any time, touching no lock.

The counts are the checkpoint's plus what the open journals hold behind it, so they are as true after a crash
as during a run, and cost the same for ten thousand jobs as for ten million. Rates and the ETA come from the
history that the monitor keeps in `status.json`.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from engine import budget
from engine.errors import Exit
from engine.monitor import eta
from engine.queue import channel_state, claims
from engine.queue.control import read_course
from engine.queue.directory import Queue, exists, open_queue
from engine.queue.job_state import is_due
from engine.queue.journal_reader import Tail, touched_chunks
from engine.queue.manifest import Checkpoint, Counts, read_checkpoint
from engine.queue.segments import Chunk
from engine.storage.locks import living_holder
from engine.storage.timestamps import utc

STALLED_AFTER_S = 120.0
_RECOUNTS = 20


@dataclass(slots=True)
class Tally:
    """Jobs by state, as the files say; what is in flight is known only of living workers."""

    counts: Counts
    rows: int  # of the final ones, those whose row the manifest holds for good
    all_filed: bool  # no chunk is held, deferred or done: what was begun is through
    waiting: dict[str, float]  # jobs that wait, and until when by the wall clock
    reasons: Counter[str]  # the kinds of the failures they wait after
    bad_lines: int


def tally(queue: Queue, now: float) -> Tally:
    """Count the queue's final and waiting jobs."""
    for _ in range(_RECOUNTS):
        before = read_checkpoint(queue) or Checkpoint()
        result = _tally(queue, before, now)
        after = read_checkpoint(queue)
        # A chunk may have been filed between the two looks; then the sum was of two different moments.
        if after is None or after.length == before.length:
            break
    return result


def _tally(queue: Queue, checkpoint: Checkpoint, now: float) -> Tally:
    counts, bad = checkpoint.counts.copy(), checkpoint.bad_lines
    waiting: dict[str, float] = {}
    reasons: Counter[str] = Counter()
    touched = set(touched_chunks(queue))
    chunks = {chunk for name in checkpoint.open if (chunk := Chunk.parse(name)) is not None}
    for chunk in chunks | touched:
        known = checkpoint.open.get(chunk.name)
        tail = Tail(queue, chunk, known.offset if known else 0)
        tail.read()
        bad += max(tail.bad, known.bad_lines if known else 0)
        final = {video_id for video_id, its in tail.state.jobs.items() if its.final is not None}
        for its in tail.finals():
            counts.add(its.final or {})
        times = {**(known.waiting if known else {}), **{v: s.not_before for v, s in tail.state.jobs.items()}}
        late = {name: at for name, at in times.items() if name not in final and not is_due(at, now)}
        whys = {**(known.reasons if known else {}), **{v: s.why for v, s in tail.state.jobs.items()}}
        waiting |= late
        reasons.update(why for name in late if (why := whys.get(name)))
    return Tally(counts, _rows(queue, checkpoint), not touched, waiting, reasons, bad)


def _rows(queue: Queue, checkpoint: Checkpoint) -> int:
    """How many rows the manifest holds for good; none of a file that is gone or was cut, which the next run makes
    again."""
    try:
        size = os.stat(queue.manifest).st_size
    except OSError:
        size = 0
    return checkpoint.counts.final if size >= checkpoint.length else 0


def read_snapshot(queue: Queue) -> dict[str, Any]:
    """The monitor's last `status.json`, or nothing when it is not what a monitor writes."""
    try:
        with open(queue.status, "rb") as file:
            value = json.load(file)
        value["history"] = [[float(at), float(final)] for at, final in value.get("history") or []]
        for name in ("requests", "bytes", "progressed_at", "progressed_s"):
            value[name] = max(0, value.get(name) or 0)
        numbers = [*(its for point in value["history"] for its in point), value["requests"], value["bytes"]]
        if not all(map(math.isfinite, [*numbers, value["progressed_at"]])):
            return {}
        if not isinstance(value.get("started_at"), str):
            value["started_at"] = None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}
    return dict(value)


def empty() -> dict[str, Any]:
    """What is said of a place where there is no queue."""
    return {
        "schema_version": 1,
        "state": "empty",
        **dict.fromkeys(("total", "pending", "in_flight", "deferred", "ok", "absent", "failed"), 0),
        "kinds": {},
        "rows": 0,
        "waits": None,
        "rate_per_s": {"1m": 0.0, "15m": 0.0},
        "eta_s": None,
        "limited_by": "nothing",
        "workers": [],
        "egresses": [],
        "requests": 0,
        "bytes": 0,
        "listings": channel_state.nothing(),
        "started_at": None,
        "updated_at": utc(ms=True),
    }


def collect(root: str) -> dict[str, Any]:
    """The status as in `engine status --json`; that of an empty place when there is no queue.

    Raises UsageError when the queue is of a newer format or cannot be read.
    """
    if not exists(root):
        return empty()
    queue = open_queue(root)
    # Before the jobs are counted: what a listing finds is seeded before it is said to be done.
    listed = channel_state.summary(queue)
    snapshot = read_snapshot(queue)
    run = living_holder(queue.run_lock)
    now = time.time()
    total = queue.total()
    tallied = tally(queue, now)
    counts = tallied.counts
    total = max(total, queue.total() if counts.final > total else 0)
    workers = [
        {"slot": _slot(worker_id), "pid": pid, "in_flight": len(jobs)}
        for worker_id, pid, jobs in (claims.living(queue, run) if run else [])
    ]
    left = max(0, total - counts.final)
    deferred = min(len(tallied.waiting), left)
    in_flight = min(sum(its["in_flight"] for its in workers), left - deferred)
    egresses = budget.snapshot(queue.budget)
    requests, body_bytes = budget.totals(queue.budget)
    history = snapshot.get("history") or []
    course = read_course(queue, run)
    paused = course is not None and course.paused
    works = run if not paused else None
    rates = {
        "1m": eta.rate(history, eta.MINUTE_S, now, works),
        "15m": eta.rate(history, eta.QUARTER_S, now, works),
    }
    through = _through(tallied, total, listed)
    state = "paused" if paused else _state(run, through, total, left - deferred, snapshot, egresses, now)
    return {
        "schema_version": 1,
        "state": state,
        "total": total,
        "pending": left - deferred - in_flight,
        "in_flight": in_flight,
        "deferred": deferred,
        **counts.to_json(),
        "rows": tallied.rows,
        "waits": _waits(tallied, now),
        "rate_per_s": rates,
        # Nobody knows how much an open listing will add.
        "eta_s": eta.left(left, history, now, max(tallied.waiting.values(), default=now) - now)
        if works and not listed["open"]
        else None,
        "limited_by": _limited_by(run, state, egresses, workers, left - deferred - in_flight),
        "workers": workers,
        "egresses": [
            {
                "name": egress.name,
                "state": egress.state,
                "rate_per_s": egress.rate_per_s,
                "open_in_s": round(egress.open_in_s, 1),
                "ok": egress.ok,
                "blocked": egress.blocked,
                "requests": egress.requests,
                "bytes": egress.bytes,
            }
            for egress in egresses
        ],
        # of all egresses ever used; a damaged record of the budget must not take them back
        "requests": max(requests, int(snapshot.get("requests") or 0)),
        "bytes": max(body_bytes, int(snapshot.get("bytes") or 0)),
        "listings": listed,
        "bad_lines": tallied.bad_lines,
        "started_at": (run or {}).get("since") or snapshot.get("started_at"),
        "updated_at": utc(now, ms=True),
    }


def _slot(worker_id: str) -> int:
    """The slot in a worker's id `<run>.<slot>.<n>`."""
    parts = worker_id.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else 0


def _waits(tallied: Tally, now: float) -> dict[str, Any] | None:
    """In how many seconds the first and the last deferred job are due, and after what kinds of failure they wait."""
    if not tallied.waiting:
        return None
    times = tallied.waiting.values()
    return {
        "first_s": round(min(times) - now, 1),
        "last_s": round(max(times) - now, 1),
        "kinds": dict(tallied.reasons.most_common()),
    }


def _through(tallied: Tally, total: int, listed: dict[str, Any]) -> bool:
    """Whether nothing is left to do: each job is final, its row is in the manifest, its chunk is filed, and no source
    is still to be listed. A queue into which nothing was put is not through."""
    if listed["open"] or not tallied.all_filed or tallied.rows < total:
        return False
    return bool(total or listed["done"] + listed["failed"])


def _state(
    run: dict[str, Any] | None,
    through: bool,
    total: int,
    startable: int,
    snapshot: dict[str, Any],
    egresses: list[budget.EgressView],
    now: float,
) -> str:
    if run is None:
        if through:
            return "finished"
        halted = snapshot.get("halted") and snapshot.get("total") == total
        return "halted" if halted else "stopped"
    idle_s = now - float(snapshot.get("progressed_at") or 0.0)
    if snapshot.get("progressed_s"):  # by the clock that nobody sets; the run lives, so it is of this boot
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
        lost = all(egress.state in ("network", "unreachable") or egress.offline for egress in closed)
        return "network" if lost else "blocks"
    if any(egress.limited for egress in usable):
        return "rate"
    return "workers" if pending and workers else "nothing"


def exit_code(value: dict[str, Any]) -> Exit:
    """What a script is told of a status: 0 finished, 3 finished with failures, 20 running, 21 paused, 22 stalled,
    23 nobody works and work is left, 10 no queue."""
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
    """One line of JSON, fit for any terminal: everything but ASCII is escaped."""
    return json.dumps(value)


def finished(queue: Queue) -> bool:
    """Whether the row of every seeded job is in the manifest and its chunk filed: no token is left in the hands of a
    dead worker.

    For the one who holds seed.lock: nobody can add meanwhile. Open listings are asked about apart.
    """
    checkpoint = read_checkpoint(queue)
    if checkpoint is None:
        return exists(queue.root) and queue.total() == 0
    return _rows(queue, checkpoint) >= queue.total() and next(touched_chunks(queue), None) is None
