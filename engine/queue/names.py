"""Every name that the engine makes in a queue directory.

Everything else belongs to somebody else and is neither removed nor changed. A name that is not in this table is never
swept, so a new file or directory of the queue is added here first.
"""

from __future__ import annotations

import os
import re
import stat

FIRST_FORMAT = 1
SHARDS_FORMAT = 2  # its records lie in shards
FORMAT = SHARDS_FORMAT  # the newest that this engine knows
DIRS = ("segments", "ids", "pending", "deferred", "workers", "done", "filed", "journal", "listings", "tmp")
LOCKS = ("run.lock", "seed.lock", "monitor.lock", "lister.lock", "ways.lock")
_REPLACED = (
    "FORMAT",
    "batch.json",
    "checkpoint.json",
    "status.json",
    "control.json",
    "live.json",
    "retry.json",
    "gather.json",
    "ways.json",
    "known.u64",
    "budget.path",
    "tickets",
    "captions",
)
_FILES = (*_REPLACED, *LOCKS, "manifest.jsonl", "budget", "events.jsonl", "rejects.csv")
OWN = frozenset({*DIRS, *_FILES, "asked"})

_RANDOM = r"[0-9a-f]{8}"
_SEGMENT_FILE = r"[0-9]{6,}\.(?:jsonl|json|u64|u64\.odd|u64\.sums)"
_JOURNAL = r"[0-9]+\.jsonl"
_TEMPORARY = re.compile(
    rf"\.(?:{'|'.join(map(re.escape, _REPLACED))}|died|{_SEGMENT_FILE}|{_JOURNAL})\.{_RANDOM}\.tmp"
)
_FIRST = re.compile(rf"\.(FORMAT|batch\.json)\.{_RANDOM}\.tmp")
_RETRIED_MANIFEST = "manifest.retry.tmp"
_RUN = r"[0-9]{8}T[0-9]{6}-[0-9]+-[0-9a-f]{6}"
_WORKER = re.compile(rf"{_RUN}\.[0-9]+\.[0-9]+")
_WORKER_LIKE = re.compile(r"[A-Za-z0-9-]+\.[0-9]+\.[0-9]+")
_TOKENS = re.compile(r"[0-9]{6,17}")
_TOKEN = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_NAMED_TOKEN = re.compile(r"[0-9]{6,17}\.[0-9]+\.[0-9]+\.[0-9]+")
WORKER_FILES = ("inflight", "died", "lock")  # beside tokens; the lock goes last


def is_own(name: str) -> bool:
    """Whether the engine makes this name in a queue directory. Case is ignored, because some disks ignore it."""
    return name.casefold() in _FOLDED


_FOLDED = frozenset(name.casefold() for name in OWN)


def is_temporary(name: str) -> bool:
    """Whether a file of the queue has this name before it is renamed into place."""
    return name == _RETRIED_MANIFEST or _TEMPORARY.fullmatch(name) is not None


def is_first(name: str, of: str = "") -> bool:
    """Whether FORMAT or the first batch.json has this name before it is renamed; with `of` only that one of the two.

    They lie in the queue's directory itself, because there is no tmp/ yet.
    """
    found = _FIRST.fullmatch(name)
    return found is not None and of in ("", found[1])


def is_worker(name: str) -> bool:
    """Whether this may be a worker's id, `<run>.<slot>.<number>`."""
    return _WORKER_LIKE.fullmatch(name) is not None


def is_staging(name: str) -> bool:
    """Whether this is a directory that is prepared in `tmp/`: a segment's tokens, or a worker's directory."""
    return _TOKENS.fullmatch(name) is not None or _WORKER.fullmatch(name) is not None


def belongs_in_staging(directory: str, name: str) -> bool:
    """Whether the engine puts a file of this name into such a directory.

    When a power cut loses the rename, a worker's directory also holds the tokens that it took later.
    """
    if _TOKENS.fullmatch(directory):
        return _TOKEN.fullmatch(name) is not None
    return name in WORKER_FILES or _NAMED_TOKEN.fullmatch(name) is not None


def is_file(path: str) -> bool:
    """Whether this is a regular file, not a link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def is_directory(path: str) -> bool:
    """Whether this is a directory, not a link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
