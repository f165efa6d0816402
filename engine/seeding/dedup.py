"""Which lines of input are new jobs: each id once, none that the queue holds, none that the user has already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from engine.inputs import Line, Rejects, source_of
from engine.queue.id_index import IdSet
from engine.queue.listings import MAX_RESULTS, Sources
from engine.seeding.left_columns import LeftColumns


@dataclass(slots=True)
class Seeded:
    """What became of the lines: read = added + duplicate + rejected + listed + known.

    `listed` are new channels, playlists and searches; their videos are added when they are listed. `known` are ids of
    `--skip-known`; None without that option.
    """

    read: int = 0
    added: int = 0
    duplicate: int = 0
    rejected: int = 0
    listed: int = 0
    known: int | None = None


Batch = dict[str, dict[str, Any]]
"""The user's columns of each new id, in the order of the input."""


class Deduplicator:
    """Splits lines into batches of new ids; new sources are recorded, and rejected lines go to `rejects`."""

    def __init__(
        self,
        held: IdSet,
        sources: Sources,
        *,
        batch_ids: int,
        unwanted: IdSet | None = None,
        rejects: Rejects | None = None,
        max_results: int = MAX_RESULTS,
        newest: int | None = None,
        since: str | None = None,
    ) -> None:
        self.left = LeftColumns()
        self.result = Seeded(known=None if unwanted is None else 0)
        self._held = held
        self._sources = sources
        self._batch_ids = batch_ids
        self._unwanted = unwanted
        self._rejects = rejects
        self._max_results = max_results
        self._newest, self._since = newest, since
        self._batch: Batch = {}
        self._again: list[str] = []  # ids repeated within the batch; only kept when some are unwanted

    def batches(self, lines: Iterable[Line]) -> Iterator[Batch]:
        """The new ids, at most `batch_ids` at a time. The caller adds each batch to `held` and counts it as added.

        When reading a line raises, the ids read so far come as a last batch, before the error.
        """
        try:
            for line in lines:
                self._take(line)
                if len(self._batch) >= self._batch_ids:
                    yield from self._new()
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._new()
            raise
        yield from self._new()

    def _take(self, line: Line) -> None:
        self.result.read += 1
        if line.video_id is None:
            self._take_other(line)
        elif line.video_id not in self._batch:
            self._batch[line.video_id] = line.input
        elif self._unwanted is not None:
            self._again.append(line.video_id)
        else:
            self.result.duplicate += 1

    def _take_other(self, line: Line) -> None:
        """A line without a video names a channel, playlist or search, or nothing."""
        source = source_of(line)
        if source is None:
            self.result.rejected += 1
            if self._rejects is not None:
                self._rejects.add(line)
        elif self._sources.add(source.kind, source.name, self._max_results, self._newest, self._since):
            self.result.listed += 1
        else:
            self.result.duplicate += 1

    def _new(self) -> Iterator[Batch]:
        """The new ids among those gathered, if any."""
        batch, again = self._batch, self._again
        self._batch, self._again = {}, []
        if not batch:
            return
        result = self.result
        wanted = list(batch)
        if self._unwanted is not None:
            wanted = self._unwanted.missing(wanted)
            wanted_ids = set(wanted)
            repeated = sum(video_id in wanted_ids for video_id in again)
            result.known = (result.known or 0) + len(batch) - len(wanted) + len(again) - repeated
            result.duplicate += repeated
        fresh = self._held.missing(wanted)
        result.duplicate += len(wanted) - len(fresh)
        if len(fresh) < len(wanted):
            added = set(fresh)
            for video_id in wanted:
                if video_id not in added:
                    self.left.add(video_id, batch[video_id])
        yield {video_id: batch[video_id] for video_id in fresh}
