"""Finished batches made by hand: real manifest, checkpoint, marker and records, without a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import ids

from engine.model import Cue, Job, Kind, Metadata, Record, Transcript
from engine.output import destination
from engine.output.json_record import to_json
from engine.output.publisher import relative
from engine.queue.directory import Queue
from engine.queue.journal import row
from engine.queue.making import make_queue
from engine.queue.manifest import Checkpoint, Counts, read_checkpoint, write_checkpoint

AT = "2026-11-22T21:03:{:02d}Z"


@dataclass(frozen=True)
class Canned:
    """What became of a video: a transcript, or why not. `more` are fields of the row that only some engines write."""

    video_id: str
    title: str | None = "A title"
    channel: str | None = "Someone"
    cues: tuple[Cue, ...] = (Cue(0.0, 1.5, "Hello"), Cue(2.0, 1.0, "you there"))
    generated: bool = False
    input: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind | None = None
    finished_at: str = AT.format(11)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        about = Metadata(
            self.title, self.channel, "UC0123456789012345678901", 60, 1234, publish_date="2024-02-29"
        )
        track = Transcript("en", "English", self.generated, self.cues)
        return Record(self.video_id, about, track, self.input, self.finished_at)


def batch(root: Path, videos: Iterable[Canned]) -> Queue:
    """A finished batch of these videos in `root/queue`, its output in `root/out`."""
    queue = make_queue(str(root / "queue"))
    output = root / "out"
    output.mkdir()
    frozen = {"output": str(output), "languages": ["en"], "formats": []}
    destination.claim(queue, str(output))
    queue.write_batch({**queue.read_batch(), "frozen": frozen})
    grow(queue, videos)
    return queue


def grow(queue: Queue, videos: Iterable[Canned], *, without: Iterable[str] = ()) -> None:
    """Add rows; `without` are videos that a retry has put back before."""
    output = Path(queue.read_batch()["frozen"]["output"])
    lines = []
    if os.path.exists(queue.manifest):
        gone = set(without)
        every = Path(queue.manifest).read_bytes().splitlines(keepends=True)
        lines = [line for line in every if json.loads(line)["video_id"] not in gone]
    for video in videos:
        files, sums = {}, {}
        if video.kind is None:
            data = to_json(video.record)
            name = relative(video.video_id, "json")
            (output / name).parent.mkdir(exist_ok=True)
            (output / name).write_bytes(data)
            files, sums = {"json": name}, {"json": hashlib.sha256(data).hexdigest()}
        found = row(
            Job(video.video_id, video.input),
            kind=video.kind,
            message=None if video.kind is None else "it said no",
            attempts=1,
            requests=2,
            body_bytes=41_000,
            metadata=video.record.metadata if video.kind is None else None,
            transcript=video.record.transcript if video.kind is None else None,
            files=files,
            sha256=sums,
            egress="direct",
            elapsed_s=0.4,
            finished_at=video.finished_at,
        )
        lines.append(json.dumps({**found, **video.more}).encode() + b"\n")
    Path(queue.manifest).write_bytes(b"".join(lines))
    counts = Counts()
    for line in lines:
        counts.add(json.loads(line))
    known = read_checkpoint(queue) or Checkpoint()
    known.length, known.counts = sum(map(len, lines)), counts
    write_checkpoint(queue, known)


def some(count: int, start: int = 0, **more: Any) -> list[Canned]:
    """So many videos that are ok."""
    return [Canned(name, title=f"Video {n}", **more) for n, name in enumerate(ids(count, start), start)]
