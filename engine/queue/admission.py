"""Which directory is a queue, which may become one, and which belongs to somebody else and stays as it is.

A queue is known by its `FORMAT` together with other names that the engine makes; other programs have a file of that
name too, so a number alone is not enough. FORMAT is made first, so whatever a kill leaves later is a queue as well.
(Engines before 2026-11-25 made it last: what they left half made is recognised too.)

Looking changes nothing.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from engine.queue import names
from engine.queue.names import is_directory, is_file
from engine.queue.protected import why_protected
from engine.storage import disk

_RETRIES = 5  # while another process makes a queue here
_FORMAT_BYTES, _BATCH_BYTES = 64, 1 << 20
_NUMBER = re.compile(rb"[1-9][0-9]{0,3}")
_SEGMENT = re.compile(r"[0-9]{6,17}\.jsonl")
_HARMLESS = (".gitignore", ".gitkeep")
_SETTINGS = "engine.toml"
_HIDDEN = (".engine-tmp", ".engine-batches")  # what an engine makes in an output directory
_NAMED = 3  # names in a message


class DirectoryState(Enum):
    """What a directory is to the engine."""

    QUEUE = auto()
    NEWER = auto()  # a queue, of a format that only a newer engine knows
    DAMAGED = auto()  # a queue whose FORMAT cannot be read
    UNREADABLE = auto()  # the system refuses to list it
    NOTHING = auto()  # missing: may be made
    FREE = auto()  # exists, and may become a queue
    HALF = auto()  # an older engine was killed while it made a queue here: may become one
    FOREIGN = auto()  # somebody else's, or never to be a queue


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is at a path, and why no queue can be there: the end of a sentence, or empty."""

    state: DirectoryState
    why: str = ""

    @property
    def is_queue(self) -> bool:
        return self.state in (DirectoryState.QUEUE, DirectoryState.NEWER, DirectoryState.DAMAGED)


def inspect(root: str) -> Inspection:
    """What is at this path, through symbolic links. Never raises for what it finds."""
    if os.path.islink(root.rstrip(os.sep)) and not os.path.exists(root):
        return _foreign("it is a symbolic link to nothing")
    path = os.path.realpath(root)
    for _ in range(_RETRIES):
        found = _inspect(path)
        # A listing taken while a queue is being made may show later names and miss the first one.
        if found.state is not DirectoryState.FOREIGN or not os.path.lexists(os.path.join(path, "FORMAT")):
            break
    return found


def _inspect(path: str) -> Inspection:
    try:
        found = set(os.listdir(path))
    except FileNotFoundError:
        why = _why_never(path, set())
        return _foreign(why) if why else Inspection(DirectoryState.NOTHING)
    except NotADirectoryError:
        return _foreign("it is a file, not a directory")
    except PermissionError as exc:
        return Inspection(DirectoryState.UNREADABLE, exc.strerror or str(exc))
    except OSError as exc:
        return _foreign(exc.strerror or str(exc))
    if "FORMAT" in found:
        return _with_format(path, found)
    why = _why_never(path, found)
    if why:
        return _foreign(why)
    others = {name for name in found if not _is_first_step(path, name)}
    own = {name for name in others if names.is_own(name)}
    if not _may_stay(path, others - own):
        return _foreign(f"it holds {_some(others)}, and is no queue")
    if not own:
        return Inspection(DirectoryState.FREE)
    if _begun_by_older(path, own):
        return Inspection(DirectoryState.HALF)
    hint = "; if it is a queue that lost its FORMAT, write 1 into a file of that name" * _has_batch(path)
    return _foreign(f"it holds {_some(own)}, and no FORMAT{hint}")


def inspect_above(path: str) -> Inspection:
    """What is at a real path: a cheaper check for the directories above another one, where only a queue matters."""
    if os.path.lexists(os.path.join(path, "FORMAT")):
        with suppress(OSError):
            return _with_format(path, set(os.listdir(path)))
    return _foreign("")


def _foreign(why: str) -> Inspection:
    return Inspection(DirectoryState.FOREIGN, why)


def _with_format(path: str, found: set[str]) -> Inspection:
    number = _read_format(os.path.join(path, "FORMAT"))
    if not _has_marks(path) and (number is None or not _just_begun(path, found)):
        return _foreign("the FORMAT in it is another program's")
    if number is None:
        return Inspection(DirectoryState.DAMAGED)
    return Inspection(DirectoryState.QUEUE if number <= names.FORMAT else DirectoryState.NEWER)


