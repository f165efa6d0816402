"""Journals: what happened to a chunk's jobs, one line each, one writer at a time.

A line is `<verb> <json> <crc32 of both, 8 hex digits>`. The verbs:

- `try`     an attempt that did not end the job: `{job, n, kind, message, not_before, requests, bytes, …}`
- `final`   the job's row in the manifest
- `reopen`  the job is open again: `{job, why}`
- `died`    the job was in flight when its process died: `{job, worker, alone, sure}`
- `synced`  the lines before offset `end`, and the output they speak of, are durable: `{end}`

A line that is torn or does not match its sum counts as absent, is counted, and never raises.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.storage import disk

VERBS = frozenset({"try", "final", "reopen", "died", "synced"})
_to_json = json.JSONEncoder(ensure_ascii=False).encode
_SUM = 9  # a space and eight digits
# How `engine.queue.manifest.row` begins. The rest of such a line is what was written, by its sum, and need not be
# read.
_BRIEF = re.compile(
    rb'final \{"video_id": "([\w-]{11})", "status": "([a-z]+)", "kind": (?:null|"([a-z_]+)"), .*\}'
)


class Entry(NamedTuple):
    """A good line: its verb, its value (`brief`: of a row only what tells its sort), the offset just behind it."""

    verb: str
    body: dict[str, Any]
    end: int
    raw: bytes  # the JSON as written: the manifest takes it over byte for byte


def encode(verb: str, body: dict[str, Any]) -> bytes:
    """One line. Lone surrogates in strings become `?`."""
    return line(verb, _to_json(body).encode("utf-8", "replace"))


def line(verb: str, raw: bytes) -> bytes:
    """One line, of JSON as it was written."""
    text = b"%b %b" % (verb.encode("ascii"), raw)
    return b"%b %08x\n" % (text, zlib.crc32(text))


def decode(line: bytes, *, brief: bool = False) -> tuple[str, dict[str, Any], bytes] | None:
    """A line without its newline read back as (verb, value, raw JSON), or None when it is not whole.

    With `brief` a row's value is its `video_id`, `status` and `kind`, which is all that counting needs and comes
    at a tenth of the price.
    """
    text, digits = line[:-_SUM], line[-_SUM + 1 :]
    try:
        if line[-_SUM : -_SUM + 1] != b" " or int(digits, 16) != zlib.crc32(text):
            return None
        if brief and (found := _BRIEF.fullmatch(text)):
            video_id, status, kind = (None if its is None else its.decode() for its in found.groups())
            return "final", {"video_id": video_id, "status": status, "kind": kind}, text[6:]
        verb, _, raw = text.partition(b" ")
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    name = verb.decode("ascii", "replace")
    return (name, body, raw) if name in VERBS and isinstance(body, dict) else None


@dataclass(slots=True)
class Read:
    """What a piece of a journal held: good lines, how many bad ones, and where the next piece begins."""

    entries: list[Entry]
    bad: int
    end: int


def parse(data: bytes, start: int = 0, *, brief: bool = False) -> Read:
    """Read the complete lines of `data`, which begins at offset `start` of its file. `brief`: see `decode`."""
    entries, bad, at = [], 0, 0
    while (newline := data.find(b"\n", at)) >= 0:
        found = decode(data[at:newline], brief=brief)
        at = newline + 1
        if found is None:
            bad += 1
        else:
            entries.append(Entry(found[0], found[1], start + at, found[2]))
    return Read(entries, bad, start + at)


def read(path: str, start: int = 0, *, brief: bool = False) -> Read:
    """Read a journal from an offset on; one that does not exist is empty. `brief`: see `decode`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Read([], 0, start)
    try:
        pieces, at = [], start
        while piece := os.pread(fd, 1 << 20, at):
            pieces.append(piece)
            at += len(piece)
    finally:
        os.close(fd)
    return parse(b"".join(pieces), start, brief=brief)


def checksum(path: str, end: int, start: int = 0, value: int = 0) -> int | None:
    """The CRC-32 of a journal's first `end` bytes, going on from `value` for the first `start` of them; None when
    it is shorter."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(max(0, end - start))
    except FileNotFoundError:
        data = b""
    return zlib.crc32(data, value) if len(data) == end - start else None


def lines(path: str, *, brief: bool = False) -> Iterator[Entry]:
    """The good lines of a journal. `brief`: see `decode`."""
    yield from read(path, brief=brief).entries


class Journal:
    """The owner's hold on a chunk's journal. Not thread-safe: its worker serialises the lines."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._name_synced = False
        self._file = disk.AppendFile(path)

    def write(self, verb: str, body: dict[str, Any]) -> None:
        """Append one line. After an error the file is what it was before."""
        self._file.append(encode(verb, body))

    def write_many(self, verb: str, bodies: list[dict[str, Any]]) -> None:
        """Append lines in one write. After an error the file is what it was before."""
        if bodies:
            self._file.append(b"".join(encode(verb, body) for body in bodies))

    def write_again(self, start: int) -> None:
        """Write the lines behind this offset once more: nobody vouched for them, and they are relied on now."""
        self._file.write_again(start)

    @property
    def end(self) -> int:
        """Offset behind the last line."""
        return self._file.size

    def sync(self) -> None:
        """Make the lines so far durable. May run beside `write`; the caller says `synced` afterwards.

        The file's name too, once for each owner: the one that made the file may have died before it did.
        """
        self._file.sync()
        if not self._name_synced:
            disk.sync_dir(os.path.dirname(self.path))
            self._name_synced = True

    def close(self) -> None:
        self._file.close()
