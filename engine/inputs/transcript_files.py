"""Finds the transcripts in a folder that other programs left: whose each file is, by its name, and what it holds.

| file                                           | left by                                                  |
|------------------------------------------------|----------------------------------------------------------|
| `Title [ID].en.vtt`, `.srt`, `.json3` …        | yt-dlp, this program                                     |
| `Title [ID].info.json`                         | yt-dlp: about the video, no transcript                   |
| `ID.json`, `dQ/dQw4w9WgXcQ.json`               | scripts around youtube-transcript-api; this program      |
| any other `.json` with an id in it             | the same                                                 |
| `.jsonl`                                       | this program's exports, `engine get -f json`; a manifest |
| `ID.md`, `ID.txt`                              | this program and others: text without times              |
| files of many videos                           | see `engine.inputs.many_transcripts`                     |

Nothing is decided here about what is in the files, beyond the id.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from engine.inputs import many_transcripts
from engine.inputs.filenames import in_file_name
from engine.inputs.line import Line, rejected
from engine.inputs.many_transcripts import Part, id_in, looks_like_one
from engine.storage import zstd

MAX_FILE_BYTES = 64 << 20
CAPTIONS = frozenset({"vtt", "srt", "ttml", "srv1", "srv2", "srv3", "json3"})
_UNTIMED = frozenset({"md", "txt"})
_IN_BRACKETS = re.compile(r"\[([A-Za-z0-9_-]{11})\](?:\.[A-Za-z0-9-]+){0,2}\.[a-z0-9]+")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,11}){0,3}")
_QUEUE = "FORMAT"  # in a directory: it is a queue


class Form(Enum):
    """What a file holds."""

    CAPTIONS = "captions"
    JSON = "JSON"
    JSON_PART = "a part that is JSON"
    ROWS = "rows of a table"
    SECTION = "a section of a text"
    FRAME = "a frame of a shard"
    ABOUT = "about the video"
    UNTIMED = "text without times"


@dataclass(frozen=True, slots=True)
class TranscriptFile:
    """A file, or a part of one, that belongs to a video. `language` is a code, None where the name has none.

    `offset`, `length`: where the part lies in the file; length 0 means all of it.
    """

    path: str
    video_id: str
    form: Form
    language: str | None = None
    offset: int = 0
    length: int = 0

    def read(self) -> bytes:
        """The bytes: of a frame what it holds, of rows with the line that names their columns.

        Raises OSError, and ValueError for a file that is too large or a frame that is damaged.
        """
        with open(self.path, "rb") as file:
            size = self.length or os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ValueError(f"more than {MAX_FILE_BYTES >> 20} MiB: no transcript is so long")
            head = file.readline() if self.form is Form.ROWS and self.offset else b""
            file.seek(self.offset)
            data = head + file.read(size)
        if self.form is not Form.FRAME:
            return data
        record = zstd.decompress(data, MAX_FILE_BYTES)
        if record is None:
            raise ValueError(f"the frame at byte {self.offset} is damaged")
        return record

    @property
    def title(self) -> str | None:
        """The title in a name that yt-dlp made."""
        before = os.path.basename(self.path).partition(f"[{self.video_id}]")
        return before[0].strip() or None if before[1] else None


def find(folder: str, skip: str | None = None) -> Iterator[TranscriptFile | Line]:
    """What lies in a folder and below it, in the order of names; a rejected line for each file that should hold a
    transcript and names no video. `skip`: a directory to leave out. Hidden directories and queues are left out.

    Raises OSError when the folder itself cannot be read.
    """
    os.scandir(folder).close()
    for path, directories, names in os.walk(folder):
        directories[:] = sorted(
            name
            for name in directories
            if not name.startswith(".")
            and not os.path.exists(os.path.join(path, name, _QUEUE))
            and not (skip and os.path.realpath(os.path.join(path, name)) == skip)
        )
        files = [name for name in sorted(names) if not _waits(os.path.join(path, name))]
        if many_transcripts.has_shards(files):
            yield from _shards(path)
            files = [name for name in files if not many_transcripts.is_shard(name)]
        for name in files:
            yield from _found(os.path.join(path, name))


def ids_in(folder: str) -> Iterator[str]:
    """The ids of the videos of which something lies in a folder (a folder that is a queue: of those that are ok)."""
    manifest = os.path.join(folder, "manifest.jsonl")
    if os.path.exists(os.path.join(folder, _QUEUE)):
        if os.path.exists(manifest):
            yield from (found.video_id for found in _found(manifest) if isinstance(found, TranscriptFile))
        return
    for found in find(folder):
        if isinstance(found, TranscriptFile):
            yield found.video_id


def _waits(path: str) -> bool:
    """Whether it is a pipe, a socket or a device: opening one may wait for ever."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False  # which reading it says


