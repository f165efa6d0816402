"""Reading journals and rows for the audit: a second implementation, on purpose.

Nothing is shared with `engine.queue.journal`, `engine.queue.job_state` or `engine.queue.manifest`, so that an error
there cannot hide itself.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.model import Kind, Status
from engine.verify.shard_audit import is_place

_HEX = re.compile(rb"[0-9a-f]{8}")
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXT, _COUNT, _FLAG = (str, type(None)), (int,), (bool, type(None))
_FIELDS: dict[str, tuple[type, ...]] = {
    "video_id": (str,),
    "status": (str,),
    "kind": _TEXT,
    "message": _TEXT,
    "attempts": _COUNT,
    "requests": _COUNT,
    "bytes": _COUNT,
    "title": _TEXT,
    "channel": _TEXT,
    "channel_id": _TEXT,
    "duration_s": (int, float, type(None)),
    "language": _TEXT,
    "is_generated": _FLAG,
    "files": (dict,),
    "sha256": (dict,),
    "egress": _TEXT,
    "elapsed_s": (int, float),
    "finished_at": (str,),
    "input": (dict,),
}


class FinalLine(NamedTuple):
    """A job's row in its journal, and the offset after its line."""

    raw: bytes
    body: dict[str, Any]
    end: int


@dataclass(slots=True)
class JournalContent:
    """What a journal says, and what is wrong with it."""

    finals: dict[str, FinalLine] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)  # until when the open jobs wait (wall clock)
    named: set[str] = field(default_factory=set)  # all jobs that have a line
    synced: int = 0  # the lines before this offset are durable
    size: int = 0
    bad: int = 0  # damaged lines
    torn: bool = False  # the last line has no newline
    twice: int = 0  # second final lines of a job
    odd: list[str] = field(default_factory=list)  # implausible values in intact lines
    reopened: dict[str, list[dict[str, str]]] = field(
        default_factory=dict
    )  # sha256 of the files of reopened rows
    data: bytes = b""

    def checksum_to(self, end: int) -> int:
        """The CRC-32 of its first `end` bytes."""
        return zlib.crc32(self.data[:end])


