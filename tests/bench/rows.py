"""Full-size work for the queue benchmarks: ids, and the row that each job ends with (about 1 KB of JSON)."""

from __future__ import annotations

import json
from typing import Any

from engine.model import Job, Metadata, Transcript
from engine.queue.journal import row
from engine.rehearsal import invented_ids

_SUM = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_METADATA = Metadata(
    title="What a title on that site looks like: sixty to seventy characters ☂",
    channel="A channel of middling fame",
    channel_id="UCVYamHliCI9rw1tHR1xbkfw",
    duration_s=1234,
)
_TRANSCRIPT = Transcript("en", "English", True, ())


def ids(count: int, seed: int = 1) -> list[str]:
    return list(invented_ids(count, seed))


def full_row(video_id: str) -> dict[str, Any]:
    """A job's row as a night makes them: two files, their sums, an input column."""
    there = {"json": f"{video_id[:2]}/{video_id}.json", "md": f"{video_id[:2]}/{video_id}.md"}
    return row(
        Job(video_id, {"topic": "politics", "row": 4711}),
        attempts=1,
        requests=2,
        body_bytes=42_123,
        metadata=_METADATA,
        transcript=_TRANSCRIPT,
        files=there,
        sha256=dict.fromkeys(there, _SUM),
        egress="p017 gateway.example.net:8080",
        elapsed_s=1.234,
        finished_at="2026-11-22T03:04:05.678Z",
    )


def row_text(video_id: str) -> str:
    return json.dumps(full_row(video_id), ensure_ascii=False)
