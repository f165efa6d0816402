"""Where everything lies in a queue directory, and how a queue is made and opened.

Which directory is a queue or may become one is for `admission` to say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import NoQueueError, UsageError
from engine.queue.admission import Place, State, format_text, look
from engine.queue.names import FORMAT, is_worker
from engine.queue.segments import Chunk, Header, read_header
from engine.storage import disk
from engine.storage.checksum import crc32_of, sealed, unsealed

_LOOKS = 20  # so often a listing is taken again that changed under our eyes


@dataclass(frozen=True, slots=True)
class Gathering:
    """Segments that are becoming one (`gather.json`). `counts`: that one is there whole, and they no longer count.
    `filed`: all their chunks are filed; else nothing has happened to any of them."""

    into: int
    of: tuple[int, ...]
    filed: bool
    counts: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """The paths of one queue directory."""

    root: str

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    # files of the whole queue
    @property
    def manifest(self) -> str:
        return self.path("manifest.jsonl")

    @property
    def checkpoint(self) -> str:
        return self.path("checkpoint.json")

    @property
    def status(self) -> str:
        return self.path("status.json")

    @property
    def events(self) -> str:
        return self.path("events.jsonl")

    @property
    def rejects(self) -> str:
        return self.path("rejects.csv")

    @property
    def known(self) -> str:
        return self.path("known.u64")

    @property
    def budget(self) -> str:
        return self.path("budget")

    @property
    def batch(self) -> str:
        return self.path("batch.json")

    @property
    def control(self) -> str:
        return self.path("control.json")

    @property
    def asked(self) -> str:
        return self.path("asked")

    @property
    def live(self) -> str:
        return self.path("live.json")

    @property
    def retry(self) -> str:
        return self.path("retry.json")

    @property
    def gathering(self) -> str:
        return self.path("gather.json")

    @property
    def run_lock(self) -> str:
        return self.path("run.lock")

    @property
    def seed_lock(self) -> str:
        return self.path("seed.lock")

    @property
    def monitor_lock(self) -> str:
        return self.path("monitor.lock")

    @property
    def lister_lock(self) -> str:
        return self.path("lister.lock")

    # directories
    @property
    def tmp(self) -> str:
        return self.path("tmp")

    @property
    def workers(self) -> str:
        return self.path("workers")

    @property
    def deferred(self) -> str:
        return self.path("deferred")

    @property
    def listings(self) -> str:
        return self.path("listings")

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

    # what is there
    def segments(self) -> list[int]:
        """The published segments: those whose directory of tokens was renamed into place.

        While small ones are gathered into one (`engine.queue.gathering`): either those or that one, never both,
        whoever looks and holds what lock.
        """
        for _ in range(_LOOKS):
            under_way = self.gathered()
            found = numbered(self.path("pending"))
            if self.gathered() == under_way:
                break
        if under_way is None:
            return found
        if under_way.counts:
            return sorted({*found, under_way.into}.difference(under_way.of))
        return [number for number in found if number != under_way.into]

    def gathered(self) -> Gathering | None:
        """The gathering of segments under way, or cut off; None without one, or when it cannot be read."""
        try:
            with open(self.gathering, "rb") as file:
                value = unsealed(json.load(file))
            into, of = int(value["into"]), tuple(map(int, value["of"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return None
        return Gathering(into, of, value.get("filed") is True, os.path.exists(self.segment(into)))

    def header(self, segment: int) -> Header:
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

    def headers(self) -> Iterator[Header]:
        for number in self.segments():
            yield self.header(number)

    def total(self) -> int:
        """How many jobs were seeded. Raises UsageError when a segment cannot be read."""
        for attempt in range(_LOOKS):
            before = self.segments()
            try:
                total = sum(self.header(number).jobs for number in before)
            except UsageError:
                if attempt + 1 == _LOOKS or self.segments() == before:
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
        if batch.pop("crc32", (total := crc32_of(batch))) != total:
            raise UsageError(
                f"{self.batch} is not what was written: it is damaged, or was edited. Bring it back from a copy, or, "
                "if it is as you want it, take the line with `crc32` out of it"
            )
        return batch

    def write_batch(self, batch: dict[str, Any]) -> None:
        disk.publish(self.batch, batch_bytes(batch), tmp_dir=self.tmp)
        disk.sync_dir(self.root)


def batch_bytes(batch: dict[str, Any]) -> bytes:
    return (json.dumps(sealed(batch), indent=1) + "\n").encode()


def numbered(path: str) -> list[int]:
    """The segments whose numbers name a directory's entries, in order; nothing when it is missing."""
    try:
        return sorted(int(name) for name in os.listdir(path) if is_number(name))
    except FileNotFoundError:
        return []


def is_number(name: str) -> bool:
    """Whether a name is a segment's number as this engine writes it: six digits, more when they are needed."""
    return name.isascii() and name.isdigit() and len(name) < 18 and name == f"{int(name):06d}"


def chunks_in(path: str, segment: int | None = None) -> list[Chunk]:
    """The chunks whose tokens lie in a directory, in order; nothing when it is missing."""
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
    """The names of the files in a directory: a directory or a link that is called like a token is none."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def worker_ids(queue: Queue) -> list[str]:
    """The ids of the workers that have a directory; a file or directory of another name is nobody's."""
    try:
        return sorted(name for name in os.listdir(queue.workers) if is_worker(name))
    except FileNotFoundError:
        return []


def exists(root: str) -> bool:
    """Whether there is a queue in this directory, be it of a newer format or damaged."""
    return look(root).is_queue


def open_queue(root: str) -> Queue:
    """The queue in this directory.

    Raises NoQueueError when there is none, UsageError when it is of a newer format or cannot be read.
    """
    place = look(root)
    if place.is_queue or place.state is State.UNREADABLE:
        check_format(root, place)
        return Queue(root)
    raise NoQueueError(no_queue(root, place))


def no_queue(root: str, place: Place | None = None) -> str:
    """The sentence about a directory that is no queue."""
    place = place or look(root)
    if place.state is State.FOREIGN:
        return f"no queue in {root}, and none can be made there: {place.why}"
    why = ": the making of one was cut off" if place.state is State.HALF else ""
    return f"no queue in {root}{why}: make one with `engine seed INPUT -q {root}`"


def refuse_foreign(root: str) -> None:
    """Raise UsageError when this directory is no queue and may not become one."""
    place = look(root)
    if place.state is State.FOREIGN:
        raise UsageError(
            f"no queue can be made in {root}: {place.why}. Give a new or an empty directory with -q"
        )


def check_format(root: str, place: Place) -> None:
    """Raise UsageError for a queue that this engine cannot go on with."""
    if place.state is State.UNREADABLE:
        raise UsageError(f"the queue in {root} cannot be read: {place.why}")
    if place.state is State.DAMAGED:
        raise UsageError(f"{os.path.join(root, 'FORMAT')} is damaged: it should hold a number")
    if place.state is State.NEWER:
        raise UsageError(
            f"the queue in {root} has format {format_text(root)}; this engine knows {FORMAT}: use a newer engine"
        )