def format_text(root: str) -> str:
    """What FORMAT says, for a message."""
    data = disk.read_small(os.path.join(root, "FORMAT"), _FORMAT_BYTES) or b""
    return data.decode("ascii", "replace").strip()


def _read_format(path: str) -> int | None:
    """The number in a FORMAT; None when no engine wrote it."""
    data = (disk.read_small(path, _FORMAT_BYTES) or b"").strip()
    return int(data) if _NUMBER.fullmatch(data) else None


def _has_marks(path: str) -> bool:
    """Whether there is what only an engine makes: a batch.json, a segment, or directories of tokens."""
    if _has_batch(path):
        return True
    with suppress(OSError):
        if any(_SEGMENT.fullmatch(name) for name in os.listdir(os.path.join(path, "segments"))):
            return True
    return all(is_directory(os.path.join(path, name)) for name in ("pending", "deferred", "filed"))


def _has_batch(path: str) -> bool:
    return _batch(path) is not None


def _batch(path: str) -> dict[str, object] | None:
    data = disk.read_small(os.path.join(path, "batch.json"), _BATCH_BYTES)
    try:
        value = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return None
    ours = isinstance(value, dict) and {"schema_version", "rehearsal", "frozen"} <= set(value)
    return value if ours else None


def _just_begun(path: str, found: set[str]) -> bool:
    """Whether a queue was being made here and has no batch.json yet: there are only FORMAT and locks."""
    own = {name for name in found if names.is_own(name)}
    others = {
        name
        for name in found - own
        if not _is_first_step(path, name) and not names.is_first(name, "batch.json")
    }
    locks = own - {"FORMAT"}
    only_locks = locks <= set(names.LOCKS) and all(is_file(os.path.join(path, name)) for name in locks)
    return only_locks and ".git" not in found and _may_stay(path, others)


def _begun_by_older(path: str, own: set[str]) -> bool:
    """Whether an engine that made FORMAT last was killed meanwhile: its directories in its order, empty, private."""
    batch = _batch(path) if "batch.json" in own else None
    made = names.DIRS[: len(own & set(names.DIRS))]
    if own - {"batch.json"} != set(made):
        return False
    if not all(_is_empty_dir(path, name) and _is_private(path, name) for name in made):
        return False
    return "batch.json" not in own or (made == names.DIRS and batch is not None and not batch["frozen"])


def _is_empty_dir(path: str, name: str) -> bool:
    """Whether this is an empty directory; tmp/ may hold temporary files."""
    directory = os.path.join(path, name)
    if not is_directory(directory):
        return False
    try:
        inside = os.listdir(directory)
    except OSError:
        return False
    return all(name == "tmp" and names.is_temporary(entry) for entry in inside)


def _is_private(path: str, name: str) -> bool:
    with suppress(OSError):
        return not os.lstat(os.path.join(path, name)).st_mode & 0o077
    return False


def _is_first_step(path: str, name: str) -> bool:
    """Whether this is a FORMAT under its temporary name."""
    full = os.path.join(path, name)
    return names.is_first(name, "FORMAT") and is_file(full) and os.lstat(full).st_size <= len("1\n")


def _may_stay(path: str, others: set[str]) -> bool:
    """Whether files that are not the engine's may lie in a directory that becomes a queue."""
    return _SETTINGS in others or all(_is_harmless(path, name) for name in others)


def _is_harmless(path: str, name: str) -> bool:
    full = os.path.join(path, name)
    if name == "lost+found":
        return is_directory(full)
    return (name in _HARMLESS or name.startswith("README")) and not is_directory(full)


def _why_never(path: str, found: set[str]) -> str:
    """Why this directory never becomes a queue, whatever is in it; empty when it may."""
    if why := why_protected(path, found):
        return why
    below = path
    while (above := os.path.dirname(below)) != below:
        name = os.path.basename(below)
        if name in _HIDDEN:
            return f"it lies in {below}, where an engine keeps things of its own"
        if names.is_own(name) and inspect_above(above).is_queue:
            return f"it lies in {below}, which belongs to another queue"
        below = above
    return ""


def _some(found: set[str]) -> str:
    """A few of these names, for a sentence."""
    shown = sorted(found)[:_NAMED]
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return ", ".join(shown) + more
