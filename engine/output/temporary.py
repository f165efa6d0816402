"""Files of the output directory that have no name yet: `.engine-tmp/<worker>/`, one directory a worker.

A note in it says whose it is, and its worker keeps that note locked. Queues may share an output directory, also from
several containers, so a sweep leaves what a living worker holds, and what no engine put there.
"""

from __future__ import annotations

import contextlib
import os
import re

from engine.output import folding
from engine.output.folding import TMP
from engine.output.formats import SUFFIXES
from engine.queue.names import is_directory, is_worker
from engine.queue.sweeping import entries, remove_dir, remove_if_empty
from engine.storage import processes
from engine.storage.locks import Lock, living_holder, read_note

OWNER = "owner"
_TEMPORARY = re.compile(rf"\.(?:[A-Za-z0-9_-]{{11}}\.(?:{'|'.join(SUFFIXES)})|{OWNER})\.[0-9a-f]{{8}}\.tmp")


def is_temporary(name: str) -> bool:
    """Whether this is the name of an output file, or of a worker's note, before it is renamed into place."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_worker_output(path: str) -> bool:
    """Remove a worker's directory here; False when it is not there or something else is in it."""
    return remove_dir(path, lambda name: name == OWNER or is_temporary(name))


def sweep(root: str) -> None:
    """Remove what dead workers left in an output directory. No worker of this queue may live."""
    tmp = os.path.join(root, TMP)
    with contextlib.suppress(OSError):
        for name in entries(tmp):
            if is_worker(name):
                _sweep_worker(os.path.join(tmp, name))
            elif folding.is_probe(name):
                folding.remove_probe(os.path.join(tmp, name))
        if not os.path.islink(tmp):
            remove_if_empty(tmp)


def _sweep_worker(path: str) -> None:
    """Remove a worker's directory unless the worker lives. It is locked meanwhile: the worker may be starting."""
    if not is_directory(path):  # a link to somebody's directory, whose files are not ours to lock
        return
    owner = Lock(os.path.join(path, OWNER))
    if processes.is_this(read_note(owner.path)):  # left by a failed worker of this very process
        remove_worker_output(path)
        return
    with contextlib.suppress(OSError):
        if not living_holder(owner.path) and owner.take():
            with owner:
                remove_worker_output(path)
