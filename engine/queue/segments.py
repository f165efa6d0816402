"""Segments and chunks: what is to be done, cut into the units of claiming.

A segment is an immutable file: a header line `{"segment", "jobs", "chunk"}` and one line a job. A chunk is a
run of its jobs. Its token is an empty file whose name `<k>.<first>.<jobs>` says which: the k-th chunk of the
segment, beginning at byte `first`, `jobs` lines long. Tokens carry no data and can be made again from headers.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.model import Job

SEGMENT_JOBS = 100_000
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_LINE = re.compile(rb'\{"id": "([A-Za-z0-9_-]{11})"[,}]')


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """A run of jobs in a segment: the unit of claiming."""

    segment: int
    k: int
    first: int
    jobs: int

    @property
    def token(self) -> str:
        """The token's name within its segment's directory."""
        return f"{self.k}.{self.first}.{self.jobs}"

    @property
    def name(self) -> str:
        """The token's name where chunks of all segments lie together."""
        return f"{self.segment:06d}.{self.token}"

    @classmethod
    def parse(cls, name: str, segment: int | None = None) -> Chunk | None:
        """A token's name read back (with its segment in front unless given); None when it is not one.

        Written in any other way (`+1`, `01`, `1_0`) it is none: under the name made from it there is no file.
        """
        try:
            numbers = [int(part) for part in name.split(".")]
        except ValueError:
            return None
        if segment is not None:
            numbers.insert(0, segment)
        if len(numbers) != 4 or min(numbers) < 0:
            return None
        its = cls(*numbers)
        return its if name == (its.name if segment is None else its.token) else None


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a segment: its number, how many jobs follow, how many a chunk holds."""

    segment: int
    jobs: int
    chunk: int

    @property
    def chunks(self) -> int:
        """How many chunks it is cut into."""
        return -(-self.jobs // self.chunk)


def chunk_size(jobs: int, cores: int) -> int:
    """How many jobs a chunk holds: small enough that all workers share a small batch to its end."""
    return max(16, min(256, jobs // (8 * max(1, cores))))


def encode_segment(number: int, jobs: Iterable[tuple[str, dict[str, Any]]], count: int, chunk: int) -> bytes:
    """A segment file's bytes. `jobs` are (id, input) pairs, `count` of them."""
    lines = []
    for video_id, columns in jobs:
        if columns:
            lines.append(json.dumps({"id": video_id, "input": columns}, ensure_ascii=False))
        else:
            lines.append(f'{{"id": "{video_id}"}}')
    lines.append("")
    return with_header(number, "\n".join(lines).encode("utf-8", "replace"), count, chunk)


def with_header(number: int, body: bytes, count: int, chunk: int) -> bytes:
    """A segment file's bytes, of its `count` lines."""
    head = {"segment": number, "jobs": count, "chunk": chunk}
    head["crc32"] = zlib.crc32(body, _head_sum(number, count, chunk))
    return json.dumps(head).encode() + b"\n" + body


def _head_sum(*numbers: int) -> int:
    return zlib.crc32(" ".join(map(str, numbers)).encode())


def read_header(path: str) -> Header:
    """A segment's header. Raises OSError, ValueError, KeyError, TypeError when there is none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # every count of the queue does this for every segment
    try:
        line = os.read(fd, 4096).partition(b"\n")[0]
    finally:
        os.close(fd)
    return _header(line)[0]


def read_body(path: str) -> bytes:
    """A segment's lines without its header. Raises UsageError when they are not what was written, OSError."""
    check_whole(path)
    with open(path, "rb") as file:
        file.readline()
        return file.read()


def _header(line: bytes) -> tuple[Header, int | None]:
    """(header, the sum it gives; None when it gives none)"""
    try:
        head = json.loads(line)
        its, total = Header(int(head["segment"]), int(head["jobs"]), int(head["chunk"])), head.get("crc32")
    except (RecursionError, OverflowError, AttributeError) as exc:
        raise ValueError(str(exc)) from None
    if min(its.segment, its.jobs) < 0 or its.chunk < 1:
        raise ValueError("a number that none can be")
    return its, total


def whole(path: str) -> bool:
    """Whether a segment is as it was written, by the sum in its header; reads all of it (1 GB/s).

    Raises OSError when it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            head, wanted = _header(file.readline(4096))
        except (ValueError, KeyError, TypeError):
            return False
        total = _head_sum(head.segment, head.jobs, head.chunk)
        while piece := file.read(1 << 20):
            total = zlib.crc32(piece, total)
        return total == wanted


def check_whole(path: str) -> None:
    """Raise UsageError when a segment is not as it was written."""
    if not whole(path):
        raise UsageError(
            f"{path} is damaged: it is not what was written. Bring it back from a copy; `engine verify` says more"
        )


def _damaged(path: str, what: str) -> UsageError:
    return UsageError(
        f"{path} is damaged: {what} cannot be read. Segments are never edited: bring back a copy, "
        "or begin another queue"
    )


def cut(path: str) -> Iterator[Chunk]:
    """All chunks of a segment file, in order. Raises UsageError when its header cannot be read."""
    with open(path, "rb") as file:
        try:
            head, _ = _header(file.readline(4096))
        except (ValueError, KeyError, TypeError):
            raise _damaged(path, "its first line") from None
        segment, size = head.segment, head.chunk
        offset, first, held, k = file.tell(), file.tell(), 0, 0
        for line in file:
            offset += len(line)
            held += 1
            if held == size:
                yield Chunk(segment, k, first, held)
                first, held, k = offset, 0, k + 1
        if held:
            yield Chunk(segment, k, first, held)


def read_jobs(path: str, chunk: Chunk) -> list[Job]:
    """The jobs of a chunk, read from its segment's file.

    Raises UsageError when the file is not what the token says: a queue that was edited by hand.
    """
    with open(path, "rb") as file:
        file.seek(chunk.first)
        lines = list(itertools.islice(file, chunk.jobs))
    jobs: list[Job] = []
    try:
        for line in _values(lines):
            columns = line.get("input") or {}
            # The id becomes a path: whatever wrote this line, it leads nowhere else.
            if not _ID.fullmatch(line["id"]) or not isinstance(columns, dict):
                raise ValueError
            jobs.append(Job(line["id"], columns))
        if len(jobs) < chunk.jobs:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(path, f"its job {len(jobs) + 1} from byte {chunk.first} on") from None
    return jobs


def _values(lines: list[bytes]) -> Iterable[Any]:
    """What JSON lines hold. All at once costs a third; a bad line is met when its turn comes."""
    try:
        values: list[Any] = json.loads(b"[%b]" % b",".join(lines))
        if len(values) == len(lines):
            return values
    except (ValueError, RecursionError):
        pass
    return map(json.loads, lines)


def read_ids(path: str) -> Iterator[str]:
    """All ids of a segment file, in order. Raises UsageError when a line holds none."""
    with open(path, "rb") as file:
        file.readline()
        for number, line in enumerate(file, 2):
            # The id comes first; this is several times cheaper than parsing the line.
            found = _LINE.match(line)
            if found is None:
                raise _damaged(path, f"its line {number}")
            yield found[1].decode("ascii")
