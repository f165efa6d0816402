"""Seeding: input becomes segments of jobs, each id once.

It holds seed.lock and works beside a live run. A segment is made durable, its directories are made, its tokens are
prepared in `tmp/` and published by one rename; after a crash before that rename the next seeding publishes the
segment. Seeding the same again adds nothing. Small segments of earlier seedings become one first
(`engine.queue.gathering`), so that many small seedings cost what one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from engine.inputs import Line, Rejects, read, source_of
from engine.process import cpus
from engine.queue import gathering
from engine.queue.channel_state import MAX_RESULTS, Sources
from engine.queue.directory import Queue
from engine.queue.id_index import IdSet, QueueIds
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
            self._publish,
            batch_ids=SEGMENT_JOBS,
            unwanted=unwanted,
            on_rejected=self._rejects.add,
            on_source=_recorder(Sources(queue), max_results),
        )

    def add(self, lines: Iterable[Line]) -> Seeded:
        """Add all lines. What was read before an error is seeded all the same."""
        try:
            for result in self._dedup.take(lines):
                if self._on_progress:
                    self._on_progress(result)
        finally:
            self._rejects.close()
            self._dedup.finish()
        if self._on_progress:
            self._on_progress(self._dedup.result)
        return self._dedup.result

    def _publish(self, fresh: list[str], batch: Batch) -> None:
        """Seed the new ids of a batch as one segment."""
        self._write(((video_id, batch[video_id]) for video_id in fresh), len(fresh))
        self._ids.add_segment(self._number, fresh)
        self._number += 1

    def _write(self, jobs: Iterator[tuple[str, dict[str, Any]]], count: int) -> None:
        size = chunk_size(count, cpus.usable())
        path = self.queue.segment(self._number)
        disk.publish_durably(path, encode_segment(self._number, jobs, count, size), tmp_dir=self.queue.tmp)
        publish_tokens(self.queue, self._number)


def would_seed(queue: Queue | None, lines: Iterable[Line], *, unwanted: IdSet | None = None) -> Seeded:
    """What seeding these lines would do (`queue` None: into a new one). Writes nothing and takes no lock."""
    held = QueueIds(queue, read_only=True) if queue else IdSet()
    dedup = Deduplicator(
        held,
        lambda fresh, _: held.add(fresh),
        batch_ids=SEGMENT_JOBS,
        unwanted=unwanted,
        on_source=_recorder(Sources(queue, read_only=True), MAX_RESULTS),
    )
    for _ in dedup.take(lines):
        pass
    dedup.finish()
    return dedup.result


def _recorder(sources: Sources, max_results: int) -> Callable[[Line], bool | None]:
    """A function that records the source in a line and says whether it is new; None when there is no source."""

    def record(line: Line) -> bool | None:
        found = source_of(line)
        return None if found is None else sources.add(found.kind, found.name, max_results)

    return record


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