def _found(path: str) -> Iterator[TranscriptFile | Line]:
    name = os.path.basename(path)
    ending = name.rpartition(".")[2].lower()
    if ending in CAPTIONS:
        if ".live_chat." not in name:
            yield _named(path, name, Form.CAPTIONS)
    elif ending in ("jsonl", "ndjson"):
        yield from _lines(path)
    elif name.lower().endswith(".info.json"):
        if found := _id_of(path, name):
            yield TranscriptFile(path, found, Form.ABOUT)
    elif ending == "json" and not name.endswith(".live_chat.json"):
        yield from _json(path, name)
    elif ending == "csv":
        yield from _table(path, name)
    elif ending in _UNTIMED and (found := _id_of(path, name)):
        yield TranscriptFile(path, found, Form.UNTIMED)
    elif ending == "txt":
        yield from _sections(path, name)
    elif many_transcripts.is_shard(name):
        why = "a shard without its index: `engine verify --repair` in its batch makes one"
        yield rejected(path, 1, name, why, listable=False)


def _named(path: str, name: str, form: Form) -> TranscriptFile | Line:
    found = _id_of(path, name)
    if found is None:
        return rejected(path, 1, name, "no video id in its name, as in `Title [ID].en.vtt`", listable=False)
    middle = name[name.rindex(found) + len(found) :].lstrip("]").strip(".").split(".")[:-1]
    language = next((part for part in middle if _LANGUAGE.fullmatch(part)), None)
    return TranscriptFile(path, found, form, language)


def _id_of(path: str, name: str) -> str | None:
    """The id in a name. In brackets alone a word of a title may stand; what yt-dlp left beside it tells."""
    stem = name.partition(".")[0]
    if _PLAIN_ID.fullmatch(stem) and os.path.basename(os.path.dirname(path)) == stem[:2]:
        return stem  # as this program names its files
    if found := in_file_name(name):
        return found
    brackets = _IN_BRACKETS.search(name)
    if brackets and os.path.exists(f"{path[: len(path) - len(name)]}{name[: brackets.end(1) + 1]}.info.json"):
        return brackets[1]
    return None


def _json(path: str, name: str) -> Iterator[TranscriptFile | Line]:
    """A file of JSON: with the id in its name, or else in it; a list may hold many."""
    if found := _id_of(path, name):
        yield TranscriptFile(path, found, Form.JSON)
        return
    try:
        data = many_transcripts.whole(path)
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            some = False
            for part in many_transcripts.in_list(data):
                some = True
                yield _part(path, name, part, Form.JSON_PART)
            if some:
                return
        value = json.loads(data)
    except (OSError, ValueError, RecursionError) as exc:
        why = f"no video id in its name, and it cannot be read: {exc}"
        yield rejected(path, 1, name, why, listable=False)
        return
    if found := id_in(value):
        yield TranscriptFile(path, found, Form.JSON)
    elif looks_like_one(value):
        yield rejected(path, 1, name, "a transcript without a video id: name it ID.json", listable=False)


def _part(path: str, name: str, part: Part, form: Form) -> TranscriptFile | Line:
    if part.video_id is None:
        why = f"a transcript without a video id, at byte {part.offset}"
        return rejected(path, 1, name, why, listable=False)
    return TranscriptFile(path, part.video_id, form, None, part.offset, part.length)


def _table(path: str, name: str) -> Iterator[TranscriptFile | Line]:
    """The videos of a table with texts."""
    try:
        with open(path, "rb") as file:
            timed, parts = many_transcripts.in_table(file)
            for part in parts:
                yield _part(path, name, part, Form.ROWS if timed else Form.UNTIMED)
    except (OSError, csv.Error) as exc:
        yield rejected(path, 1, name, f"it cannot be read: {exc}", listable=False)


def _sections(path: str, name: str) -> Iterator[TranscriptFile | Line]:
    """The videos of a text that has a section for each."""
    try:
        if many_transcripts.begins_as_sections(path):
            for part in many_transcripts.in_text(many_transcripts.whole(path)):
                yield _part(path, name, part, Form.SECTION)
    except (OSError, ValueError) as exc:
        yield rejected(path, 1, name, f"it cannot be read: {exc}", listable=False)


def _shards(directory: str) -> Iterator[TranscriptFile | Line]:
    """The records in a directory of shards."""
    try:
        for shard, part in many_transcripts.in_shards(directory):
            yield _part(os.path.join(directory, shard), shard, part, Form.FRAME)
    except OSError as exc:
        path = os.path.join(directory, many_transcripts.INDEX)
        yield rejected(path, 1, many_transcripts.INDEX, exc.strerror or str(exc), listable=False)


def _lines(path: str) -> Iterator[TranscriptFile | Line]:
    """The lines of a file that hold a transcript, or a row that is ok."""
    offset = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                found = _of_line(line)
                if found:
                    yield TranscriptFile(path, found, Form.JSON_PART, None, offset, len(line))
                offset += len(line)
    except OSError as exc:
        yield rejected(path, 1, os.path.basename(path), exc.strerror or str(exc), listable=False)


def _of_line(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    done = isinstance(value, dict) and (value.get("status") == "ok" or looks_like_one(value))
    return id_in(value) if done else None