def read_journal(path: str) -> JournalContent | None:
    """Read a journal; None when there is none. Raises OSError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    content = JournalContent(size=len(data), data=data)
    *lines, rest = data.split(b"\n")
    content.torn = bool(rest)
    end = 0
    for line in lines:
        end += len(line) + 1
        found = _line(line)
        if found is None:
            content.bad += 1
        else:
            _apply(content, *found, end)
            content.odd += line_faults(found[0], found[2], end - len(line) - 1)
    return content


def _line(line: bytes) -> tuple[str, bytes, dict[str, Any]] | None:
    text, _, digits = line.rpartition(b" ")
    if not _HEX.fullmatch(digits) or int(digits, 16) != zlib.crc32(text):
        return None
    verb, _, raw = text.partition(b" ")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return (verb.decode("latin-1"), raw, body) if isinstance(body, dict) else None


def _apply(content: JournalContent, verb: str, raw: bytes, body: dict[str, Any], end: int) -> None:
    if verb == "synced":
        upto = body.get("end")
        if isinstance(upto, int):
            content.synced = max(content.synced, min(upto, end))
        return
    video_id = body.get("video_id") if verb == "final" else body.get("job")
    if not isinstance(video_id, str):
        content.bad += 1
        return
    content.named.add(video_id)
    if verb == "final":
        if video_id in content.finals:
            content.twice += 1
            _note_reopened(content, video_id, body)
        else:
            content.finals[video_id] = FinalLine(raw, body, end)
    elif verb == "reopen":
        if video_id in content.finals:
            _note_reopened(content, video_id, content.finals.pop(video_id).body)
        content.waits.pop(video_id, None)
    elif verb == "try" and body.get("gave_way") is not True:
        at = body.get("not_before")
        content.waits[video_id] = at if isinstance(at, int | float) else 0.0


def _note_reopened(content: JournalContent, video_id: str, row: dict[str, Any]) -> None:
    sums = row.get("sha256")
    if isinstance(sums, dict) and sums:
        content.reopened.setdefault(video_id, []).append(sums)


def line_faults(verb: str, body: dict[str, Any], begin: int) -> list[str]:
    """The values that no engine can have written into a line that begins at this offset. Fields may be missing."""
    what = f"{verb} of {body['job']!s:.11}" if "job" in body else verb
    return [
        f"{what}: {name} is {body[name]!r:.40}"
        for name, plausible in _PLAUSIBLE.get(verb, {}).items()
        if name in body and not plausible(body[name], begin)
    ]


def _counts(most: float) -> Callable[[Any, int], bool]:
    return lambda value, _: type(value) is int and 0 <= value <= most


def _is_flag(value: object, _: int) -> bool:
    return isinstance(value, bool)


def _is_text(value: object, _: int) -> bool:
    return isinstance(value, str)


_PLAUSIBLE: dict[str, dict[str, Callable[[Any, int], bool]]] = {
    "try": {
        "n": _counts(1e6),
        "kind": lambda value, _: value is None or value in tuple(Kind),
        "not_before": lambda value, _: type(value) in (int, float) and 0 <= value < 1e12,
        "charged": _is_flag,
        "gave_way": _is_flag,
        "others_passed": _is_flag,
        "requests": _counts(1e9),
        "bytes": _counts(1e15),
    },
    "died": {"worker": _is_text, "alone": _is_flag, "sure": _is_flag},
    "reopen": {"why": _is_text},
    "synced": {"end": lambda value, begin: type(value) is int and 0 <= value <= begin},
}


def row_faults(row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a row, by queue_dir/README.md."""
    for name, types in _FIELDS.items():
        if name not in row:
            yield f"no field {name}"
        elif not isinstance(row[name], types) or (isinstance(row[name], bool) and bool not in types):
            yield f"{name} is {row[name]!r:.60}"
        elif types is _COUNT and row[name] < 0:
            yield f"{name} is negative"
    if not _ID.fullmatch(str(row.get("video_id"))):
        yield f"video_id is {row.get('video_id')!r:.60}"
    if not _TIME.fullmatch(str(row.get("finished_at"))):
        yield f"finished_at is {row.get('finished_at')!r:.60}"
    yield from _status_faults(row)
    yield from _file_faults(row)


def _status_faults(row: dict[str, Any]) -> Iterator[str]:
    status, kind = row.get("status"), row.get("kind")
    if status not in tuple(Status):  # not a set: the value may be a list, which has no hash
        yield f"status is {status!r:.60}"
    elif status == Status.OK:
        if kind is not None:
            yield "ok, but it has a kind"
    elif kind not in tuple(Kind):
        yield f"kind is {kind!r:.60}"
    elif Kind(kind).status != status:
        yield f"kind {kind} does not go with status {status}"


def _file_faults(row: dict[str, Any]) -> Iterator[str]:
    files, sums = row.get("files"), row.get("sha256")
    if not isinstance(files, dict) or not isinstance(sums, dict):
        return
    if row.get("status") != Status.OK:
        if files or sums:
            yield "names files, but is not ok"
        return
    if "json" not in files:
        yield "ok without a record"
    if files.keys() != sums.keys():
        yield "files and sha256 differ in their formats"
    video_id = str(row.get("video_id"))
    for fmt, path in files.items():
        if path != f"{video_id[:2]}/{video_id}.{fmt}" and not (files.keys() == {"json"} and is_place(path)):
            yield f"the {fmt} file is {path!r:.60}"
    for fmt, digest in sums.items():
        if not _SHA256.fullmatch(str(digest)):
            yield f"the sha256 of {fmt} is {digest!r:.80}"
