"""Which lines of input are new jobs: each id once, none that the queue holds, none that the user has already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from engine.inputs import Line
from engine.queue.id_index import IdSet


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
    """Takes lines and publishes the new ids in batches of at most `batch_ids`.

    `publish` receives the new ids and the batch with their columns, and adds them to `held`.
    """

    def __init__(
        self,
        held: IdSet,
        publish: Callable[[list[str], Batch], None],
        *,
        batch_ids: int,
        unwanted: IdSet | None = None,
        on_rejected: Callable[[Line], None] | None = None,
        on_source: Callable[[Line], bool | None] | None = None,
    ) -> None:
        self.result = Seeded(known=None if unwanted is None else 0)
        self._held = held
        self._publish = publish
        self._batch_ids = batch_ids
        self._unwanted = unwanted
        self._on_rejected = on_rejected
        self._on_source = on_source
        self._batch: Batch = {}
        self._again: list[str] = []  # ids repeated within the batch; only kept when some are unwanted

    def take(self, lines: Iterable[Line]) -> Iterator[Seeded]:
        """Take all lines, with the result so far after each batch; then call `finish`."""
        result, some_unwanted = self.result, self._unwanted is not None
        for line in lines:
            result.read += 1
            video_id = line.video_id
            if video_id is None:
                self._without_video(line)
            elif video_id in self._batch:
                if some_unwanted:
                    self._again.append(video_id)
                else:
                    result.duplicate += 1
            else:
                self._batch[video_id] = line.input
                if len(self._batch) >= self._batch_ids:
                    self.finish()
                    yield result

    def _without_video(self, line: Line) -> None:
        """A line may name a source of videos: `on_source` says whether it is new, None when it is no source."""
        result, is_new = self.result, self._on_source(line) if self._on_source else None
        if is_new is None:
            result.rejected += 1
            if self._on_rejected:
                self._on_rejected(line)
        elif is_new:
            result.listed += 1
        else:
            result.duplicate += 1

    def finish(self) -> None:
        """Publish the last batch."""
        if not self._batch:
            return
        batch, again = self._batch, self._again
        self._batch, self._again = {}, []
        result = self.result
        wanted = list(batch)
        if self._unwanted is not None:
            wanted = self._unwanted.missing(wanted)
            wanted_ids = set(wanted)
            repeated = sum(video_id in wanted_ids for video_id in again)
            skipped = len(batch) - len(wanted) + len(again) - repeated
            result.known = (result.known or 0) + skipped
            result.duplicate += repeated
        fresh = self._held.missing(wanted)
        result.duplicate += len(wanted) - len(fresh)
        if fresh:
            self._publish(fresh, batch)
            result.added += len(fresh)
