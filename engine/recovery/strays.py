"""Removes what an audit calls stray, as far as no process can need it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from engine.output import publisher
from engine.queue import marker
from engine.queue.directory import Queue, deferred_chunks
from engine.queue.segments import Chunk
from engine.storage import disk
from engine.verify import Audit

_TOKEN_LIKE = re.compile(r"[0-9.~]+")


def remove_strays(queue: Queue, output: str | None, found: Audit) -> list[str]:
    """Remove stray files; returns the paths that are gone. `output`: the queue's output directory."""
    paths = [
        problem.where for problem in found.problems if problem.what in ("stray file", "stray temporary file")
    ]
    if "stray token" in found.totals:  # its name is not in the engine's notation, so a start does not see it
        paths += _odd_tokens(queue)
    return [path for path in paths if _remove(queue, output, path)]


def _odd_tokens(queue: Queue) -> Iterator[str]:
    """Names like a token's in the directories of tokens that are none."""
    for segment in queue.segments():
        for directory in (queue.pending(segment), queue.done(segment), queue.filed(segment)):
            for name in os.listdir(directory):
                if Chunk.parse(name, segment) is None and _TOKEN_LIKE.fullmatch(name):
                    yield os.path.join(directory, name)
    right = {name for _, _, name in deferred_chunks(queue)}
    for name in {*os.listdir(queue.deferred)} - right:
        if _TOKEN_LIKE.fullmatch(name):
            yield os.path.join(queue.deferred, name)


def _remove(queue: Queue, output: str | None, path: str) -> bool:
    """Remove a path that an audit calls stray, so its name is one that the engine gives; whether it is gone."""
    if not os.path.lexists(path):
        return False
    if output is not None and _lies_in(path, output):
        if _lies_in(path, os.path.join(output, publisher.TMP)):
            publisher.sweep(output)
        elif _lies_in(path, os.path.join(output, marker.DIR)):
            if os.path.basename(path) in marker.leftovers(output, marker.id_of(queue.read_batch())):
                disk.unlink(path)
        else:
            disk.unlink(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        if not os.listdir(path):
            disk.rmdir(path)
    elif os.path.islink(path) or path.endswith(".tmp") or not os.path.getsize(path):
        disk.unlink(path)
    return not os.path.lexists(path)


def _lies_in(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip(os.sep) + os.sep)
