"""Where everything lies in a queue directory, and how a queue is opened.

Which directory is a queue or may become one is decided in `admission`; `making` makes one.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any

from engine.errors import NoQueueError, UsageError
from engine.queue import checked_json
from engine.queue.admission import DirectoryState, Inspection, format_text, inspect
from engine.queue.names import FORMAT, is_worker
from engine.queue.segments import Chunk, SegmentHeader, read_header, read_jobs
from engine.storage import disk

_RETRIES = 20  # how often a directory that changes meanwhile is listed again
_MAX_PATH_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Gathering:
    """Segments that are being merged into one (`gather.json`).

    `counts`: the new segment is complete, and the old ones no longer count. `filed`: all their chunks are filed;
    otherwise no chunk has been touched.
    """

    into: int
    of: tuple[int, ...]
    filed: bool
    counts: bool


class _Path:
    """The path of one file or directory of the queue, as an attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, queue: Queue, owner: type[Queue]) -> str:
        return os.path.join(queue.root, self._name)


class _BudgetPath(_Path):
    """The budget file: the queue's own, or the one that its last run shared with other queues (`--budget`)."""

    def __get__(self, queue: Queue, owner: type[Queue]) -> str:
        noted = disk.read_small(queue.shared_budget, _MAX_PATH_BYTES)
        path = os.fsdecode(noted).rstrip("\n") if noted else ""
        return path if os.path.isabs(path) and "\0" not in path else super().__get__(queue, owner)


