"""Segments and chunks: what is to be done, cut into the units of claiming.

A segment is an immutable file: a header line `{"segment", "jobs", "chunk"}` and one line a job. A chunk is a
run of its jobs. Its token is an empty file whose name `<k>.<first>.<jobs>` says which: the k-th chunk of the
segment, beginning at byte `first`, `jobs` lines long. Tokens carry no data and can be made again from headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.model import Job

SEGMENT_JOBS = 100_000


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
        """A token's name read back (with its segment in front unless given); None when it is not one."""
        try:
            numbers = [int(part) for part in name.split(".")]
        except ValueError:
            return None
        if segment is not None:
            numbers.insert(0, segment)
        return cls(*numbers) if len(numbers) == 4 and min(numbers) >= 0 else None


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a segment: its number, how many jobs follow, how many a chunk holds."""

    segment: int
    jobs: int
    chunk: int


def chunk_size(jobs: int, cores: int) -> int:
    """How many jobs a chunk holds: small enough that all workers share a small batch to its end."""
    return max(16, min(256, jobs // (8 * max(1, cores))))


def encode_segment(number: int, jobs: Iterable[tuple[str, dict[str, Any]]], count: int, chunk: int) -> bytes:
    """A segment file's bytes. `jobs` are (id, input) pairs, `count` of them."""
    head = json.dumps({"segment": number, "jobs": count, "chunk": chunk})
    lines = [head]
    for video_id, columns in jobs:
        if columns:
            lines.append(json.dumps({"id": video_id, "input": columns}, ensure_ascii=False))
        else:
            lines.append(f'{{"id": "{video_id}"}}')
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def read_header(path: str) -> Header:
    """A segment's header. Raises OSError, ValueError or KeyError when there is none."""
    with open(path, "rb") as file:
        head = json.loads(file.readline(4096))
    return Header(int(head["segment"]), int(head["jobs"]), int(head["chunk"]))


def cut(path: str) -> Iterator[Chunk]:
    """All chunks of a segment file, in order."""
    with open(path, "rb") as file:
        head = json.loads(file.readline(4096))
        segment, size = int(head["segment"]), int(head["chunk"])
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
    jobs = []
    with open(path, "rb") as file:
        file.seek(chunk.first)
        try:
            for _ in range(chunk.jobs):
                line = json.loads(file.readline())
                jobs.append(Job(line["id"], line.get("input") or {}))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(
                f"{path} is damaged: its job {len(jobs) + 1} from byte {chunk.first} on cannot be read. Segments are "
                "never edited: bring back a copy, or begin another queue"
            ) from None
    return jobs


def read_ids(path: str) -> Iterator[str]:
    """All ids of a segment file, in order."""
    with open(path, "rb") as file:
        file.readline()
        for line in file:
            # The id comes first and has 11 characters; this is 10 times cheaper than parsing the line.
            yield line[8:19].decode("ascii")
