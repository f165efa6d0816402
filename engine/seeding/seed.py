"""Seeding: input becomes segments of jobs, each id once.

Under seed.lock, beside a live run if need be. A segment is made durable, its directories are made, its tokens
are laid out in `tmp/` and published by one rename; a crash before that rename leaves a segment that the next
seeding publishes. Seeding the same again adds nothing: held ids are kept as sorted numbers, 8 bytes each. Small
segments of earlier seedings become one first (`engine.queue.gathering`), so that many small seedings cost what one
does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from engine.inputs import Line, Rejects, read, source_of
from engine.process import cpus
from engine.queue import gathering
from engine.queue.channel_state import MAX_RESULTS, Sources
from engine.queue.directory import Queue
from engine.queue.id_index import Ids, Known
from engine.queue.segments import SEGMENT_JOBS, check_whole, chunk_size, encode_segment
from engine.queue.tokens import files, next_number, publish_tokens
from engine.seeding.dedup import Batch, Seeded, Sieve
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
    """One seeding under way; the caller holds seed.lock. Ids that are `unwanted` are not added."""

    def __init__(
        self,
        queue: Queue,
        on_progress: Callable[[Seeded], None] | None = None,
        *,
        unwanted: Ids | None = None,
        max_results: int = MAX_RESULTS,
    ) -> None:
        self.queue = queue
        self._on_progress = on_progress
        gathering.complete(queue)
        publish_unfinished(queue)
        gathering.gather(queue, filed=False)
        self._known = Known(queue, lazy=True)
        self._number = next_number(queue)
        self._rejects = Rejects(queue.rejects)
        self._sieve = Sieve(
            self._known,
            self._publish,
            batch_ids=SEGMENT_JOBS,
            unwanted=unwanted,
            on_rejected=self._rejects.add,
            on_source=_takes(Sources(queue), max_results),
        )

    def add(self, lines: Iterable[Line]) -> Seeded:
        """Read lines to their end. What was read before an error is seeded all the same."""
        try:
            for result in self._sieve.take(lines):
                if self._on_progress:
                    self._on_progress(result)
        finally:
            self._rejects.close()
            self._sieve.finish()
        if self._on_progress:
            self._on_progress(self._sieve.result)
        return self._sieve.result

    def _publish(self, fresh: list[str], batch: Batch) -> None:
        """Seed the new ids of a batch as one segment."""
        self._write(((video_id, batch[video_id]) for video_id in fresh), len(fresh))
        self._known.add(self._number, fresh)
        self._number += 1

    def _write(self, jobs: Iterator[tuple[str, dict[str, Any]]], count: int) -> None:
        size = chunk_size(count, cpus.usable())
        path = self.queue.segment(self._number)
        disk.publish(path, encode_segment(self._number, jobs, count, size), tmp_dir=self.queue.tmp)
        disk.sync_dir(os.path.dirname(path))
        publish_tokens(self.queue, self._number)


def would_seed(queue: Queue | None, lines: Iterable[Line], *, unwanted: Ids | None = None) -> Seeded:
    """What seeding these lines would do. Writes nothing and takes no lock; None is a queue that is not there."""
    held = Known(queue, read_only=True) if queue else Ids()
    sieve = Sieve(
        held,
        lambda fresh, _: held.hold(fresh),
        batch_ids=SEGMENT_JOBS,
        unwanted=unwanted,
        on_source=_takes(Sources(queue, read_only=True), MAX_RESULTS),
    )
    for _ in sieve.take(lines):
        pass
    sieve.finish()
    return sieve.result


def _takes(sources: Sources, max_results: int) -> Callable[[Line], bool | None]:
    """Records the channel, playlist or search in a line: whether it is a new one, None when there is none."""

    def take(line: Line) -> bool | None:
        found = source_of(line)
        return None if found is None else sources.add(found.kind, found.name, max_results)

    return take


def publish_unfinished(queue: Queue) -> None:
    """Publish the segments whose seeding was cut off after their file was durable; no gathering is under way.

    Raises UsageError when one is damaged.
    """
    published = set(queue.segments())
    for number in files(queue):
        if number not in published:
            check_whole(queue.segment(number))
            disk.sync_dir(queue.path("segments"))  # who named it may have died before that
            publish_tokens(queue, number)
