"""The output directory of a run, from the command line's point of view."""

from __future__ import annotations

import errno
import os
import sys

from engine.cli import say
from engine.errors import UsageError
from engine.output import destination, folding
from engine.queue.directory import Queue
from engine.queue.mounts import refuse_remote
from engine.storage import disk


def open_output(queue: Queue, path: str, *, lost: bool) -> None:
    """See that the output directory is there and this queue's, or may become it. Raises UsageError when not.

    `lost`: one that is gone is begun anew, and what it held is put back.
    """
    found = destination.standing(queue, path)
    gone = found is destination.Standing.GONE
    if not (gone and lost):
        destination.check(queue, path, found)
    if found is not destination.Standing.OURS:
        _make_output(path)
        warning = folding.refuse(path)
        if warning:
            say(warning)
    elif not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(
            f"--output {path}: it cannot be written: mount it for writing, or mend the permissions"
        )
    else:
        refuse_remote(path, "output directory")
    if lost and gone:
        from engine.recovery.lost_output import put_lost_back

        count = put_lost_back(queue, path)
        say(f"{path} is begun anew: {count:,} video{'s' * (count != 1)} will be fetched again")
    elif lost:
        say(
            f"{path} is there: nothing is put back. `engine verify --repair` puts single files back that are missing"
        )


def _make_output(path: str) -> None:
    """Make the output directory, or say why it cannot be used."""
    try:
        disk.ensure_dirs(path, mode=0o777)
    except OSError as exc:
        if disk.is_disk_error(exc) and exc.errno != errno.EROFS:
            raise disk.disk_error(exc, f"making --output {path}") from exc
        what = "a file, not a directory" if os.path.isfile(path) else exc.strerror
        raise UsageError(f"--output {path}: {what}: give another place with -o") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"--output {path}: it cannot be written: give another place with -o")
    refuse_remote(path, "output directory")
    sys.stderr.flush()
