"""Segments and chunks: the jobs to do, split into the units that workers claim.

A segment is an immutable file: a header line `{"segment", "jobs", "chunk"}` and one line a job. A chunk is a
run of its jobs. Its token is an empty file named `<k>.<first>.<jobs>`: the k-th chunk of the segment, beginning at
byte `first`, `jobs` lines long. Tokens carry no data and can be made again from the segment.
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
    """A run of jobs in a segment: what a worker claims at once."""

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
        """Parse a token's name (with its segment in front unless given); None when it is not one.

        Numbers in another notation (`+1`, `01`, `1_0`) are refused: the name made from them would name another file.
        """
        try:
            numbers = [int(part) for part in name.split(".")]
        except ValueError:
            return None
        if segment is not None:
            numbers.insert(0, segment)
        if len(numbers) != 4 or min(numbers) < 0:
            return None
        chunk = cls(*numbers)
        return chunk if name == (chunk.name if segment is None else chunk.token) else None


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first line of a segment: its number, how many jobs follow, how many a chunk holds."""

    segment: int
    jobs: int
    chunk: int

    @property
    def chunks(self) -> int:
        """How many chunks it is split into."""
        return -(-self.jobs // self.chunk)


def chunk_size(jobs: int, cores: int) -> int:
    """How many jobs a chunk holds: few enough that all workers share even a small batch to its end."""
    return max(16, min(256, jobs // (8 * max(1, cores))))


def encode_job(video_id: str, columns: dict[str, Any]) -> str:
    """A job's line, without its end."""
    if columns:
        return json.dumps({"id": video_id, "input": columns}, ensure_ascii=False)
    return f'{{"id": "{video_id}"}}'


def encode_segment(number: int, jobs: Iterable[tuple[str, dict[str, Any]]], count: int, chunk: int) -> bytes:
    """A segment file's bytes. `jobs` are (id, input) pairs, `count` of them."""
    lines = [encode_job(video_id, columns) for video_id, columns in jobs]
    lines.append("")
    return with_header(number, "\n".join(lines).encode("utf-8", "replace"), count, chunk)


def with_header(number: int, body: bytes, count: int, chunk: int) -> bytes:
    """A segment file's bytes, from its `count` lines."""
    head = {"segment": number, "jobs": count, "chunk": chunk}
    head["crc32"] = zlib.crc32(body, _header_checksum(number, count, chunk))
    return json.dumps(head).encode() + b"\n" + body


def _header_checksum(*numbers: int) -> int:
    return zlib.crc32(" ".join(map(str, numbers)).encode())


def read_header(path: str) -> SegmentHeader:
    """A segment's header. Raises OSError, ValueError, KeyError, TypeError when there is none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # unbuffered: every count reads every segment's header
    try:
        line = os.read(fd, 4096).partition(b"\n")[0]
    finally:
        os.close(fd)
    return _header(line)[0]


def read_body(path: str) -> bytes:
    """A segment's lines without its header. Raises UsageError when they are not what was written, OSError."""
    check_intact(path)
    with open(path, "rb") as file:
        file.readline()
        return file.read()


def _header(line: bytes) -> tuple[SegmentHeader, int | None]:
    """(header, its checksum or None). Raises ValueError, KeyError, TypeError when the line is no header."""
    try:
        value = json.loads(line)
        header = SegmentHeader(int(value["segment"]), int(value["jobs"]), int(value["chunk"]))
        checksum = value.get("crc32")
    except (RecursionError, OverflowError, AttributeError) as exc:
        raise ValueError(str(exc)) from None
    if min(header.segment, header.jobs) < 0 or header.chunk < 1:
        raise ValueError("a number out of range")
    return header, checksum


def is_intact(path: str) -> bool:
    """Whether a segment is what was written, by the checksum in its header; reads all of it (1 GB/s).

    Raises OSError when it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            head, wanted = _header(file.readline(4096))
        except (ValueError, KeyError, TypeError):
            return False
        total = _header_checksum(head.segment, head.jobs, head.chunk)
        while piece := file.read(1 << 20):
            total = zlib.crc32(piece, total)
        return total == wanted


def check_intact(path: str) -> None:
    """Raise UsageError when a segment is not what was written."""
    if not is_intact(path):
        raise UsageError(
            f"{path} is damaged: it is not what was written. Bring it back from a copy; `engine verify` says more"
        )


def _damaged(path: str, what: str) -> UsageError:
    return UsageError(
        f"{path} is damaged: {what} cannot be read. Segments are never edited: bring back a copy, "
        "or begin another queue"
    )


def split_chunks(path: str) -> Iterator[Chunk]:
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

    Raises UsageError when the file does not hold what the token says, as in a queue that was edited by hand.
    """
    with open(path, "rb") as file:
        file.seek(chunk.first)
        lines = list(itertools.islice(file, chunk.jobs))
    jobs: list[Job] = []
    try:
        for line in _values(lines):
            columns = line.get("input") or {}
            # The id becomes a path: it must not lead anywhere else, whatever wrote this line.
            if not _ID.fullmatch(line["id"]) or not isinstance(columns, dict):
                raise ValueError
            jobs.append(Job(line["id"], columns))
        if len(jobs) < chunk.jobs:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(path, f"its job {len(jobs) + 1} from byte {chunk.first} on") from None
    return jobs


def _values(lines: list[bytes]) -> Iterable[Any]:
    """The values of JSON lines. Parsing all at once costs a third; a bad line raises when its turn comes."""
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
            # The id comes first, so matching is enough; parsing the line costs several times as much.
            found = _LINE.match(line)
            if found is None:
                raise _damaged(path, f"its line {number}")
            yield found[1].decode("ascii")
