"""The manifest: one row for each job that is final, derived from the journals. And its checkpoint.

The checkpoint says up to which byte the manifest is durable, how far each open journal went into it, and how
many rows of each sort there are. What lies behind that byte is cut off when the next monitor starts.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.model import Cost, Job, Kind, Metadata, Status, Transcript
from engine.queue.directory import Queue
from engine.storage import disk
from engine.storage.checksum import sealed, unsealed

MESSAGE_CHARS = 500


def row(
    job: Job,
    *,
    kind: Kind | None,
    message: str | None,
    attempts: int,
    cost: Cost,
    metadata: Metadata | None,
    transcript: Transcript | None,
    files: Mapping[str, str],
    sha256: Mapping[str, str],
    egress: str | None,
    elapsed_s: float,
    finished_at: str,
) -> dict[str, Any]:
    """A job's row, its fields in the order of the contract. `kind` None means `ok`."""
    about = metadata or Metadata()
    return {
        "video_id": job.video_id,
        "status": Status.OK if kind is None else kind.status,
        "kind": kind,
        "message": message[:MESSAGE_CHARS] if message else message,
        "attempts": attempts,
        "requests": cost.requests,
        "bytes": cost.bytes,
        "title": about.title,
        "channel": about.channel,
        "channel_id": about.channel_id,
        "duration_s": about.duration_s,
        "language": transcript.language if transcript else None,
        "is_generated": transcript.is_generated if transcript else None,
        "files": dict(files),
        "sha256": dict(sha256),
        "egress": egress,
        "elapsed_s": round(elapsed_s, 3),
        "finished_at": finished_at,
        "input": dict(job.input),
    }


def read_lines(queue: Queue, *, length: int | None = None, last_bytes: int | None = None) -> Iterator[bytes]:
    """The lines within the manifest's first `length` bytes, or the whole ones within its last `last_bytes`.

    None: all of it. No lines when there is no manifest: it is derived, so the monitor writes it again.
    """
    left = math.inf if length is None else length
    with contextlib.suppress(FileNotFoundError), open(queue.manifest, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if last_bytes is not None and size > last_bytes:
            file.seek(size - last_bytes)
            file.readline()
        for line in file:
            left -= len(line)
            if left < 0:
                return
            yield line


def parse_row(line: bytes) -> dict[str, Any] | None:
    """The row in a line; None when it is damaged."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_rows(queue: Queue, length: int | None = None) -> Iterator[dict[str, Any]]:
    """The rows in these lines. Damaged ones are passed over: `engine verify` names them."""
    return filter(None, map(parse_row, read_lines(queue, length=length)))


@dataclass(slots=True)
class Counts:
    """How many jobs are final, and how."""

    ok: int = 0
    absent: int = 0
    failed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def final(self) -> int:
        return self.ok + self.absent + self.failed

    def add(self, body: Mapping[str, Any], times: int = 1) -> None:
        """Count a row (or, with `times=-1`, take it back)."""
        status = body.get("status")
        if status == "ok":
            self.ok += times
        elif status == "absent":
            self.absent += times
        else:
            self.failed += times
        if status != "ok":
            self.kinds[str(body.get("kind"))] += times

    def copy(self) -> Counts:
        return Counts(self.ok, self.absent, self.failed, self.kinds.copy())

    def to_json(self) -> dict[str, Any]:
        kinds = {kind: n for kind, n in sorted(self.kinds.items()) if n}
        return {"ok": self.ok, "absent": self.absent, "failed": self.failed, "kinds": kinds}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        return cls(int(value["ok"]), int(value["absent"]), int(value["failed"]), Counter(value["kinds"]))


@dataclass(slots=True)
class OpenJournal:
    """How far a chunk's journal went into the manifest, which of its open jobs wait until when, damaged lines,
    the CRC-32 of the journal up to there (None: not known), and after what kinds of failure those jobs wait."""

    offset: int = 0
    waiting: dict[str, float] = field(default_factory=dict)
    bad_lines: int = 0
    crc32: int | None = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Checkpoint:
    """Manifest length in bytes, the open journals by chunk name, counts of the rows, damaged lines of filed ones, and
    the CRC-32 of the manifest up to that length."""

    length: int = 0
    counts: Counts = field(default_factory=Counts)
    open: dict[str, OpenJournal] = field(default_factory=dict)
    bad_lines: int = 0
    rows_crc32: int = 0

    def to_bytes(self) -> bytes:
        value = {
            "schema_version": 1,
            "length": self.length,
            "counts": self.counts.to_json(),
            "bad_lines": self.bad_lines,
            "rows_crc32": self.rows_crc32,
            "open": {
                name: [its.offset, its.waiting, its.bad_lines, its.crc32] for name, its in self.open.items()
            },
        }
        reasons: dict[str, list[str]] = {}
        for its in self.open.values():
            for job, kind in its.reasons.items():
                reasons.setdefault(kind, []).append(job)
        if reasons:
            value["reasons"] = reasons
        return (json.dumps(sealed(value)) + "\n").encode()


def read_checkpoint(queue: Queue) -> Checkpoint | None:
    """The checkpoint, None when there is none or it is damaged (the manifest is then derived anew)."""
    try:
        with open(queue.checkpoint, "rb") as file:
            value = unsealed(json.load(file))
        kinds = {job: kind for kind, jobs in value.get("reasons", {}).items() for job in jobs}
        return Checkpoint(
            int(value["length"]),
            Counts.from_json(value["counts"]),
            {
                name: OpenJournal(
                    int(offset),
                    {job: float(at) for job, at in waiting.items()},
                    int(bad),
                    more[0] if more else None,
                    {job: kinds[job] for job in waiting if job in kinds},
                )
                for name, (offset, waiting, bad, *more) in value["open"].items()
            },
            int(value["bad_lines"]),
            int(value["rows_crc32"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def write_checkpoint(queue: Queue, checkpoint: Checkpoint) -> None:
    """Make the checkpoint durable, name included: tokens may be filed after this."""
    disk.publish(queue.checkpoint, checkpoint.to_bytes(), tmp_dir=queue.tmp)
    disk.sync_dir(queue.root)
