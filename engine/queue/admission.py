"""Which directory is a queue, which may become one, and which is somebody else's and stays as it is.

A queue is known by its `FORMAT` together with what else the engine makes; a number alone says little, as other
programs have a file of that name as well. FORMAT is the first thing that is made of a queue, so whatever a kill
leaves later is a queue, too. (Engines before 2026-11-25 made it last: what they left half made is known as well.)

Nothing is changed by looking.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from engine.queue import names
from engine.queue.names import is_directory, is_file

_LOOKS = 5  # while another process makes a queue here
_FORMAT_BYTES, _BATCH_BYTES = 64, 1 << 20
_NUMBER = re.compile(rb"[1-9][0-9]{0,3}")
_SEGMENT = re.compile(r"[0-9]{6,17}\.jsonl")
_HARMLESS = (".gitignore", ".gitkeep")
_SETTINGS = "engine.toml"
_HIDDEN = (".engine-tmp", ".engine-batches")  # what an engine makes in an output directory
_NAMED = 3  # names in a message


class State(Enum):
    """What a directory is to the engine."""

    QUEUE = auto()
    NEWER = auto()  # a queue, of a format that only a newer engine knows
    DAMAGED = auto()  # a queue, and its FORMAT cannot be read
    UNREADABLE = auto()  # nobody may look
    NOTHING = auto()  # not there: may be made
    FREE = auto()  # there, and may become a queue
    HALF = auto()  # an older engine was killed while it made a queue here: may become one
    FOREIGN = auto()  # somebody else's, or never to be a queue


@dataclass(frozen=True, slots=True)
class Place:
    """What is at a path, and for a place where no queue can be, why: the end of a sentence."""

    state: State
    why: str = ""

    @property
    def is_queue(self) -> bool:
        return self.state in (State.QUEUE, State.NEWER, State.DAMAGED)


def look(root: str) -> Place:
    """What is at this path, through symbolic links. Never raises for what it finds."""
    if os.path.islink(root.rstrip(os.sep)) and not os.path.exists(root):
        return Place(State.FOREIGN, "it is a symbolic link to nothing")
    path = os.path.realpath(root)
    for _ in range(_LOOKS):
        place = _look(path)
        # One listing of a directory in which a queue is being made may show later names and not the first.
        if place.state is not State.FOREIGN or not os.path.lexists(os.path.join(path, "FORMAT")):
            break
    return place


def _look(path: str) -> Place:
    try:
        found = set(os.listdir(path))
    except FileNotFoundError:
        why = _never(path, set())
        return Place(State.FOREIGN, why) if why else Place(State.NOTHING)
    except NotADirectoryError:
        return Place(State.FOREIGN, "it is a file, not a directory")
    except PermissionError as exc:
        return Place(State.UNREADABLE, exc.strerror or str(exc))
    except OSError as exc:
        return Place(State.FOREIGN, exc.strerror or str(exc))
    if "FORMAT" in found:
        return _with_format(path, found)
    why = _never(path, found)
    if why:
        return Place(State.FOREIGN, why)
    others = {name for name in found if not _is_first_step(path, name)}
    own = {name for name in others if names.is_own(name)}
    if not _may_stay(path, others - own):
        return Place(State.FOREIGN, f"it holds {_some(others)}, and is no queue")
    if not own:
        return Place(State.FREE)
    if _begun_by_older(path, own):
        return Place(State.HALF)
    hint = "; if it is a queue that lost its FORMAT, write 1 into a file of that name" * _has_batch(path)
    return Place(State.FOREIGN, f"it holds {_some(own)}, and no FORMAT{hint}")


def _with_format(path: str, found: set[str]) -> Place:
    number = _read_format(os.path.join(path, "FORMAT"))
    if not _has_marks(path) and (number is None or not _just_begun(path, found)):
        return Place(State.FOREIGN, "the FORMAT in it is another program's")
    if number is None:
        return Place(State.DAMAGED)
    return Place(State.QUEUE if number <= names.FORMAT else State.NEWER)


# ---- a queue ---------------------------------------------------------------------------------------------
def format_text(root: str) -> str:
    """What FORMAT says, for a message."""
    data = _read_small(os.path.join(root, "FORMAT"), _FORMAT_BYTES) or b""
    return data.decode("ascii", "replace").strip()


def _read_format(path: str) -> int | None:
    """The number in a FORMAT, None when it is not what an engine writes."""
    data = (_read_small(path, _FORMAT_BYTES) or b"").strip()
    return int(data) if _NUMBER.fullmatch(data) else None


def _has_marks(path: str) -> bool:
    """Whether there is what only an engine makes: a batch.json, a segment, or tokens' directories."""
    if _has_batch(path):
        return True
    with suppress(OSError):
        if any(_SEGMENT.fullmatch(name) for name in os.listdir(os.path.join(path, "segments"))):
            return True
    return all(is_directory(os.path.join(path, name)) for name in ("pending", "deferred", "filed"))


