"""What the files of a queue say, read without any of the engine's code."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MARKERS = ".engine-batches"  # in the output directory: one file a queue
_ORPHAN = re.compile(r"shards/\d{6,}\.zst")
SLOT_BYTES = 64  # what one thread has in `inflight`


def manifest(queue: Path) -> list[dict[str, Any]]:
    """The rows of manifest.jsonl; every line whole."""
    data = (queue / "manifest.jsonl").read_bytes() if (queue / "manifest.jsonl").exists() else b""
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows by id, each of which has one."""
    twice = [
        name for name, count in collections.Counter(row["video_id"] for row in rows).items() if count > 1
    ]
    assert not twice, f"rows for the same job: {twice[:5]}"
    return {row["video_id"]: row for row in rows}


def seeded(queue: Path) -> list[str]:
    """The ids in the segments, in order; each once."""
    found = []
    for path in sorted((queue / "segments").glob("*.jsonl")):
        first, *jobs = map(json.loads, path.read_bytes().splitlines())
        assert first["jobs"] == len(jobs)
        found += [job["id"] for job in jobs]
    assert len(found) == len(set(found))
    return found


def journal_lines(queue: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(verb, value) of every whole line of every journal."""
    for path in sorted((queue / "journal").glob("*/*.jsonl")):
        for line in path.read_bytes().splitlines():
            text, _, digits = line.rpartition(b" ")
            if digits == b"%08x" % zlib.crc32(text):
                verb, _, value = text.partition(b" ")
                yield verb.decode(), json.loads(value)


def folded(queue: Path) -> dict[str, dict[str, Any]]:
    """The rows of the jobs that are final by the journals, by id: the last final behind the last reopen."""
    rows: dict[str, dict[str, Any]] = {}
    for verb, value in journal_lines(queue):
        if verb == "final":
            rows[value["video_id"]] = value
        elif verb == "reopen":
            rows.pop(value["job"], None)
    return rows


def events(queue: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (queue / "events.jsonl").read_bytes().splitlines()]


def counts(queue: Path) -> dict[str, int]:
    """How many jobs are ok, absent, failed, and in all, of a queue where nobody is at work."""
    return tallied(queue, manifest(queue))


def tallied(queue: Path, rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """The counts that these rows make, and how many jobs there are in all."""
    found = collections.Counter(row["status"] for row in rows)
    return {"total": len(seeded(queue)), **{name: found[name] for name in ("ok", "absent", "failed")}}


def busy(worker: Path) -> list[str]:
    """The jobs that a worker's threads are at, by its `inflight`."""
    try:
        data = (worker / "inflight").read_bytes()
    except OSError:
        return []
    slots = (data[at : at + SLOT_BYTES].split() for at in range(0, len(data), SLOT_BYTES))
    return [slot[1].decode() for slot in slots if len(slot) == 2]


def workers(queue: Path) -> dict[int, Path]:
    """The worker directories by the pid in their lock file."""
    found = {}
    for path in (queue / "workers").glob("*"):
        try:
            found[int(json.loads((path / "lock").read_bytes())["pid"])] = path
        except (OSError, ValueError, KeyError):
            continue  # on its way out
    return found


def check_files(queue: Path, out: Path) -> None:
    """The output directory holds exactly what the `ok` rows name, byte for byte, and markers.

    Of shards there may be more, and more in them: what no row names counts as absent.
    """
    named = set()
    for row in manifest(queue):
        assert (row["status"] == "ok") == bool(row["files"]), row
        assert set(row["files"]) == set(row["sha256"])
        for what, name in row["files"].items():
            data = content(out, name)
            assert hashlib.sha256(data).hexdigest() == row["sha256"][what], name
            named |= {name} if "#" not in name else {name.partition("#")[0], "shards/index"}
    there = {
        os.path.relpath(os.path.join(directory, name), out)
        for directory, _, names in os.walk(out)
        for name in names
        if os.path.basename(directory) != MARKERS
    }
    there -= {name for name in there if _ORPHAN.fullmatch(name)} - named  # of a chunk whose worker was killed
    assert there == named, sorted(there ^ named)[:10]


def content(out: Path, place: str) -> bytes:
    """What a row names: a file, or a frame of a shard, which zstd unpacks. Raises OSError, and ZstdError."""
    name, _, frame = place.partition("#")
    data = (out / name).read_bytes()
    if not frame:
        return data
    offset, length = map(int, frame.split("+"))
    return bytes(zstd.decompress(data[offset : offset + length]))


def leftovers(queue: Path, out: Path) -> list[str]:
    """What only a run at work or one that was killed may have: claims, temporary files, unfiled chunks."""
    found = [str(path) for place in ("workers", "tmp") for path in (queue / place).iterdir()]
    found += [str(path) for path in (queue / "done").glob("*/*")]
    found += [str(path) for path in out.rglob("*") if path.suffix == ".tmp" or ".engine-tmp" in path.name]
    return found + [str(path) for path in queue.rglob("*.tmp")]
