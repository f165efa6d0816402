"""Seeding: input becomes segments of jobs, each id once.

It holds seed.lock and works beside a live run. A segment is made durable, its directories are made, its tokens are
prepared in `tmp/` and published by one rename; after a crash before that rename the next seeding publishes the
segment. Seeding the same again adds nothing. Small segments of earlier seedings become one first
(`engine.queue.gathering`), so that many small seedings cost what one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

from engine.inputs import Line, Rejects, read
from engine.process import cpus
from engine.queue import gathering
from engine.queue.directory import Queue
from engine.queue.id_index import IdSet, QueueIds
from engine.queue.listings import MAX_RESULTS, Sources
from engine.queue.segments import SEGMENT_JOBS, check_intact, chunk_size, encode_segment
from engine.queue.tokens import next_segment_number, publish_tokens, segment_files
from engine.seeding.dedup import Batch, Deduplicator, Seeded
from engine.storage import disk
from engine.storage.locks import take_or_say_who

SEED_WAIT_S = 600.0


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
    """A seeding under way; the caller holds seed.lock. Ids in `unwanted` are not added."""

    def __init__(
        self,
        queue: Queue,
        on_progress: Callable[[Seeded], None] | None = None,
        *,
        unwanted: IdSet | None = None,
        max_results: int = MAX_RESULTS,
        newest: int | None = None,
        since: str | None = None,
    ) -> None:
        self.queue = queue
        self._on_progress = on_progress
        gathering.complete(queue)
        publish_unfinished(queue)
        gathering.gather(queue, filed=False)
        self._ids = QueueIds(queue, lazy=True)
        self._number = next_segment_number(queue)
        self._rejects = Rejects(queue.rejects)
        self._dedup = Deduplicator(
            self._ids,
            Sources(queue),
            batch_ids=SEGMENT_JOBS,
            unwanted=unwanted,
            rejects=self._rejects,
            max_results=max_results,
            newest=newest,
            since=since,
        )

    def add(self, lines: Iterable[Line]) -> Seeded:
        """Add all lines. What was read before an error is seeded all the same."""
        result = self._dedup.result
        try:
            for batch in self._dedup.batches(lines):
                if batch:
                    self._publish(batch)
                if self._on_progress:
                    self._on_progress(result)
        finally:
            self._rejects.close()
        if self._on_progress:
            self._on_progress(result)
        return result

    def left_columns(self) -> int:
        """How many videos of these lines the queue held already, with other columns or none."""
        return self._dedup.left.count(self.queue)

    def _publish(self, batch: Batch) -> None:
        """Seed a batch as one segment."""
        size = chunk_size(len(batch), cpus.usable())
        data = encode_segment(self._number, batch.items(), len(batch), size)
        disk.publish_durably(self.queue.segment(self._number), data, tmp_dir=self.queue.tmp)
        publish_tokens(self.queue, self._number)
        self._ids.add_segment(self._number, list(batch))
        self._number += 1
        self._dedup.result.added += len(batch)


def would_seed(queue: Queue | None, lines: Iterable[Line], *, unwanted: IdSet | None = None) -> Seeded:
    """What seeding these lines would do (`queue` None: into a new one). Writes nothing and takes no lock."""
    held = QueueIds(queue, read_only=True) if queue else IdSet()
    dedup = Deduplicator(held, Sources(queue, read_only=True), batch_ids=SEGMENT_JOBS, unwanted=unwanted)
    for batch in dedup.batches(lines):
        held.add(list(batch))
        dedup.result.added += len(batch)
    return dedup.result


def publish_unfinished(queue: Queue) -> None:
    """Publish the segments whose seeding was interrupted after their file was durable. No gathering is under way.

    Raises UsageError when one is damaged.
    """
    published = set(queue.segments())
    for number in segment_files(queue):
        if number not in published:
            check_intact(queue.segment(number))
            disk.sync_dir(queue.path("segments"))  # whoever named the file may have died before that
            publish_tokens(queue, number)
