"""Files that hold the transcripts of many videos: where in the file each video's part lies.

| file                      | left by                                              | a video's part is          |
|---------------------------|------------------------------------------------------|----------------------------|
| `.json`, a list           | ytfetcher, `yt-dlp -J`, scripts                      | an element                 |
| `.csv`, a caption a row   | ytfetcher                                            | rows that follow each other |
| `.txt`                    | ytfetcher                                            | a section                  |
| `shards/000000.zst`       | this program, `--store shards` (queue_dir/README.md) | a frame                    |

Only ids and places are found here; `engine.importing.reading` reads what the parts hold.
"""

from __future__ import annotations

import csv
import json
import os
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from engine.inputs.video_ids import video_id

_MAX_WHOLE_BYTES = 256 << 20
_FIRST_LINE_BYTES = 64
INDEX = "index"
EXPORT_COLUMNS = frozenset({"id", "status", "channel_id", "finished_at"})
"""Columns by which a table without texts is known to be one that `engine export` made."""
_MAX_CELL_CHARS = 16 << 20  # a text of ten hours has one million
_GAP = re.compile(r"[ \t\r\n,]*")
_SECTION = re.compile(rb"^Transcript for ([A-Za-z0-9_-]{11}):\r?$", re.MULTILINE)
_SHARD = re.compile(r"[0-9]{6,17}\.zst")
_ENTRY = re.compile(
    rb"([A-Za-z0-9_-]{11}) (?:-|shards/([0-9]{6,17}\.zst)#([0-9]{1,15})\+([0-9]{1,10})) ([0-9a-f]{8})"
)


class Part(NamedTuple):
    """Where a video's part lies, in bytes. Without an id it is a transcript that names no video."""

    video_id: str | None
    offset: int
    length: int


def id_in(value: Any) -> str | None:
    """The id that a JSON object gives as its own."""
    named = [value.get(key) for key in ("video_id", "id")] if isinstance(value, dict) else []
    return next((name for name in named if isinstance(name, str) and video_id(name) == name), None)


def looks_like_one(value: Any) -> bool:
    """Whether JSON has the shape of a transcript."""
    if isinstance(value, dict):
        return any(key in value for key in ("transcript", "segments", "snippets"))
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and {"text", "start"} <= set(first)


def in_list(data: bytes) -> Iterator[Part]:
    """The transcripts among the elements of a JSON list. Raises ValueError where it is not JSON."""
    text = data.decode("utf-8-sig")
    at = text.index("[") + 1
    done = len(data) - len(text.encode()) + at  # behind a byte-order mark and spaces
    decode = json.JSONDecoder().raw_decode
    while True:
        start = at + len(_GAP.match(text, at)[0])  # type: ignore[index]
        done += start - at
        if text[start : start + 1] == "]":
            return
        value, at = decode(text, start)
        length = len(text[start:at].encode())
        if looks_like_one(value):
            yield Part(id_in(value), done, length)
        done += length


def in_table(file: BinaryIO) -> tuple[bool, Iterator[Part]]:
    """Whether a CSV file gives the times of its texts, and the rows of each video; none where it is no such table.

    The first line names the columns. Rows of a video that follow each other are one part.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL_CHARS))
    header = file.readline().decode("utf-8-sig", "replace")
    columns = next(csv.reader([header]), [])
    key = next((name for name in ("video_id", "id") if name in columns), None)
    if key is not None and "text" in columns:
        return "start" in columns, _groups(file, columns.index(key), columns.index("text"))
    if set(columns) >= EXPORT_COLUMNS:  # made with --no-text
        return False, _groups(file, columns.index("id"), columns.index("status"), "ok")
    return False, iter(())


def _groups(file: BinaryIO, key: int, said: int, only: str | None = None) -> Iterator[Part]:
    """The rows in which the column `said` holds something, or `only` this."""
    begun = end = file.tell()
    read = [begun]

    def lines() -> Iterator[str]:
        for line in file:
            read[0] += len(line)
            yield line.decode("utf-8", "replace").replace("\0", "")

    found: str | None = None
    for row in csv.reader(lines()):
        value = row[said] if len(row) > max(key, said) else ""
        name = row[key] if value and only in (None, value) else ""
        if name != found:
            if found and video_id(found) == found:
                yield Part(found, begun, end - begun)
            found, begun = name, end
        end = read[0]
    if found and video_id(found) == found:
        yield Part(found, begun, end - begun)


def in_text(data: bytes) -> Iterator[Part]:
    """The sections of a text that begin with `Transcript for ID:`."""
    starts = list(_SECTION.finditer(data))
    ends = [each.start() for each in starts[1:]] + [len(data)]
    for each, end in zip(starts, ends, strict=True):
        yield Part(each[1].decode(), each.start(), end - each.start())


def begins_as_sections(path: str) -> bool:
    """Whether a text begins as one that `in_text` takes apart. Raises OSError."""
    with open(path, "rb") as file:
        return _SECTION.match(file.read(_FIRST_LINE_BYTES)) is not None


def whole(path: str) -> bytes:
    """A file that has to be read whole. Raises OSError, and ValueError when it is too large for that."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > _MAX_WHOLE_BYTES:
            raise ValueError(f"more than {_MAX_WHOLE_BYTES >> 20} MiB")
        return file.read()


def has_shards(names: list[str]) -> bool:
    """Whether a directory with files of these names holds shards."""
    return INDEX in names and any(map(_SHARD.fullmatch, names))


def is_shard(name: str) -> bool:
    return _SHARD.fullmatch(name) is not None


def in_shards(directory: str) -> Iterator[tuple[str, Part]]:
    """(name of the shard, place of the frame) of each record that the index of a directory of shards names.

    The last good line of a video counts, and `-` takes it out; a line with a wrong sum counts as missing. What the
    index does not name was superseded, or left by a process that was killed.
    """
    places: dict[str, tuple[str, int, int]] = {}
    with open(os.path.join(directory, INDEX), "rb") as file:
        for line in file:
            found = _ENTRY.fullmatch(line.rstrip(b"\n"))
            if found is None or int(found[5], 16) != zlib.crc32(line.rstrip(b"\n")[:-9]):
                continue
            name = found[1].decode()
            if found[2] is None:
                places.pop(name, None)
            else:
                places[name] = (found[2].decode(), int(found[3]), int(found[4]))
    for name, (shard, offset, length) in sorted(places.items(), key=lambda item: item[1]):
        yield shard, Part(name, offset, length)
