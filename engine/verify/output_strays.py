"""Files in the output directory that no `ok` row names: left over from this queue, or somebody else's.

Written from queue_dir/README.md alone: nothing is shared with `engine.output.publisher`, `engine.output.ownership` or
`engine.queue.marker`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from engine.storage.locks import is_locked, living_holder
from engine.verify.directory_scan import MARKERS, OWNER, TMP, OutputTree
from engine.verify.findings import LEFT_OVER, Findings
from engine.verify.shard_audit import SHARDS
from engine.verify.strays import is_temporary_output

_OTHERS = "file(s) in the output directory that are not this engine's"
_OTHER_QUEUES = (
    "file(s) in the output directory under names of this queue's videos that it did not write; they stay"
)


def output_strays(
    output: OutputTree,
    batch: str,
    written: tuple[str, ...],
    jobs: set[str],
    formats: Mapping[str, tuple[str, ...]],
    reopened: Mapping[str, list[dict[str, str]]],
    findings: Findings,
    *,
    stores_shards: bool = False,
) -> None:
    """Report every file in the output directory that should not be there.

    `written`: the formats that this queue writes beside a record. `formats`: those of the jobs that are ok.
    `reopened`: sha256 by format, from rows that were reopened.
    """
    for path, video_id, fmt in output.entries():
        full = os.path.join(output.root, path)
        name = os.path.basename(path)
        if path.startswith(TMP + os.sep):
            if _in_use(output.root, path):
                findings.note(
                    "temporary file(s) of another queue's run, which is at work in the same output directory"
                )
            elif is_temporary_output(path):
                findings.problem("stray temporary file", full, LEFT_OVER)
            else:
                findings.note(_OTHERS)
        elif path.startswith(MARKERS + os.sep):
            _marker(full, name, batch, findings)
        elif path.startswith(SHARDS + os.sep) and stores_shards:
            continue  # `engine.verify.shard_audit` looks at them
        elif is_temporary_output(path):
            findings.problem("stray temporary file", full, LEFT_OVER)
        elif video_id is None:
            findings.note(_OTHERS)
        elif video_id not in jobs:
            findings.note("file(s) in the output directory of videos that are not in this queue")
        elif fmt not in formats.get(video_id, ()):
            hashes = {row.get(fmt) for row in reopened.get(video_id, ())} - {None}
            if _is_ours(output.root, path, video_id, batch if fmt in ("json", *written) else "", hashes):
                findings.problem("stray file", full, "no ok row names it")
            else:
                findings.note(_OTHER_QUEUES)


def _marker(full: str, name: str, batch: str, findings: Findings) -> None:
    if batch and name.startswith(f".{batch}.") and name.endswith(".tmp"):
        findings.problem("stray temporary file", full, LEFT_OVER)
    elif batch and name == batch:
        value = _json(full)
        if value is None or not isinstance(value.get("queue"), str) or not value["queue"]:
            findings.problem("unreadable file", full, "not a marker; the next run writes it again")


def _is_ours(root: str, path: str, video_id: str, batch: str, hashes: set[str | None]) -> bool:
    """Whether this queue wrote a file that no row names."""
    full = os.path.join(root, path)
    if os.path.islink(full) or not os.path.isfile(full):
        return False
    if hashes and _sha256(full) in hashes:
        return True
    record = _json(os.path.join(root, video_id[:2], f"{video_id}.json"))
    return (
        record is not None
        and bool(batch)
        and (record.get("video_id"), record.get("batch")) == (video_id, batch)
    )


def _json(path: str) -> dict[str, Any] | None:
    try:
        if os.path.islink(path) or not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _sha256(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _in_use(root: str, path: str) -> bool:
    """Whether a temporary file belongs to a living worker (of another queue: none of this one lives)."""
    owner = os.path.join(root, TMP, path.split(os.sep)[1], OWNER)
    return living_holder(owner) is not None or is_locked(owner)