def _has_batch(path: str) -> bool:
    return _batch(path) is not None


def _batch(path: str) -> dict[str, object] | None:
    data = _read_small(os.path.join(path, "batch.json"), _BATCH_BYTES)
    try:
        value = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return None
    return (
        value if isinstance(value, dict) and {"schema_version", "rehearsal", "frozen"} <= set(value) else None
    )


def _just_begun(path: str, found: set[str]) -> bool:
    """Whether a queue was being made here, and no batch.json came of it yet: there are but FORMAT and locks."""
    own = {name for name in found if names.is_own(name)}
    others = {name for name in found - own if not _is_first_step(path, name)}
    others = {name for name in others if not names.is_first(name, "batch.json")}
    locks = own - {"FORMAT"}
    right = locks <= set(names.LOCKS) and all(is_file(os.path.join(path, name)) for name in locks)
    return right and ".git" not in found and _may_stay(path, others)


def _begun_by_older(path: str, own: set[str]) -> bool:
    """Whether an engine that made FORMAT last was killed over it: its directories in its order, empty, private."""
    batch = _batch(path) if "batch.json" in own else None
    count = len(own & set(names.DIRS))
    return (
        own - {"batch.json"} == set(names.DIRS[:count])
        and all(_is_empty_dir(path, name) and _is_private(path, name) for name in names.DIRS[:count])
        and (
            "batch.json" not in own
            or (count == len(names.DIRS) and batch is not None and not batch["frozen"])
        )
    )


def _is_empty_dir(path: str, name: str) -> bool:
    """Whether this is one of a queue's directories in which nothing is, but in tmp/ a file without its name."""
    directory = os.path.join(path, name)
    if name not in names.DIRS or not is_directory(directory):
        return False
    try:
        inside = os.listdir(directory)
    except OSError:
        return False
    return all(name == "tmp" and names.is_temporary(its) for its in inside)


def _is_private(path: str, name: str) -> bool:
    with suppress(OSError):
        return not os.lstat(os.path.join(path, name)).st_mode & 0o077
    return False


def _is_first_step(path: str, name: str) -> bool:
    """Whether this is a FORMAT that has not got its name."""
    full = os.path.join(path, name)
    return names.is_first(name, "FORMAT") and is_file(full) and os.lstat(full).st_size <= len("1\n")


def _read_small(path: str, most: int) -> bytes | None:
    """A small regular file, neither through a link nor waiting for anybody; else None."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        about = os.fstat(fd)
        return os.read(fd, most) if stat.S_ISREG(about.st_mode) and about.st_size <= most else None
    except OSError:
        return None
    finally:
        os.close(fd)


# ---- not a queue -----------------------------------------------------------------------------------------
def _may_stay(path: str, others: set[str]) -> bool:
    """Whether files that are not the engine's may lie in a directory that becomes a queue."""
    return _SETTINGS in others or all(_is_harmless(path, name) for name in others)


def _is_harmless(path: str, name: str) -> bool:
    full = os.path.join(path, name)
    if name == "lost+found":
        return is_directory(full)
    return (name in _HARMLESS or name.startswith("README")) and not is_directory(full)


def _never(path: str, found: set[str]) -> str:
    """Why this directory never becomes a queue, whatever is in it; empty when it may."""
    if ".git" in found:
        return "it is the top of a git repository"
    if _same(path, os.sep):
        return "it is the root directory"
    if any(_same(path, home) for home in _homes(path)):
        return "it is a home directory"
    below = path
    while (above := os.path.dirname(below)) != below:
        name = os.path.basename(below)
        if name in _HIDDEN:
            return f"it lies in {below}, where an engine keeps things of its own"
        if names.is_own(name) and look_at(above).is_queue:
            return f"it lies in {below}, which belongs to another queue"
        below = above
    return ""


def look_at(path: str) -> Place:
    """What is at a real path, for who asks of a directory above another."""
    if os.path.lexists(os.path.join(path, "FORMAT")):
        with suppress(OSError):
            return _with_format(path, set(os.listdir(path)))
    return Place(State.FOREIGN)


def _homes(path: str) -> Iterator[str]:
    """Every home directory that this system knows of: this user's, all users', and that of the path's owner."""
    yield os.environ.get("HOME", "")
    with suppress(KeyError, OSError):
        yield pwd.getpwuid(os.lstat(path).st_uid).pw_dir
    with suppress(KeyError, OSError):
        yield pwd.getpwuid(os.getuid()).pw_dir
    with suppress(OSError):
        yield from (user.pw_dir for user in pwd.getpwall())


def _same(path: str, other: str) -> bool:
    """Whether two paths lead to one directory, also by way of a bind mount."""
    if not os.path.isabs(other):
        return False
    if path == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _some(found: set[str]) -> str:
    """Some names of many, for a sentence."""
    shown = sorted(found)[:_NAMED]
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return ", ".join(shown) + more
