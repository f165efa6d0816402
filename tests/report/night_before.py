"""A queue as a night leaves it, written by hand: rows over the hours, and the events that go with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support import add, ids

from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.queue.manifest import Checkpoint, Counts, write_checkpoint
from engine.storage.timestamps import utc

EVENING = 1_795_284_000.0  # 2026-11-21T18:00:00Z
HOUR = 3600.0
HOSTILE = '"><script>alert(1)</script>\u202e\x1b[2J</title><img src=x onerror=y>&amp;'


def event(at: float, name: str, reason: str = "", **more: Any) -> dict[str, Any]:
    return {"at": utc(at, ms=True), "event": name, "reason": reason, **more}


def row(video_id: str, at: float, kind: str | None = None, **more: Any) -> dict[str, Any]:
    absent = kind in ("private", "no_captions", "unavailable", "region_blocked")
    return {
        "video_id": video_id,
        "status": "ok" if kind is None else "absent" if absent else "failed",
        "kind": kind,
        "message": f"about {kind}" if kind else None,
        "requests": 2,
        "bytes": 40_000,
        "title": f"About {video_id}",
        "finished_at": utc(at),
        "input": {},
        **more,
    }


def leave(
    root: Path, rows: list[dict[str, Any]], events: list[dict[str, Any]], *, left: int = 0, extra: bytes = b""
) -> Queue:
    """A queue whose manifest holds these rows (and these bytes), with `left` jobs that nobody has touched."""
    queue = make_queue(str(root))
    add(queue, [row["video_id"] for row in rows] + ids(left, 10_000_000))
    counts = Counts()
    for row in rows:
        counts.add(row)
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows) + extra
    Path(queue.manifest).write_bytes(data)
    write_checkpoint(queue, Checkpoint(len(data), counts))
    Path(queue.events).write_text("".join(json.dumps(event) + "\n" for event in events))
    return queue


def a_night(root: Path, jobs: int = 2000, *, left: int = 0) -> Queue:
    """Two runs, the first of them killed: 18:00 to 21:00 and 22:00 to 04:00, on two egresses.

    Blocked on both from 19:00 to 19:30, on one of them until 20:00; no network from 01:00 to 01:06; 2 deaths.
    """
    first = "p001 10.0.0.1:80"
    second = "p002 10.0.0.2:80"

    def at(hours: float) -> float:
        return EVENING + hours * HOUR

    names = ids(jobs)
    working = [(0.0, 1.0), (1.5, 3.0), (4.0, 7.0), (7.1, 10.0)]
    total = sum(until - since for since, until in working)
    rows = []
    for number, name in enumerate(names):
        left_h = total * number / jobs
        for since, until in working:
            if left_h < until - since:
                break
            left_h -= until - since
        kind = {1: "private", 2: "no_captions", 3: "timeout", 4: "blocked", 5: "network"}.get(number % 50)
        title = HOSTILE if number % 50 in (1, 3) else f"About {name}"
        rows.append(row(name, at(since + left_h), kind, title=title))
    events = [
        event(at(0), "start", "2 x 16", run="a", egresses=2),
        event(at(0.9), "block", "opens again in 60 s", egress=first, wait_s=60),
        event(at(1.0), "block", "opens again in 60 s", egress=second, wait_s=60),
        event(at(1.2), "probe", egress=first),
        event(at(1.5), "resume", egress=first),
        event(at(2.0), "resume", egress=second),
        event(at(4.0), "start", "2 x 16", run="b", egresses=2),
        event(at(5.0), "slot_died", "{SIGKILL(-9)}", slot=0),
        event(at(5.5), "slot_died", "{SIGKILL(-9)}", slot=1),
        event(at(7.0), "network_lost", "opens again in 5 s", egress=first),
        event(at(7.0), "network_lost", "opens again in 5 s", egress=second),
        event(at(7.1), "network_back", egress=first),
        event(at(7.1), "network_back", egress=second),
        event(at(8.0), "disk_low", "900 MiB free"),
        event(at(10.0), "stop", HOSTILE if left else "", exit_code=4 if left else 3, run="b"),
    ]
    return leave(root, rows, events, left=left)
