"""Opening the output directory of a run."""

from __future__ import annotations

import errno
import os
import sys

from engine.cli import say
from engine.errors import UsageError
from engine.output import destination, folding, shard_index
from engine.process import environment
from engine.queue import marker
from engine.queue.directory import Queue
from engine.queue.mounts import refuse_remote
from engine.settings import Frozen
from engine.storage import disk


def open_output(queue: Queue, frozen: Frozen, *, lost: bool) -> None:
    """Check that the output directory is there and this queue's, or make it. Raises UsageError when it may not be.

    `lost`: one that is gone is made again, and the jobs whose files it held are put back.
    """
    path = frozen.output
    standing = destination.standing(queue, path)
    gone = standing is destination.Standing.GONE
    if not (gone and lost):
        destination.check(queue, path, standing)
    if frozen.store == "shards":
        shard_index.refuse_others(path, marker.id_of(queue.read_batch()))
    if standing is not destination.Standing.OURS:
        _make_output(path)
        warning = folding.refuse(path)
        if warning:
            say(warning)
    elif not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(
            f"--output {path}: it cannot be written: mount it for writing, or correct its permissions",
            path=path,
        )
    else:
        refuse_remote(path, "output directory")
    if lost and gone:
        from engine.recovery.lost_output import put_lost_back

        count = put_lost_back(queue, path)
        say(f"{path} is made again: {count:,} video{'s' * (count != 1)} will be fetched again")
    elif lost:
        say(
            f"{path} is there: nothing is put back. `engine verify --repair` puts single files back that are missing"
        )


def say_whose(queue: Queue, frozen: Frozen) -> None:
    """At a queue's first start: say that another queue's transcripts lie in its output directory."""
    batch = marker.id_of(queue.read_batch())
    if frozen.store != "files" or not marker.has_others(frozen.output, batch):
        return
    if marker.read(frozen.output, batch) is None:
        where = environment.shown(frozen.output).rstrip("/")
        say(
            f"another queue wrote into {where}/ as well: videos whose transcript lies there will end as `kept`. "
            "`--replace` fetches and replaces these, `-o NEW` in a new queue keeps both"
        )


def _make_output(path: str) -> None:
    """Make the output directory, or raise UsageError with the reason why it cannot be used."""
    try:
        disk.ensure_dirs(path, mode=0o777)
    except OSError as exc:
        if disk.is_disk_error(exc) and exc.errno != errno.EROFS:
            raise disk.disk_error(exc, f"making --output {path}") from exc
        what = "a file, not a directory" if os.path.isfile(path) else exc.strerror
        raise UsageError(f"--output {path}: {what}: give another directory with -o", path=path) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"--output {path}: it cannot be written: give another directory with -o", path=path)
    refuse_remote(path, "output directory")
    sys.stderr.flush()
