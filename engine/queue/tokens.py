"""Publishing a segment: its directories and its tokens, which appear all at once."""

from __future__ import annotations

import os

from engine.errors import UsageError
from engine.queue.directory import Queue, is_number, numbered
from engine.queue.segments import cut
from engine.queue.sweeping import remove_birth
from engine.storage import disk


def files(queue: Queue) -> list[int]:
    """The segments that have a file, published or not, in order."""
    stems = [name.partition(".") for name in os.listdir(queue.path("segments"))]
    return sorted(int(stem) for stem, _, end in stems if end == "jsonl" and is_number(stem))


def next_number(queue: Queue) -> int:
    """The number of the next segment, which none has had."""
    return 1 + max([*numbered(queue.path("pending")), *files(queue)], default=-1)


def make_directories(queue: Queue, segment: int) -> None:
    """Make a segment's directories but that of its free tokens, durably."""
    for path in (queue.journal_dir(segment), queue.done(segment), queue.filed(segment)):
        disk.ensure_dir(path)
    for parent in ("journal", "done", "filed"):
        disk.sync_dir(queue.path(parent))


def publish_tokens(queue: Queue, segment: int) -> None:
    """Make a segment's directories and tokens, and publish them by one rename.

    Raises UsageError when somebody else's files lie where the tokens are laid out.
    """
    make_directories(queue, segment)
    born = os.path.join(queue.tmp, f"{segment:06d}")
    remove_birth(born)
    try:
        disk.mkdir(born)
    except FileExistsError:
        raise UsageError(f"{born} holds what no engine put there: move it away, then seed again") from None
    for chunk in cut(queue.segment(segment)):
        disk.create(os.path.join(born, chunk.token), b"", sync=False)
    disk.sync_dir(born)
    disk.rename(born, queue.pending(segment))
    disk.sync_dir(queue.path("pending"))
