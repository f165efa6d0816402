"""Publishing a segment: its directories, and its tokens by one rename."""

from __future__ import annotations

import os

from engine.errors import UsageError
from engine.queue.directory import Queue, is_number, segment_numbers
from engine.queue.segments import split_chunks
from engine.queue.sweeping import remove_staging
from engine.storage import disk


def segment_files(queue: Queue) -> list[int]:
    """The segments that have a file, published or not, in order."""
    stems = [name.partition(".") for name in os.listdir(queue.path("segments"))]
    return sorted(int(stem) for stem, _, end in stems if end == "jsonl" and is_number(stem))


def next_segment_number(queue: Queue) -> int:
    """The number of the next segment: higher than any used so far."""
    return 1 + max([*segment_numbers(queue.path("pending")), *segment_files(queue)], default=-1)


def make_directories(queue: Queue, segment: int) -> None:
    """Make a segment's directories, except that of its pending tokens, durably."""
    for path in (queue.journal_dir(segment), queue.done(segment), queue.filed(segment)):
        disk.ensure_dir(path)
    for parent in ("journal", "done", "filed"):
        disk.sync_dir(queue.path(parent))


def publish_tokens(queue: Queue, segment: int) -> None:
    """Make a segment's directories and tokens, and publish them by one rename.

    Raises UsageError when somebody else's files lie where the tokens are prepared.
    """
    make_directories(queue, segment)
    staging = os.path.join(queue.tmp, f"{segment:06d}")
    remove_staging(staging)
    try:
        disk.mkdir(staging)
    except FileExistsError:
        raise UsageError(f"{staging} holds what no engine put there: move it away, then seed again") from None
    for chunk in split_chunks(queue.segment(segment)):
        disk.create(os.path.join(staging, chunk.token), b"", sync=False)
    disk.sync_dir(staging)
    disk.rename(staging, queue.pending(segment))
    disk.sync_dir(queue.path("pending"))
