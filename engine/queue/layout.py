"""Where everything lies in a queue directory, and how a queue is made and opened."""

from __future__ import annotations

import errno
import json
import os
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine import durable
from engine.errors import NoQueueError, UsageError
from engine.queue.chunk import Chunk, Header, read_header

FORMAT = 1
DIRS = ("segments", "ids", "pending", "deferred", "workers", "done", "filed", "journal", "listings", "tmp")
# flock over these is not what it is on a local disk (see the README's platform line).
_REMOTE = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "beegfs",
        "gfs2",
        "ocfs2",
    }
)


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
        """The published segments: those whose directory of tokens was renamed into place."""
        return numbered(self.path("pending"))

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
        """How many jobs were seeded."""
        return sum(header.jobs for header in self.headers())

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
        if batch.pop("crc32", (total := _sum(batch))) != total:
            raise UsageError(
                f"{self.batch} is not what was written: it is damaged, or was edited. Bring it back from a copy, or, "
                "if it is as you want it, take the line with `crc32` out of it"
            )
        return batch

    def write_batch(self, batch: dict[str, Any]) -> None:
        value = {**batch, "crc32": _sum(batch)}
        durable.publish(self.batch, (json.dumps(value, indent=1) + "\n").encode(), tmp_dir=self.tmp)
        durable.sync_dir(self.root)


def _sum(value: dict[str, Any]) -> int:
    """The CRC-32 of a value's JSON text, its own sum left out."""
    return zlib.crc32(json.dumps({name: its for name, its in value.items() if name != "crc32"}).encode())


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
    try:
        return sorted(os.listdir(queue.workers))
    except FileNotFoundError:
        return []


def exists(root: str) -> bool:
    """Whether there is a queue in this directory."""
    return os.path.isfile(os.path.join(root, "FORMAT"))


def open_queue(root: str) -> Queue:
    """The queue in this directory.

    Raises NoQueueError when there is none, UsageError when it is of a newer format or cannot be read.
    """
    queue = Queue(root)
    try:
        with open(queue.path("FORMAT"), encoding="ascii", errors="replace") as file:
            text = file.read(32).strip()
    except (FileNotFoundError, NotADirectoryError):
        raise NoQueueError(f"no queue in {root}: make one with `engine seed INPUT -q {root}`") from None
    except OSError as exc:
        raise UsageError(f"the queue in {root} cannot be read: {exc.strerror}") from None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{queue.path('FORMAT')} is damaged: it should hold a number")
    if int(text) > FORMAT:
        raise UsageError(
            f"the queue in {root} has format {text}; this engine knows {FORMAT}: use a newer engine"
        )
    return queue


def make_queue(root: str, *, rehearsal: bool = False) -> Queue:
    """The queue in this directory, made if there is none.

    Raises UsageError when it cannot be written or the directory holds something else.
    """
    if exists(root):
        queue = open_queue(root)
        if not os.access(root, os.W_OK):
            raise UsageError(f"the queue in {root} cannot be written: permission denied")
        for name in DIRS:  # somebody may have removed one, or a copy left the empty ones behind
            durable.ensure_dir(queue.path(name))
        return queue
    queue = Queue(root)
    try:
        durable.ensure_dirs(root)
        for name in DIRS:
            durable.ensure_dir(queue.path(name))
        if not os.path.exists(queue.batch):
            created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            queue.write_batch(
                {
                    "schema_version": 1,
                    "id": secrets.token_hex(16),
                    "created_at": created,
                    "rehearsal": rehearsal,
                    "frozen": None,
                }
            )
        # FORMAT comes last: with it the directory is a queue, without it the next command makes it one.
        durable.publish(queue.path("FORMAT"), f"{FORMAT}\n".encode(), tmp_dir=queue.tmp)
        durable.sync_dir(root)
    except FileExistsError:
        raise UsageError(f"{root} is a file, not a directory: give another place with -q") from None
    except OSError as exc:
        if durable.is_disk_error(exc) and exc.errno != errno.EROFS:
            raise durable.disk_error(exc, f"making a queue in {root}") from exc
        raise UsageError(
            f"no queue can be made in {root}: {exc.strerror}: give another place with -q"
        ) from None
    return queue


def file_system(path: str) -> str:
    """The type of the file system a path lies on (`ext4`, `nfs4`, …), `unknown` when the system does not say."""
    import psutil

    path = os.path.realpath(path)
    best, kind = "", "unknown"
    for part in psutil.disk_partitions(all=True):
        mount = part.mountpoint.rstrip("/") + "/"
        if (path + "/").startswith(mount) and len(mount) > len(best):
            best, kind = mount, part.fstype
    return kind


def refuse_remote(path: str, what: str) -> None:
    """Raise UsageError when a path lies on a remote file system, where locks and fsync promise less."""
    kind = file_system(path)
    if kind.lower() in _REMOTE or (kind.startswith("fuse.") and "ssh" in kind):
        raise UsageError(f"the {what} {path} lies on {kind}, a remote file system: use a local disk")
