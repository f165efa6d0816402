"""The state files, for the audit: checkpoint, status, caches of ids, listings, and their permissions.

Written from queue_dir/README.md alone: nothing is shared with `engine.queue.manifest`, `engine.monitor.status` or
`engine.queue.id_index`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.queue.directory import Queue
from engine.verify.directory_scan import FOREIGN, listing
from engine.verify.findings import Findings
from engine.verify.strays import is_temporary

_ID = re.compile(r"[A-Za-z0-9_-]{11}")  # a damaged segment may hold anything
_ENDS = ("ok", "absent", "failed")
_PARTS = ("pending", "in_flight", "deferred", *_ENDS)
_LISTING = re.compile(r"[0-9]{6,}\.json")
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(slots=True)
class CheckpointFacts:
    """What the checkpoint says: the manifest's length, its rows by status and kind, and the open journals."""

    length: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, tuple[int, int | None]] = field(
        default_factory=dict
    )  # chunk: (offset, CRC-32 up to it)


def read_checkpoint_facts(queue: Queue, findings: Findings) -> CheckpointFacts:
    """The checkpoint; an empty one when it is missing or unreadable."""
    path = queue.checkpoint
    try:
        with open(path, "rb") as file:
            value = json.load(file)
        if not isinstance(value["length"], int):
            raise TypeError
        counts = value["counts"]
        facts = CheckpointFacts(
            value["length"],
            {name: int(counts[name]) for name in _ENDS},
            {str(kind): int(n) for kind, n in counts["kinds"].items() if n},
            {
                str(name): (int(part[0]), part[3] if len(part) > 3 and isinstance(part[3], int) else None)
                for name, part in value["open"].items()
            },
        )
    except FileNotFoundError:
        return CheckpointFacts()
    except _UNREADABLE:
        findings.problem("unreadable file", path, "not a checkpoint; the next run derives it again")
        return CheckpointFacts()
    wanted = value.pop("crc32", None)
    if wanted != zlib.crc32(json.dumps(value).encode()):
        findings.problem("wrong sum", path, "not what its checksum says; the next run derives it again")
    return facts


def count_faults(
    queue: Queue, facts: CheckpointFacts, rows: Counter[str], kinds: Counter[str], findings: Findings
) -> None:
    """Compare the counts of the checkpoint with those of the manifest."""
    for status in _ENDS:
        promised = facts.counts.get(status, 0)
        if promised != rows[status]:
            findings.problem(
                "wrong count",
                queue.checkpoint,
                f"{status}: {promised}, but the manifest holds {rows[status]}",
            )
    if facts.kinds != kinds:
        findings.problem("wrong count", queue.checkpoint, f"kinds: {facts.kinds}, recounted {dict(kinds)}")


def status_faults(queue: Queue, jobs: int, findings: Findings) -> None:
    """Compare the last snapshot with the segments.

    It may lag behind (a killed run, a seeding, a retry), but it cannot have counted more jobs than there are, and its
    parts must add up.
    """
    path = queue.status
    try:
        with open(path, "rb") as file:
            value = json.load(file)
        total, parts = int(value["total"]), [int(value[name]) for name in _PARTS]
    except FileNotFoundError:
        return
    except _UNREADABLE:
        findings.problem("unreadable file", path, "not a snapshot; the next run writes another")
        return
    if total > jobs:
        findings.problem("wrong count", path, f"it has seen {total} jobs, the segments hold {jobs}")
    if total != sum(parts) or min(parts) < 0:
        findings.problem("wrong count", path, f"total {total}, its parts are {parts}")


