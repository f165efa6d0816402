"""The manifest (one row for each final job, derived from the journals) and its checkpoint.

The checkpoint says up to which byte the manifest is durable, how far each open journal went into it, and how many
rows of each status there are. The next monitor truncates the manifest at that byte.
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

from engine.model import WAYS
from engine.queue import checked_json
from engine.queue.directory import Queue
from engine.storage import disk


@dataclass(slots=True)
class Counts:
    """How many jobs are final, by status and by kind, and how many each way served.

    Checkpoints of engines before 2026-11-26 do not say which way served.
    """

    ok: int = 0
    absent: int = 0
    failed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)

    @property
    def final(self) -> int:
        return self.ok + self.absent + self.failed

    def add(self, body: Mapping[str, Any], times: int = 1) -> None:
        """Count a row (`times=-1`: uncount it)."""
        status = body.get("status")
        if status == "ok":
            self.ok += times
        elif status == "absent":
            self.absent += times
        else:
            self.failed += times
        if status != "ok":
            self.kinds[str(body.get("kind"))] += times
        elif (way := body.get("way")) in WAYS:
            self.ways[str(way)] += times

    def copy(self) -> Counts:
        return Counts(self.ok, self.absent, self.failed, self.kinds.copy(), self.ways.copy())

    def to_json(self) -> dict[str, Any]:
        kinds = {kind: n for kind, n in sorted(self.kinds.items()) if n}
        ways = {way: self.ways[way] for way in WAYS if self.ways[way] > 0}
        return {"ok": self.ok, "absent": self.absent, "failed": self.failed, "kinds": kinds, "ways": ways}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        ways = Counter({way: int(n) for way, n in value.get("ways", {}).items() if way in WAYS})
        return cls(
            int(value["ok"]), int(value["absent"]), int(value["failed"]), Counter(value["kinds"]), ways
        )


@dataclass(slots=True)
class OpenJournal:
    """What the checkpoint knows of the journal of a chunk that is not filed."""

    offset: int = 0  # the rows before it are in the manifest
    waiting: dict[str, float] = field(default_factory=dict)  # until when its deferred jobs wait (wall clock)
    bad_lines: int = 0
    crc32: int | None = None  # of the journal up to `offset`; None: unknown
    reasons: dict[str, str] = field(default_factory=dict)  # after what kind of failure each of them waits


@dataclass(slots=True)
class Checkpoint:
    """How much of the manifest counts, and what it holds."""

    length: int = 0  # of the manifest, in bytes
    counts: Counts = field(default_factory=Counts)  # of its rows
    open: dict[str, OpenJournal] = field(default_factory=dict)  # by the name of the chunk
    bad_lines: int = 0  # in the journals of filed chunks
    rows_crc32: int = 0  # of the manifest's first `length` bytes

    def to_bytes(self) -> bytes:
        value = {
            "schema_version": 1,
            "length": self.length,
            "counts": self.counts.to_json(),
            "bad_lines": self.bad_lines,
            "rows_crc32": self.rows_crc32,
            "open": {
                name: [part.offset, part.waiting, part.bad_lines, part.crc32]
                for name, part in self.open.items()
            },
        }
        reasons: dict[str, list[str]] = {}
        for part in self.open.values():
            for job, kind in part.reasons.items():
                reasons.setdefault(kind, []).append(job)
        if reasons:
            value["reasons"] = reasons
        return checked_json.to_bytes(value)


def read_checkpoint(queue: Queue) -> Checkpoint | None:
    """The checkpoint; None when it is missing or damaged (the manifest is then derived again)."""
    try:
        value = checked_json.read(queue.checkpoint)
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
    disk.publish_durably(queue.checkpoint, checkpoint.to_bytes(), tmp_dir=queue.tmp)


def remove_checkpoint(queue: Queue) -> None:
    """Remove the checkpoint, durably: from now on every start derives the manifest from the journals again."""
    disk.unlink_quietly(queue.checkpoint)
    disk.sync_dir(queue.root)


def read_lines(
    queue: Queue, length: int | None = None, *, last_bytes: int | None = None
) -> Iterator[tuple[dict[str, Any] | None, bytes]]:
    """(row, line) of each complete line within the manifest's first `length` bytes, or within its last `last_bytes`.

    None: all of it. A damaged line's row is None. A missing manifest holds none: the monitor notices that it is
    shorter than the checkpoint says.
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
            yield parse_row(line), line


def read_rows(queue: Queue, length: int | None = None) -> Iterator[dict[str, Any]]:
    """The good rows in these lines. Damaged ones are passed over: `engine verify` names them."""
    return (found for found, _ in read_lines(queue, length) if found is not None)


def parse_row(line: bytes) -> dict[str, Any] | None:
    """The row in a line; None when it is damaged."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("video_id"), str) else None
