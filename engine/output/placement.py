"""Where an output directory may lie: not among the engine's own files, and with no queue among its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from engine.errors import UsageError
from engine.queue.admission import inspect_above
from engine.queue.directory import exists, open_queue
from engine.queue.names import DIRS, is_own

# What the engine makes in an output directory: `dQ/`, `shards/`, and what is hidden; in any case of letters, as disks
# fold it.
_MADE = re.compile(r"[A-Za-z0-9_-]{2}|shards|\.engine-tmp|\.engine-batches", re.IGNORECASE)


def refuse_output_place(root: str, output: str) -> None:
    """Raise UsageError when an output directory may not lie where it would, for the queue in `root`.

    A queue that has frozen its output goes on with it, wherever that lies. Neither directory need be there.
    """
    if exists(root) and isinstance(open_queue(root).read_batch().get("frozen"), dict):
        return
    why = misplaced(root, output)
    if why:
        raise UsageError(f"--output {output}: {why}: give another place with -o")


def misplaced(root: str, output: str) -> str:
    """Why an output directory may not lie there; empty when it may. By real paths, and by what is mounted where."""
    queue, out = os.path.realpath(root), os.path.realpath(output)
    if _same(queue, out) or inspect_above(out).is_queue:
        return "it is a queue's own directory"
    own = [path for name in DIRS if os.path.isdir(path := os.path.join(queue, name))]
    for above, name in _steps(out):
        if any(_same(above, path) for path in own):
            return f"it lies among the queue's own files, in {above}"
        if name and is_own(name) and (_same(above, queue) or inspect_above(above).is_queue):
            return f"it lies among the queue's own files, in {os.path.join(above, name)}"
        if os.path.basename(above) in (".engine-tmp", ".engine-batches"):
            return f"it lies in {above}, where an engine keeps things of its own"
    for above, name in _steps(queue):
        if name and _same(above, out) and _MADE.fullmatch(name):
            return f"transcripts will lie in {os.path.join(above, name)}, and that is where the queue lies"
    return ""


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """(directory, the next name on the way down to `path`) from `path` itself, whose next name is empty, upwards."""
    name = ""
    while True:
        yield path, name
        above, name = os.path.split(path)
        if above == path:
            return
        path = above


def _same(path: str, other: str) -> bool:
    if path == other:
        return True
    with suppress(OSError):
        return os.path.samefile(path, other)
    return False
