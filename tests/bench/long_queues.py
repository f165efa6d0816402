"""Finished queues of any length, for what reads a manifest: written as fast as the disk takes it, in little memory.

A queue has what the page and `engine status` read: manifest, checkpoint, its segment's header, a run's events. It has
neither jobs nor transcripts: no run can go on with it.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rows import full_row

from engine.model import Kind
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.queue.manifest import Checkpoint, Counts, write_checkpoint
from engine.queue.segments import with_header
from engine.storage.timestamps import utc

EVENING_S = 1_790_000_000  # when the first row was made
PER_S = 4
BLOCK = 20_000  # rows that are made at once, all blocks alike but for ids and times
OK_SHARE = 0.85
RARE = Kind.POISON  # one row in a block: what matches it lies far apart
SUBJECTS = ("bridges", "winter bread", "a quiet engine", "ночь", "سفر إلى البحر", "copper", "salt & iron")
COMMON = Kind.NETWORK  # a page of it in a thousand rows already
_KINDS = (*(kind for kind in Kind if kind is not RARE), *[COMMON] * 10)
_ID, _AT = "ID-OF-VIDEO", "AT-THIS-TIME-AND-DAY"


def make(root: Path, rows: int) -> Queue:
    """A finished queue with so many rows: 0.75 GB for a million."""
    queue = make_queue(str(root))
    Path(queue.segment(0)).write_bytes(with_header(0, b"", rows, 256))
    for directory in (queue.pending(0), queue.filed(0)):
        Path(directory).mkdir()
    length = crc32 = 0
    with open(queue.manifest, "wb") as file:
        for block in _blocks(rows):
            file.write(block)
            length, crc32 = length + len(block), zlib.crc32(block, crc32)
    write_checkpoint(queue, Checkpoint(length, _counts(rows), rows_crc32=crc32))
    ended_s = EVENING_S + rows / PER_S
    events = [(EVENING_S, {"event": "start", "egresses": 1}), (ended_s, {"event": "stop", "exit_code": 3})]
    lines = [json.dumps({"at": utc(at, ms=True), **event}) for at, event in events]
    Path(queue.events).write_text("\n".join([*lines, ""]))
    return queue


def _kinds() -> list[Kind | None]:
    """What becomes of the rows of a block; None: ok."""
    dice = random.Random(1)
    found = [None if dice.random() < OK_SHARE else dice.choice(_KINDS) for _ in range(BLOCK)]
    found[7] = RARE
    return found


def _counts(rows: int) -> Counts:
    counts = Counts()
    for at, kind in enumerate(_kinds()):
        row = {"status": "ok" if kind is None else str(kind.status), "kind": kind and str(kind)}
        counts.add(row, rows // BLOCK + (at < rows % BLOCK))
    return counts


def _blocks(rows: int) -> Iterator[bytes]:
    """The lines of the manifest."""
    lines = [_line(at, kind).encode() for at, kind in enumerate(_kinds())]
    ends = np.cumsum([len(line) for line in lines])
    whole = np.frombuffer(b"".join(lines), np.uint8)
    places = {mark: _places(whole.tobytes(), mark, ends) for mark in (_ID, _AT)}
    for first in range(0, rows, BLOCK):
        block, n = whole.copy(), np.arange(first, first + BLOCK)
        seconds = (EVENING_S + n // PER_S).astype("datetime64[s]")
        texts = {
            _ID: np.char.zfill(n.astype("S11"), 11),
            _AT: np.char.add(np.datetime_as_string(seconds), "Z"),
        }
        for mark, (at, row) in places.items():
            letters = texts[mark].astype(f"S{len(mark)}").view(np.uint8).reshape(BLOCK, len(mark))
            block[at[:, None] + np.arange(len(mark))] = letters[row]
        yield block[: ends[min(BLOCK, rows - first) - 1]].tobytes()


def _places(text: bytes, mark: str, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a mark stands, and in which rows."""
    at = np.array([found.start() for found in re.finditer(mark.encode(), text)])
    return at, np.searchsorted(ends, at, side="right")


def _line(at: int, kind: Kind | None) -> str:
    """A row of this kind, with marks for its id and time."""
    title = f"{SUBJECTS[at % 7]} and {SUBJECTS[at // 7 % 7]}, part {at}"
    row = full_row(_ID) | {"title": title, "finished_at": _AT}
    if kind is not None:
        row |= {"status": str(kind.status), "kind": str(kind), "message": f"what is said of {kind}"}
        row |= {"files": {}, "sha256": {}, "language": None, "is_generated": None}
    return json.dumps(row, ensure_ascii=False) + "\n"