@dataclass(frozen=True, slots=True)
class Queue:
    """The paths of one queue directory."""

    root: str

    manifest = _Path("manifest.jsonl")
    checkpoint = _Path("checkpoint.json")
    status = _Path("status.json")
    events = _Path("events.jsonl")
    rejects = _Path("rejects.csv")
    known = _Path("known.u64")
    budget = _BudgetPath("budget")
    shared_budget = _Path("budget.path")
    batch = _Path("batch.json")
    control = _Path("control.json")
    asked = _Path("asked")
    live = _Path("live.json")
    retry = _Path("retry.json")
    gathering = _Path("gather.json")
    ways = _Path("ways.json")
    ways_lock = _Path("ways.lock")
    run_lock = _Path("run.lock")
    seed_lock = _Path("seed.lock")
    monitor_lock = _Path("monitor.lock")
    lister_lock = _Path("lister.lock")
    tmp = _Path("tmp")
    workers = _Path("workers")
    deferred = _Path("deferred")
    listings = _Path("listings")

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def listing(self, number: int) -> str:
        return self.path("listings", f"{number:06d}.json")

    def pending(self, segment: int) -> str:
        return self.path("pending", f"{segment:06d}")

    def done(self, segment: int) -> str:
        return self.path("done", f"{segment:06d}")

    def filed(self, segment: int) -> str:
        return self.path("filed", f"{segment:06d}")

    def segment(self, segment: int) -> str:
        return self.path("segments", f"{segment:06d}.jsonl")

    def ids(self, segment: int) -> str:
        return self.path("ids", f"{segment:06d}.u64")

    def journal_dir(self, segment: int) -> str:
        return self.path("journal", f"{segment:06d}")

    def journal(self, chunk: Chunk) -> str:
        return self.path("journal", f"{chunk.segment:06d}", f"{chunk.k}.jsonl")

    def pending_token(self, chunk: Chunk) -> str:
        return os.path.join(self.pending(chunk.segment), chunk.token)

    def deferred_token(self, chunk: Chunk, not_before: float = 0.0) -> str:
        """The path of a chunk's token in deferred/, free from `not_before` on (wall clock; 0: at once)."""
        return os.path.join(self.deferred, f"{max(0, math.ceil(not_before)):010d}~{chunk.name}")

    def done_token(self, chunk: Chunk) -> str:
        return os.path.join(self.done(chunk.segment), chunk.token)

    def filed_token(self, chunk: Chunk) -> str:
        return os.path.join(self.filed(chunk.segment), chunk.token)

    def chunk_ids(self, chunk: Chunk) -> set[str]:
        """The video ids of a chunk. Raises UsageError when its segment is damaged."""
        return {job.video_id for job in read_jobs(self.segment(chunk.segment), chunk)}

    def segments(self) -> list[int]:
        """The published segments: those with a directory in pending/.

        While small ones are gathered into one, either those or that one are listed, never both, whatever lock the
        caller holds.
        """
        for _ in range(_RETRIES):
            under_way = self.gathering_under_way()
            found = segment_numbers(self.path("pending"))
            if self.gathering_under_way() == under_way:
                break
        if under_way is None:
            return found
        if under_way.counts:
            return sorted({*found, under_way.into}.difference(under_way.of))
        return [number for number in found if number != under_way.into]

    def gathering_under_way(self) -> Gathering | None:
        """The gathering that is under way or was interrupted; None without one, or when it cannot be read."""
        try:
            value = checked_json.read(self.gathering)
            into, of = int(value["into"]), tuple(map(int, value["of"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None
        return Gathering(into, of, value.get("filed") is True, os.path.exists(self.segment(into)))

    def header(self, segment: int) -> SegmentHeader:
        """A segment's header. Raises UsageError when it cannot be read."""
        path = self.segment(segment)
        try:
            head = read_header(path)
            if head.segment != segment:
                raise ValueError("the number of another segment")
            return head
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise UsageError(
                f"{path} cannot be read ({type(exc).__name__}): bring it back from a copy; "
                "`engine verify` says more"
            ) from None

    def total(self) -> int:
        """How many jobs were seeded. Raises UsageError when a segment cannot be read."""
        for attempt in range(_RETRIES):
            before = self.segments()
            try:
                total = sum(self.header(number).jobs for number in before)
            except UsageError:
                if attempt + 1 == _RETRIES or self.segments() == before:
                    raise
                continue  # it was gathered into another meanwhile
            if self.segments() == before:
                break
        return total

    def read_batch(self) -> dict[str, Any]:
        """`batch.json`: what was frozen and whether this is a rehearsal. Raises UsageError when unreadable."""
        try:
            with open(self.batch, "rb") as file:
                batch = json.load(file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as exc:
            raise UsageError(
                f"{self.batch} cannot be read ({str(exc)[:80]}): bring it back from a copy"
            ) from None
        if not isinstance(batch, dict):
            raise UsageError(f"{self.batch} is damaged: bring it back from a copy")
        total = checked_json.checksum(batch)
        if batch.pop("crc32", total) != total:
            raise UsageError(
                f"{self.batch} is not what was written: it is damaged, or was edited. Bring it back from a copy, or, "
                "if it is as you want it, take the line with `crc32` out of it"
            )
        return batch

    def use_budget(self, path: str | None) -> None:
        """Have this queue's runs draw on the budget file at this absolute path; None: on its own again.

        The caller holds run.lock. Raises OSError.
        """
        if path is None:
            disk.unlink_quietly(self.shared_budget)
        elif self.budget != path:
            disk.publish_durably(self.shared_budget, os.fsencode(path) + b"\n", tmp_dir=self.tmp)

    def write_batch(self, batch: dict[str, Any]) -> None:
        disk.publish_durably(self.batch, checked_json.to_bytes(batch, indent=1), tmp_dir=self.tmp)


def segment_numbers(path: str) -> list[int]:
    """The segments that have an entry in a directory, in order; none when the directory is missing."""
    try:
        return sorted(int(name) for name in os.listdir(path) if is_number(name))
    except FileNotFoundError:
        return []


def is_number(name: str) -> bool:
    """Whether a name is a segment's number as this engine writes it: six digits or more."""
    return name.isascii() and name.isdigit() and len(name) < 18 and name == f"{int(name):06d}"


def chunks_in(path: str, segment: int | None = None) -> list[Chunk]:
    """The chunks whose tokens lie in a directory, in order; none when the directory is missing."""
    return sorted(chunk for name in _files(path) if (chunk := Chunk.parse(name, segment)) is not None)


def deferred_chunks(queue: Queue) -> list[tuple[int, Chunk, str]]:
    """(not before, chunk, file name) of each deferred token, soonest first."""
    found = []
    for name in _files(queue.deferred):
        when, tilde, rest = name.partition("~")
        chunk = Chunk.parse(rest) if tilde else None
        if chunk is not None and when.isascii() and when.isdigit():
            found.append((int(when), chunk, name))
    return sorted(found)


def _files(path: str) -> list[str]:
    """The names of the regular files in a directory: a directory or a link with a token's name is no token."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def worker_ids(queue: Queue) -> list[str]:
    """The ids of the workers that have a directory, in order."""
    try:
        return sorted(name for name in os.listdir(queue.workers) if is_worker(name))
    except FileNotFoundError:
        return []


def exists(root: str) -> bool:
    """Whether there is a queue in this directory, even one of a newer format or a damaged one."""
    return inspect(root).is_queue


def open_queue(root: str) -> Queue:
    """The queue in this directory.

    Raises NoQueueError when there is none, UsageError when it is of a newer format or cannot be read.
    """
    found = inspect(root)
    if found.is_queue or found.state is DirectoryState.UNREADABLE:
        check_format(root, found)
        return Queue(root)
    message, shell = _no_queue(root, found)
    raise NoQueueError(message, path=root, shell=shell)


def no_queue(root: str) -> str:
    """The message about a directory that is no queue, for who types."""
    message, shell = _no_queue(root, inspect(root))
    return f"{message}: {shell}" if shell else message


def _no_queue(root: str, found: Inspection) -> tuple[str, str | None]:
    """What is wrong, and what to type next."""
    if found.state is DirectoryState.FOREIGN:
        return f"no queue in {root}, and none can be made there: {found.why}", None
    why = ": making one was interrupted" if found.state is DirectoryState.HALF else ""
    return f"no queue in {root}{why}", f"make one with `engine seed INPUT -q {root}`"


def refuse_foreign(root: str) -> None:
    """Raise UsageError when this directory is no queue and may not become one."""
    found = inspect(root)
    if found.state is DirectoryState.FOREIGN:
        raise UsageError(
            f"no queue can be made in {root}: {found.why}. Give a new or an empty directory with -q"
        )


def check_format(root: str, found: Inspection) -> None:
    """Raise UsageError for a queue that this engine cannot work on."""
    if found.state is DirectoryState.UNREADABLE:
        raise UsageError(f"the queue in {root} cannot be read: {found.why}")
    if found.state is DirectoryState.DAMAGED:
        raise UsageError(f"{os.path.join(root, 'FORMAT')} is damaged: it should hold a number")
    if found.state is DirectoryState.NEWER:
        raise UsageError(
            f"the queue in {root} has format {format_text(root)}; this engine knows {FORMAT}: use a newer engine"
        )
