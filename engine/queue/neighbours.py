"""Queues near a place where there is none: for who stands in the wrong directory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress

from engine.queue.admission import DirectoryState, inspect

_NAMES = (
    "queue_dir",
    "rehearsal_queue",
    "queue",
)  # looked for one directory deeper; that of the missing queue as well
_MAX_DIRECTORIES = 300  # looked at beside each of two


def neighbours(root: str) -> list[str]:
    """The paths of queues beside `root`, above it, and one directory deeper; the one last worked on comes first.

    None where something else is at `root`: then that is what is wrong. Not all of a very large directory is looked
    at. What cannot be read is left out.
    """
    if inspect(root).state is DirectoryState.FOREIGN:
        return []
    missing = os.path.realpath(root)
    found: dict[str, float] = {}
    for path in map(os.path.realpath, _candidates(missing)):
        with suppress(OSError):
            if os.path.lexists(os.path.join(path, "FORMAT")) and path != missing and inspect(path).is_queue:
                found[path] = os.stat(path).st_mtime
    return sorted(found, key=lambda path: -found[path])


def _candidates(missing: str) -> Iterator[str]:
    here = os.path.dirname(missing)
    above = os.path.dirname(here)
    names = dict.fromkeys((os.path.basename(missing), *_NAMES))
    yield here
    for beside in dict.fromkeys((here, above)):
        for path in _directories(beside):
            yield path
            yield from (os.path.join(path, name) for name in names)


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            visible = (entry for entry in entries if not entry.name.startswith("."))
            return [entry.path for entry in itertools.islice(visible, _MAX_DIRECTORIES) if entry.is_dir()]
    except OSError:
        return []
