"""What must hold after a power cut: what the disk had promised, and what the next run made of it, by the files."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import recount
from power_resume import Resumed

from engine import verify

Files = Mapping[str, bytes | None]


@dataclass
class Promised:
    """What a disk vouches for.

    `ids` of the jobs in published segments; `rows`: lines of the manifest that its checkpoint counts; `settled`:
    jobs whose `final` a `synced` covers, or whose chunk is filed. None of them is ever fetched again.
    """

    ids: set[str] = field(default_factory=set)
    rows: set[bytes] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)

    def __or__(self, other: Promised) -> Promised:
        return Promised(self.ids | other.ids, self.rows | other.rows, self.settled | other.settled)


def promised(files: Files) -> Promised:
    """What these files promise. What cannot be read promises nothing."""
    found = Promised()
    for path, data in files.items():
        place, _, rest = path.removeprefix("queue/").partition("/")
        if place == "segments" and rest[:6].isdigit() and f"queue/pending/{rest[:6]}" in files:
            found.ids |= _ids((data or b"").splitlines()[1:])
        elif place == "journal" and data is not None:
            found.settled |= _synced(data)
        elif place == "filed" and rest.count("/"):
            found.settled |= _chunk(files, rest)
    try:
        checkpoint = json.loads(files.get("queue/checkpoint.json") or b"")
        manifest = (files.get("queue/manifest.jsonl") or b"")[: checkpoint["length"]]
    except (ValueError, KeyError):
        return found
    found.rows |= set(manifest.splitlines())
    return found


def _synced(journal: bytes) -> set[str]:
    """The jobs whose last line says that they are final, as far as the last `synced` vouches for."""
    ends: dict[str, int] = {}
    vouched = at = 0
    for line in journal.splitlines(keepends=True):
        at += len(line)
        text, _, digits = line.rstrip(b"\n").rpartition(b" ")
        try:
            if not line.endswith(b"\n") or int(digits, 16) != zlib.crc32(text):
                continue
        except ValueError:
            continue
        verb, _, value = text.partition(b" ")
        body = json.loads(value)
        if verb == b"synced":
            vouched = max(vouched, body["end"])
        elif verb == b"final":
            ends.setdefault(body["video_id"], at)
        elif verb == b"reopen":
            ends.pop(body["job"], None)
    return {video_id for video_id, end in ends.items() if end <= vouched}


def _chunk(files: Files, name: str) -> set[str]:
    """The jobs of a filed token, by its segment."""
    segment, _, token = name.partition("/")
    _, first, jobs = map(int, token.split("."))
    data = files.get(f"queue/segments/{segment}.jsonl") or b""
    return _ids(data[first:].splitlines()[:jobs])


def _ids(lines: Iterable[bytes]) -> set[str]:
    """The ids of a segment's lines, as far as they can be read."""
    found = set()
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found.add(json.loads(line)["id"])
    return found


def check(root: Path, ids: list[str], before: Promised, after: Resumed) -> None:
    """I1, I2, and every promise kept. Raises AssertionError with what is wrong."""
    queue, out = root / "queue", root / "out"
    assert after.code in (0, 3), f"exit {after.code}: {after.said}"
    assert "Traceback" not in after.said, after.said
    lost = before.ids - set(recount.seeded(queue))
    assert not lost, f"published jobs are gone: {sorted(lost)[:5]}"
    rows = recount.by_id(recount.manifest(queue))
    assert set(rows) == set(ids), f"without a row: {sorted(set(ids) - set(rows))[:5]}"
    recount.check_files(queue, out)
    gone = before.rows - set((queue / "manifest.jsonl").read_bytes().splitlines())
    assert not gone, f"{len(gone)} rows that counted are gone or others, as {sorted(gone)[0][:60]!r}"
    again = before.settled & set(after.fetched)
    assert not again, f"settled before the cut and fetched again: {sorted(again)[:5]}"
    twice = [video_id for video_id, count in after.fetched.items() if count > 1]
    assert not twice, f"fetched twice by one run: {twice[:5]}"
    left = recount.leftovers(queue, out)
    assert not left, f"left behind: {left}"
    problems = verify.audit(str(queue)).problems
    assert problems == [], problems
