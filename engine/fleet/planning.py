"""Dealing jobs to shares. The same id falls into the same share on every machine, so duplicates meet there.

Many ids are first spilled to temporary files by ranges of their checksums. A share is a range, too, so one file after
the other is read and dealt, and memory holds one file's ids.
"""

from __future__ import annotations

import gzip
import json
import secrets
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any

from engine.fleet import names
from engine.fleet.ledger import Generation, Ledger, Replaced
from engine.fleet.names import ShareKey, share_of
from engine.inputs import Line

FILES = 256
_RANGE = (1 << 32) // FILES
_REASONS = 3


@dataclass
class Dealt:
    """What came of the lines that were read."""

    read: int = 0
    added: int = 0
    duplicate: int = 0
    known: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class Spill:
    """Jobs in temporary files, by ranges of their ids' checksums."""

    def __init__(self, stack: ExitStack) -> None:
        self._files: list[IO[bytes]] = [
            stack.enter_context(tempfile.TemporaryFile(buffering=1 << 16)) for _ in range(FILES)
        ]
        self.count = 0

    def add(self, video_id: str, columns: dict[str, Any]) -> None:
        line = {"id": video_id, **({"input": columns} if columns else {})}
        self._files[zlib.crc32(video_id.encode()) // _RANGE].write(json.dumps(line).encode() + b"\n")
        self.count += 1

    def shares(self, count: int) -> Iterator[tuple[int, list[bytes], int]]:
        """(number, a line for each id, how many lines were duplicates) of each share that has jobs, in order."""
        waiting: dict[int, dict[str, bytes]] = {}
        doubled: Counter[int] = Counter()
        for at, file in enumerate(self._files):
            file.seek(0)
            for line in file:
                video_id = json.loads(line)["id"]
                number = share_of(video_id, count)
                jobs = waiting.setdefault(number, {})
                doubled[number] += video_id in jobs
                jobs.setdefault(video_id, line)
            open_yet = ((at + 1) * _RANGE * count) >> 32  # the share that the next file begins with
            for number in sorted(number for number in waiting if number < open_yet or at + 1 == FILES):
                yield number, list(waiting.pop(number).values()), doubled[number]


def spill(
    streams: Iterable[Iterator[Line]], into: Spill, is_known: Callable[[str], bool] | None = None
) -> Dealt:
    """Read all lines. What names no video is counted, by its reasons; what the user has elsewhere is left out."""
    dealt = Dealt()
    for stream in streams:
        for line in stream:
            dealt.read += 1
            if line.video_id is None:
                dealt.rejected += 1
                dealt.reasons[line.reason or "no video"] += 1
            elif is_known is not None and is_known(line.video_id):
                dealt.known += 1
            else:
                into.add(line.video_id, line.input)
    return dealt


def deal(
    ledger: Ledger,
    into: Spill,
    shares: int,
    kind: str,
    elders: list[Generation],
    dealt: Dealt,
    replaced: Replaced | None = None,
) -> Generation:
    """Write the jobs of a new generation and make it count. Ids that an earlier one has are left out, but those of a
    retry. Raises UsageError when another was faster."""
    number, token = len(elders) + 1, secrets.token_hex(8)
    jobs: dict[int, int] = {}
    for share, lines, doubled in into.shares(shares):
        known = set() if kind == "retry" else set(_known(ledger, elders, share))
        new = [line for line in lines if json.loads(line)["id"] not in known] if known else lines
        dealt.duplicate += doubled + len(lines) - len(new)
        if new:
            data = gzip.compress(b"".join(new), 6, mtime=0)
            ledger.put(names.jobs(token, ShareKey(share, number)), data)
            jobs[share] = len(new)
    dealt.added = sum(jobs.values())
    generation = Generation(number, token, kind, jobs, replaced or Replaced())
    if jobs or not elders:
        ledger.publish(generation)
    return generation


def commonest(dealt: Dealt) -> list[str]:
    """Why lines were rejected, in sentences."""
    return [f"{count:,} × {reason}" for reason, count in dealt.reasons.most_common(_REASONS)]


def _known(ledger: Ledger, elders: list[Generation], share: int) -> Iterator[str]:
    for elder in elders:
        if share in elder.jobs:
            yield from (job.video_id for job in ledger.jobs(elder, ShareKey(share, elder.number)))
