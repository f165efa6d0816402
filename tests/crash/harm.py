"""Damage to the files of a queue at rest: which file, and what is done to it.

`Harm` is a value that hypothesis can draw and shrink. Bytes are flipped, cut, doubled, blanked; lines lost, doubled,
swapped; values in JSON replaced by odd ones (a journal's line then gets a sum that is right); tokens renamed,
doubled, lost, and joined by files with odd names.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

SORTS = (
    "FORMAT", "batch.json", "segments", "ids", "journal", "manifest.jsonl", "checkpoint.json", "status.json",
    "events.jsonl", "rejects.csv", "budget", "captions", "tickets", "control.json", "retry.json", "locks",
    "asked", "live.json", "inflight", "died", "tokens",
)  # fmt: skip
HOWS = (
    "flip", "cut", "empty", "blank", "double", "drop", "junk", "torn", "deep", "nul",
    "line lost", "line doubled", "lines swapped", "value",
)  # fmt: skip
TOKEN_HOWS = ("odd name", "odd file", "lost", "copied", "odd directory")
LINES = (".jsonl", ".csv")
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 5, 1.5, 1e999, -1e999, float("nan"), 10**30, "", "x", "²", "../../../escape", "\x00",
    "\ud800", [], [[]], {}, {"a": {}}, ["x"], [1, 2, 3], "A" * 11, "000000.0.1.2", 2**63,
)  # fmt: skip
ODD_NAMES = (
    "x", "²", "٣", "+0.1.2", "0.1", "00.41.4", " 0.41.4", "0.4_1.4", "-1.2.3", "1.2.3.4", "0.41.4.tmp",
    "0.99999999.4",
    "000000.0.41.4", "9999999999~000000.0.41.4", "²~000000.0.41.4", "00000000000~000000.00.41.4",
    "0000000000~000000.+0.41.4", "~", "\udcff", "9" * 200,
)  # fmt: skip


@dataclass(frozen=True)
class Harm:
    """One damage. `which`, `at` and `long` are taken modulo what there is."""

    sort: str
    how: str
    which: int
    at: int
    long: int
    odd: int

    def __str__(self) -> str:
        return f"{self.sort}: {self.how} ({self.which}, {self.at}, {self.long}, {self.odd})"


def harms() -> st.SearchStrategy[Harm]:
    number = st.integers(0, 1 << 16)
    return st.sampled_from(SORTS).flatmap(
        lambda sort: st.builds(
            Harm,
            st.just(sort),
            st.sampled_from(TOKEN_HOWS if sort == "tokens" else HOWS),
            number,
            number,
            st.integers(1, 1 << 10),
            number,
        )
    )


def files(queue: Path, sort: str) -> list[Path]:
    """The files of a sort, in order."""
    if sort == "tokens":
        return sorted(_tokens(queue))
    if sort == "locks":
        return sorted([*queue.glob("*.lock"), *queue.glob("workers/*/lock")])
    if sort in ("inflight", "died"):
        return sorted(queue.glob(f"workers/*/{sort}"))
    path = queue / sort
    return sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]


def _tokens(queue: Path) -> Iterator[Path]:
    for place in ("pending/*", "deferred", "done/*", "filed/*"):
        yield from (path for path in queue.glob(f"{place}/*") if path.is_file())
    yield from (path for path in queue.glob("workers/*/*") if path.name[0].isdigit())


def inflict(queue: Path, harm: Harm) -> Path | None:
    """Do the damage; the file that was damaged, None when nothing changed by it."""
    there = files(queue, harm.sort)
    if not there:
        return None
    path = there[harm.which % len(there)]
    if harm.sort == "tokens":
        return path if _harm_token(queue, path, harm) else None
    before = path.read_bytes()
    after = _harmed(before, path, harm)
    if after == before:
        return None
    path.write_bytes(after)
    return path


def _harm_token(queue: Path, token: Path, harm: Harm) -> bool:
    name = ODD_NAMES[harm.odd % len(ODD_NAMES)]
    if harm.how == "odd name":
        token.rename(token.with_name(name))
    elif harm.how == "odd file":
        (token.parent / name).touch()
    elif harm.how == "lost":
        token.unlink()
    elif harm.how == "copied":
        others = sorted({item.parent for item in _tokens(queue)})
        other = others[harm.at % len(others)]
        if other == token.parent:
            return False
        shutil.copy(token, other / token.name)
    else:
        places = ("pending", "deferred", "done", "filed", "workers", "journal", "segments")
        path = queue / places[harm.at % len(places)] / name
        if path.exists():
            return False
        if harm.long % 2:
            path.mkdir()
        else:
            path.touch()
    return True


def _harmed(data: bytes, path: Path, harm: Harm) -> bytes:
    how, size = harm.how, max(1, len(data))
    at = harm.at % size
    end = min(len(data), at + 1 + harm.long % size)
    if how == "flip" and data:
        return data[:at] + bytes([data[at] ^ (1 << harm.odd % 8)]) + data[at + 1 :]
    if how == "cut":
        return data[:at]
    if how == "empty":
        return b""
    if how == "blank":
        return data[:at] + bytes(end - at) + data[end:]
    if how == "double":
        return data[:end] + data[at:end] + data[end:]
    if how == "drop":
        return data[:at] + data[end:]
    if how == "junk":
        return data[:at] + b"\xff\x1b[31m\n{\r" + data[end:]
    if how == "torn":
        return data + data[: harm.at % 300]
    if how == "deep":
        return b"[" * 100_000
    if how == "nul":
        return bytes(len(data) or 1)
    if how == "value":
        return _odd_value(data, path, harm)
    lines = data.splitlines(keepends=True)
    if not lines or path.suffix not in LINES:
        return data
    i, j = harm.at % len(lines), harm.long % len(lines)
    if how == "line lost":
        del lines[i]
    elif how == "line doubled":
        lines.insert(j, lines[i])
    else:
        lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def _odd_value(data: bytes, path: Path, harm: Harm) -> bytes:
    """With one value in the JSON replaced; in a journal the line is whole all the same."""
    lines = data.splitlines(keepends=True) if path.suffix == ".jsonl" else [data]
    if not lines:
        return data
    i = harm.at % len(lines)
    line, verb = lines[i], b""
    if "journal" in path.parts:
        verb, _, line = line.rpartition(b" ")[0].partition(b" ")
    try:
        value = json.loads(line)
    except ValueError:
        return data
    spots = list(_spots(value))
    odd = ODD_VALUES[harm.odd % len(ODD_VALUES)]
    if spots:
        holder, key = spots[harm.long % len(spots)]
        holder[key] = odd
    else:
        value = odd
    text = json.dumps(value).encode()
    if verb:
        text = verb + b" " + text
        text += b" %08x" % zlib.crc32(text)
    lines[i] = text + b"\n"
    return b"".join(lines)


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _spots(item)


def journal_lines_harmed(path: Path, before: bytes) -> int:
    """How many whole lines of a journal hold no sum that is right now, and did before (0 when it is shorter)."""
    return max(0, _bad(path.read_bytes()) - _bad(before))


def _bad(data: bytes) -> int:
    bad = 0
    for line in data.split(b"\n")[:-1]:
        text, _, digits = line.rpartition(b" ")
        bad += digits != b"%08x" % zlib.crc32(text)
    return bad


def escaped(root: Path) -> list[str]:
    """What lies where nothing should: beside queue and output directory."""
    return sorted(set(os.listdir(root)) - {"queue", "out"})
