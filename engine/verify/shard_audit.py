"""Checking shards: the frames that rows name, what else lies in the shards, and the index.

Written from queue_dir/README.md alone: nothing is shared with `engine.output`, except the module that unpacks zstd.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from array import array
from collections.abc import Iterator
from typing import Any

from engine.storage.zstd import decompress
from engine.verify.findings import LEFT_OVER, Findings

SHARDS = "shards"
INDEX = "index"
_PLACE = re.compile(r"shards/([0-9]{6,})\.zst#(0|[1-9][0-9]*)\+([1-9][0-9]*)")
_SHARD = re.compile(r"[0-9]{6,}\.zst")
_TEMPORARY = re.compile(r"\.index\.[0-9a-f]{8}\.tmp")
_HEAD = re.compile(rb"\x50\x2a\x4d\x18(....)", re.DOTALL)
_MOST_BYTES = 256 << 20
SUPERSEDED = "byte(s) in shards that no ok row names; `engine verify --repair` removes them"
_OTHERS = "file(s) in the output directory that are not this engine's"


def is_place(text: object) -> bool:
    """Whether a row may name this as the place of its record."""
    return isinstance(text, str) and _PLACE.fullmatch(text) is not None


def frame_fault(root: str, place: str, digest: object) -> str | None:
    """What is wrong with a frame whose content should have this sha256; None when nothing is."""
    found = _PLACE.fullmatch(place)
    if found is None:
        return "no place in a shard"
    offset, length = int(found[2]), int(found[3])
    try:
        fd = os.open(os.path.join(root, place.partition("#")[0]), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"
    with open(fd, "rb") as file:
        try:
            if length > _MOST_BYTES or os.fstat(fd).st_size < offset + length:
                return "behind the end of its shard"
            file.seek(offset)
            data = decompress(file.read(length), _MOST_BYTES)
        except OSError as exc:
            return f"cannot be read: {exc.strerror}"
    if data is None:
        return "not a frame"
    return None if hashlib.sha256(data).hexdigest() == digest else "wrong sha256"


class ShardAudit:
    """What rows say about the shards of one output directory, to be compared with what lies there."""

    def __init__(self) -> None:
        self._frames: dict[str, array[int]] = {}  # by shard: offset and length of each frame that a row names
        self._filed: dict[
            int, int
        ] = {}  # by hash of the id: hash of the place, of rows that the index must know

    def add(self, row: dict[str, Any], *, filed: bool) -> None:
        """Note the frame that an `ok` row names; `filed`: the row is in the manifest."""
        place = row["files"].get("json")
        found = _PLACE.fullmatch(place) if isinstance(place, str) else None
        if found is None:
            return
        name = f"{found[1]}.zst"
        self._frames.setdefault(name, array("Q")).extend((int(found[2]), int(found[3])))
        if filed:
            self._filed[hash(row["video_id"])] = hash(place)

    def check(self, root: str, batch: str, findings: Findings) -> None:
        """Report what lies in `shards/` and should not, and an index that does not say what the rows do."""
        directory = os.path.join(root, SHARDS)
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            names = []
        for name in names:
            path = os.path.join(directory, name)
            if _TEMPORARY.fullmatch(name):
                findings.problem("stray temporary file", path, LEFT_OVER)
            elif not _SHARD.fullmatch(name) or not os.path.isfile(path) or os.path.islink(path):
                findings.note(_OTHERS, name != INDEX)
            elif name in self._frames or _batch_of(path) == batch or not os.path.getsize(path):
                findings.note(SUPERSEDED, self._unnamed_bytes(path, self._frames.get(name)))
            else:
                findings.note(_OTHERS)
        self._check_index(os.path.join(directory, INDEX), findings)

    def _unnamed_bytes(self, path: str, named: array[int] | None) -> int:
        """How many bytes of a shard are in no frame that a row names, and were not taken out by a repair."""
        at, count = 0, 0
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            pairs = sorted(zip(named[::2], named[1::2], strict=True)) if named else []
            for offset, length in (*pairs, (size, 0)):
                while at < offset:
                    skipped = _skippable(file, at)
                    if not skipped or at + skipped > offset:
                        count += offset - at
                        break
                    at += skipped
                at = max(at, offset + length)
        return count

    def _check_index(self, path: str, findings: Findings) -> None:
        if not self._filed:
            return
        known: dict[int, int] = {}
        try:
            for video_id, place in _lines(path):
                known[hash(video_id)] = hash(place)
        except OSError as exc:
            findings.problem("wrong index", path, exc.strerror or str(exc))
            return
        wrong = sum(known.get(video_id) != place for video_id, place in self._filed.items())
        if wrong:
            findings.problem("wrong index", path, f"of {wrong:,} record(s) it does not say where they lie")


def _lines(path: str) -> Iterator[tuple[str, str]]:
    with open(path, "rb") as file:
        for line in file:
            text, _, digits = line.rstrip(b"\n").rpartition(b" ")
            if digits == b"%08x" % zlib.crc32(text) and text.count(b" ") == 1:
                video_id, _, place = text.decode("ascii", "replace").partition(" ")
                yield video_id, place


def _skippable(file: Any, at: int) -> int:
    """How long the skippable frame at this offset is; 0 when there is none."""
    file.seek(at)
    found = _HEAD.fullmatch(file.read(8))
    return 8 + int.from_bytes(found[1], "little") if found else 0


def _batch_of(path: str) -> str | None:
    """Whose a shard is, by its first frame."""
    try:
        with open(path, "rb") as file:
            length = _skippable(file, 0)
            value = json.loads(file.read(min(4096, length - 8))) if length else None
    except (OSError, ValueError, RecursionError):
        return None
    batch = value.get("batch") if isinstance(value, dict) else None
    return batch if isinstance(batch, str) else None