def cache_fault(queue: Queue, segment: int, ids: Iterable[str]) -> str | None:
    """What is wrong with the cache of a segment's ids; None when nothing is, or when it is missing.

    An id of 11 characters is 66 bits in base64; the last two are 0 in YouTube's ids. Other ids are kept as text.
    """
    path = queue.ids(segment)
    try:
        with open(path, "rb") as file:
            packed = file.read()
        packed = packed[: len(packed) // 8 * 8]  # ignore an incomplete number at the end
        with open(path + ".odd", "rb") as file:
            total, *odd = file.read().decode("ascii").split() or [""]
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return "cannot be read"
    numbers, texts = array("Q"), []
    for video_id in ids:
        data = base64.urlsafe_b64decode(video_id + "=") if _ID.fullmatch(video_id) else b""
        if data and base64.urlsafe_b64encode(data) == f"{video_id}=".encode():
            numbers.append(int.from_bytes(data, "big"))
        else:
            texts.append(video_id)
    if packed != array("Q", sorted(numbers)).tobytes() or odd != texts:
        return "holds other ids than the segment"
    if total != f"{zlib.crc32(' '.join(odd).encode(), zlib.crc32(packed)):08x}":
        return "not what its checksum says"
    return None


def listing_faults(queue: Queue, findings: Findings) -> None:
    """Check the files in listings/; two of the same source are one too many."""
    sources: set[str] = set()
    for name in listing(queue.path("listings")):
        path = queue.path("listings", name)
        if not _LISTING.fullmatch(name):
            findings.note(FOREIGN, not is_temporary(path))
            continue
        try:
            with open(path, "rb") as file:
                value = json.load(file)
            source, state, counts = value["source"], value["state"], (value["found"], value["added"])
            valid = value["number"] == int(name.removesuffix(".json")) and state in ("open", "done", "failed")
            valid = valid and isinstance(source, str) and min(counts) >= 0
        except _UNREADABLE:
            valid = False
        if not valid:
            advice = "not a listing: remove it and name its channel, playlist or search again"
            findings.problem("unreadable file", path, advice)
            continue
        if source in sources:
            findings.problem("duplicate listing", path, source)
        sources.add(source)
        findings.note("source(s) still to be listed; the next run does that", int(state == "open"))


def known_fault(queue: Queue) -> str | None:
    """What is wrong with `known.u64`; None when nothing is, or when it is missing."""
    try:
        with open(queue.path("known.u64"), "rb") as file:
            head, body = file.read(64), file.read()
        name, numbers, others, total = head.decode("ascii").split()
        valid = name == "known" and f"{zlib.crc32(body):08x}" == total
        ends = body[8 * int(numbers) :]
        valid = valid and len(ends) == 12 * int(others) and ends.count(b"\n") == int(others)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        valid = False
    return None if valid else "not what its checksum says: remove it and give --skip-known again"


def readable_by_others(queue: Queue) -> Iterable[str]:
    """Files of the queue that others than their owner may read or write.

    Tokens are left out because they are empty, engine.toml because it is the user's own.
    """
    for directory in (
        "",
        "segments",
        "ids",
        "listings",
        *(f"journal/{name}" for name in listing(queue.path("journal"))),
    ):
        for name in listing(queue.path(directory)):
            try:
                mode = os.lstat(queue.path(directory, name)).st_mode
            except OSError:
                continue
            if stat.S_ISREG(mode) and mode & 0o077 and name != "engine.toml":
                yield queue.path(directory, name)


def frozen_output(batch: dict[str, Any], root: str) -> str | None:
    """The output directory that the first run froze; None before it.

    A relative path starts at the queue's directory `root`; the absolute one beside it is from the time of writing.
    """
    frozen = batch.get("frozen")
    output = frozen.get("output") if isinstance(frozen, dict) else None
    if not isinstance(output, str) or "\0" in output:
        return None
    inside = frozen.get("output_relative") if isinstance(frozen, dict) else None
    if isinstance(inside, str) and inside and "\0" not in inside:
        there = os.path.normpath(os.path.join(os.path.realpath(root), inside))
        if os.path.isdir(there) or not os.path.isdir(output):
            return there
    return output


def frozen_formats(batch: dict[str, Any]) -> tuple[str, ...]:
    """The formats that the first run froze, beside the record."""
    frozen = batch.get("frozen")
    formats = frozen.get("formats") if isinstance(frozen, dict) else None
    return tuple(map(str, formats)) if isinstance(formats, list) else ()


def frozen_store(batch: dict[str, Any]) -> str:
    """How the first run said that records are stored."""
    frozen = batch.get("frozen")
    return str(frozen.get("store") or "files") if isinstance(frozen, dict) else "files"
