"""Seeding: input becomes segments of jobs, each id once.

Under seed.lock, beside a live run if need be. A segment is made durable, its directories are made, its tokens
are laid out in `tmp/` and published by one rename; a crash before that rename leaves a segment that the next
seeding publishes. Seeding the same again adds nothing: held ids are kept as sorted numbers, 8 bytes each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from engine import durable
from engine.inputs import Line, Rejects, find_source, read
from engine.known import Known
from engine.listings import MAX_RESULTS, Sources
from engine.queue.chunk import SEGMENT_JOBS, check_whole, chunk_size, cut, encode_segment
from engine.queue.layout import Queue, is_number, numbered
from engine.queue.lock import take_or_say_who

SEED_WAIT_S = 600.0


@dataclass(slots=True)
class Seeded:
    """What a seeding did: lines read = added + duplicate + rejected + listed.

    `listed` are new channels, playlists and searches; what they hold is added when they are listed.
    """

    read: int = 0
    added: int = 0
    duplicate: int = 0
    rejected: int = 0
    listed: int = 0


def seed(
    queue: Queue,
    sources: Iterable[str],
    *,
    column: str | None = None,
    stdin: BinaryIO | None = None,
    on_progress: Callable[[Seeded], None] | None = None,
) -> Seeded:
    """Add what these inputs name.

    Raises UsageError when an input cannot be read (the ones before it are seeded), DiskError, HeldError.
    """
    lines = (line for source in sources for line in read(source, column=column, stdin=stdin))
    with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
        return Seeding(queue, on_progress).add(lines)


class Seeding:
    """One seeding under way; the caller holds seed.lock."""

    def __init__(
        self,
        queue: Queue,
        on_progress: Callable[[Seeded], None] | None = None,
        *,
        max_results: int = MAX_RESULTS,
    ) -> None:
        self.queue = queue
        self._sources = Sources(queue)
        self._max_results = max_results
        self.result = Seeded()
        self._on_progress = on_progress
        publish_unfinished(queue)
        self._known = Known(queue)
        self._number = max(numbered(queue.path("pending")), default=-1) + 1
        self._batch: dict[str, dict[str, Any]] = {}

    def add(self, lines: Iterable[Line]) -> Seeded:
        """Read lines to their end. What was read before an error is seeded all the same."""
        rejects = Rejects(self.queue.rejects)
        try:
            for line in lines:
                self._take(line, rejects)
        finally:
            rejects.close()
            self._flush()
        return self.result

    def _take(self, line: Line, rejects: Rejects) -> None:
        result = self.result
        result.read += 1
        if line.video_id is None:
            self._take_source(line, rejects)
        elif line.video_id in self._batch:
            result.duplicate += 1
        else:
            self._batch[line.video_id] = line.input
            if len(self._batch) >= SEGMENT_JOBS:
                self._flush()

    def _take_source(self, line: Line, rejects: Rejects) -> None:
        found = find_source(line.text)
        if found is None:
            self.result.rejected += 1
            rejects.add(line)
        elif self._sources.add(found.kind, found.name, self._max_results):
            self.result.listed += 1
        else:
            self.result.duplicate += 1

    def _flush(self) -> None:
        """Seed the gathered ids that are new as one segment."""
        if not self._batch:
            return
        batch, self._batch = self._batch, {}
        fresh = self._known.new(list(batch))
        self.result.duplicate += len(batch) - len(fresh)
        if fresh:
            jobs = ((video_id, batch[video_id]) for video_id in fresh)
            self._write(jobs, len(fresh))
            self._known.add(self._number, fresh)
            self._number += 1
            self.result.added += len(fresh)
        if self._on_progress:
            self._on_progress(self.result)

    def _write(self, jobs: Iterator[tuple[str, dict[str, Any]]], count: int) -> None:
        size = chunk_size(count, os.cpu_count() or 1)
        path = self.queue.segment(self._number)
        durable.publish(path, encode_segment(self._number, jobs, count, size), tmp_dir=self.queue.tmp)
        durable.sync_dir(os.path.dirname(path))
        publish_tokens(self.queue, self._number)


def publish_tokens(queue: Queue, segment: int) -> None:
    """Make a segment's directories and tokens, and publish them by one rename."""
    for path in (queue.journal_dir(segment), queue.done(segment), queue.filed(segment)):
        durable.ensure_dir(path)
    for parent in ("journal", "done", "filed"):
        durable.sync_dir(queue.path(parent))
    born = os.path.join(queue.tmp, f"{segment:06d}")
    shutil.rmtree(born, ignore_errors=True)
    durable.mkdir(born)
    for chunk in cut(queue.segment(segment)):
        durable.create(os.path.join(born, chunk.token), b"", sync=False)
    durable.sync_dir(born)
    durable.rename(born, queue.pending(segment))
    durable.sync_dir(queue.path("pending"))


def publish_unfinished(queue: Queue) -> None:
    """Publish the segments whose seeding was cut off after their file was durable.

    Raises UsageError when one is damaged.
    """
    published = set(queue.segments())
    for name in sorted(os.listdir(queue.path("segments"))):
        stem, _, extension = name.partition(".")
        if extension == "jsonl" and is_number(stem) and int(stem) not in published:
            check_whole(queue.segment(int(stem)))
            durable.sync_dir(queue.path("segments"))  # who named it may have died before that
            publish_tokens(queue, int(stem))
