"""What a run brought that is new, for its closing lines and its notice: as `engine report` counts it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from engine.errors import Exit
from engine.queue import listings
from engine.queue.directory import Queue
from engine.queue.manifest import read_checkpoint

if TYPE_CHECKING:
    from engine.report.manifest_summary import NewVideos


class RunNews:
    """Made before a run works; read when it has ended. It costs what is new, however much there was before."""

    def __init__(self, queue: Queue) -> None:
        checkpoint = read_checkpoint(queue)
        self._queue = queue
        self._bytes_before = checkpoint.length if checkpoint else 0

    @property
    def has_sources(self) -> bool:
        """Whether the queue has channels, playlists or searches."""
        listed = listings.summary(self._queue)
        return any(listed[name] for name in ("open", "done", "failed"))

    def read(self) -> NewVideos | None:
        """What has become final since the run began; None when the events tell of no run."""
        from engine.report.manifest_summary import read_new
        from engine.report.run_history import last_start

        began = last_start(self._queue, time.time())
        return None if began is None else read_new(self._queue, began, self._bytes_before)


def news_words(news: NewVideos) -> str:
    """`5 new: @TED 3, @veritasium 2`."""
    from engine.report.text import from_sources

    named = from_sources(news)
    return f"{news.videos:,} new" + (f": {named}" if named else "")


def end_words(code: int, news: NewVideos | None) -> str:
    """How a run that ended by itself ended; nothing for any other."""
    if code not in (Exit.OK, Exit.SOME_FAILED):
        return ""
    ended = "finished" if code == Exit.OK else "finished, some failed"
    return ended if news is None else f"{ended}; {news_words(news)}"
