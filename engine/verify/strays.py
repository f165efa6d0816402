"""Temporary files in the queue and output directories, left by a process that died.

By the page on the format alone: only the list of formats is shared with `engine.queue` and `engine.output`.
"""

from __future__ import annotations

import os
import re

from engine.output.formats import SUFFIXES
from engine.queue.directory import Queue
from engine.verify.directory_scan import FOREIGN, NAMED, OWNER, TMP, TOKEN, WORKER, WORKER_FILES, listing
from engine.verify.findings import LEFT_OVER, Findings

_REPLACED = (
    r"(?:FORMAT|(?:batch|checkpoint|status|control|live|retry|gather|ways)\.json|known\.u64|tickets|captions"
    r"|died"
    r"|[0-9]+\.jsonl|[0-9]{6,}\.(?:json|u64|u64\.odd|u64\.sums))"
)
_TEMPORARY = re.compile(rf"\.{_REPLACED}\.[0-9a-f]{{8}}\.tmp|manifest\.retry\.tmp")
_STAGING = re.compile(r"[0-9]{6,17}|[0-9]{8}T[0-9]{6}-[0-9]+-[0-9a-f]{6}\.[0-9]+\.[0-9]+")
_OUTPUT_TEMPORARY = re.compile(
    rf"\.(?:[A-Za-z0-9_-]{{11}}\.(?:{'|'.join(SUFFIXES)})|owner)\.[0-9a-f]{{8}}\.tmp"
)


def leftovers(queue: Queue, findings: Findings) -> None:
    """Report temporary files in the queue directory; names that no engine gives are somebody else's."""
    for name in listing(queue.tmp):
        path = os.path.join(queue.tmp, name)
        if is_temporary(path) or (_STAGING.fullmatch(name) and _is_staging(path)):
            findings.problem("stray temporary file", path, LEFT_OVER)
        else:
            findings.note(FOREIGN)
    for directory in ("", "segments", "ids", "listings"):
        for name in listing(queue.path(directory)):
            path = queue.path(directory, name)
            if is_temporary(path):
                findings.problem("stray temporary file", path, LEFT_OVER)


def is_temporary(path: str) -> bool:
    """Whether this is a file of the queue that was never renamed into place."""
    return (
        _TEMPORARY.fullmatch(os.path.basename(path)) is not None
        and os.path.isfile(path)
        and not os.path.islink(path)
    )


def _is_staging(path: str) -> bool:
    """Whether this is a directory of tokens, or a worker's, that was never renamed into place."""
    inside = listing(path)
    made = any(name in WORKER_FILES or TOKEN.fullmatch(name) or NAMED.fullmatch(name) for name in inside)
    return os.path.isdir(path) and not os.path.islink(path) and (made or not inside)


def is_temporary_output(path: str) -> bool:
    """Whether a path in the output directory is that of a temporary file, or of a worker's note beside those."""
    inside, name = os.path.split(path)
    parent, worker = os.path.split(inside)
    if parent == TMP and WORKER.fullmatch(worker):
        return name == OWNER or _OUTPUT_TEMPORARY.fullmatch(name) is not None
    return _OUTPUT_TEMPORARY.fullmatch(name) is not None and inside == name[1:3]
