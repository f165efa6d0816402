"""Finds the transcripts in a folder that other programs left: whose each file is, by its name, and what it holds.

| file                                           | left by                                                  |
|------------------------------------------------|----------------------------------------------------------|
| `Title [ID].en.vtt`, `.srt`, `.json3` …        | yt-dlp, this program                                     |
| `Title [ID].info.json`                         | yt-dlp: about the video, no transcript                   |
| `ID.json`, `dQ/dQw4w9WgXcQ.json`               | scripts around youtube-transcript-api; this program      |
| any other `.json` with an id in it             | the same                                                 |
| `.jsonl`                                       | this program's exports, `engine get -f json`; a manifest |
| `ID.md`, `ID.txt`                              | this program and others: text without times              |
| files of many videos                           | see `many_transcripts` and `exported_tables`             |

In a folder that `engine export` made, brackets in a name hold an id, whatever it looks like. Nothing is decided here
about what is in the files, beyond the id.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from engine.inputs import exported_tables, many_transcripts, transcript_parts
from engine.inputs.filenames import in_file_name
from engine.inputs.line import Line, rejected
from engine.inputs.transcript_file import Form, TranscriptFile

CAPTIONS = frozenset({"vtt", "srt", "ttml", "srv1", "srv2", "srv3", "json3"})
_UNTIMED = frozenset({"md", "txt"})
_IN_BRACKETS = re.compile(r"\[([A-Za-z0-9_-]{11})\](?:\.[A-Za-z0-9-]+){0,2}\.[a-z0-9]+")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,11}){0,3}")
_QUEUE = "FORMAT"  # in a directory: it is a queue
_EXPORT = ".engine-export"  # in a directory: it is an export
_EXPORTED_ID = re.compile(r"\[([A-Za-z0-9_-]{11})(?:~[0-9a-f]+)?\]")


def find(folder: str, skip: str | None = None) -> Iterator[TranscriptFile | Line]:
    """What lies in a folder and below it, in the order of names; a rejected line for each file that should hold a
    transcript and names no video. `skip`: a directory to leave out. Hidden directories and queues are left out.
    `folder` may be one file, too.

    Raises OSError when the folder itself cannot be read.
    """
    if os.path.isfile(folder):
        yield from _found(folder, exported=False)
        return
    os.scandir(folder).close()
    exports = {os.path.dirname(folder)} if _lies_in_export(folder) else set()
    for path, directories, names in os.walk(folder):
        exported = _EXPORT in directories or os.path.dirname(path) in exports
        if exported:
            exports.add(path)
        directories[:] = sorted(
            name
            for name in directories
            if not name.startswith(".")
            and not os.path.exists(os.path.join(path, name, _QUEUE))
            and not (skip and os.path.realpath(os.path.join(path, name)) == skip)
        )
        files = [name for name in sorted(names) if not _waits(os.path.join(path, name))]
        if many_transcripts.has_shards(files):
            yield from transcript_parts.of_shards(path)
            files = [name for name in files if not many_transcripts.is_shard(name)]
        for name in files:
            yield from _found(os.path.join(path, name), exported=exported)


def _lies_in_export(folder: str) -> bool:
    """Whether a directory above this one is an export."""
    above = os.path.realpath(folder)
    while (parent := os.path.dirname(above)) != above:
        above = parent
        if os.path.isdir(os.path.join(above, _EXPORT)):
            return True
    return False


def ids_in(folder: str) -> Iterator[str]:
    """The ids of the videos of which something lies in a folder (a folder that is a queue: of those that are ok).

    Raises UsageError for a table that takes a package which is not installed, and OSError as `find`.
    """
    manifest = os.path.join(folder, "manifest.jsonl")
    if os.path.exists(os.path.join(folder, _QUEUE)):
        if os.path.exists(manifest):
            yield from (found.video_id for found in _found(manifest) if isinstance(found, TranscriptFile))
        return
    for found in find(folder):
        if isinstance(found, TranscriptFile):
            yield found.video_id
        elif exported_tables.is_table(found.file):
            exported_tables.check_packages(found.file)


def _waits(path: str) -> bool:
    """Whether it is a pipe, a socket or a device: opening one may wait for ever."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False  # which reading it says


def _found(path: str, *, exported: bool = False) -> Iterator[TranscriptFile | Line]:
    name = os.path.basename(path)
    ending = name.rpartition(".")[2].lower()
    if ending in CAPTIONS:
        if ".live_chat." not in name:
            yield _named(path, name, Form.CAPTIONS, exported)
    elif ending in ("jsonl", "ndjson"):
        yield from transcript_parts.of_lines(path)
    elif name.lower().endswith(".info.json"):
        if found := _id_of(path, name):
            yield TranscriptFile(path, found, Form.ABOUT)
    elif ending == "json" and not name.endswith(".live_chat.json"):
        if found := _id_of(path, name):
            yield TranscriptFile(path, found, Form.JSON)
        else:
            yield from transcript_parts.of_json(path, name)
    elif ending == "csv":
        yield from transcript_parts.of_table(path, name)
    elif exported_tables.is_table(name):
        yield from transcript_parts.of_rows(path, name)
    elif ending in _UNTIMED and (found := _id_of(path, name, exported)):
        yield TranscriptFile(path, found, Form.UNTIMED)
    elif ending == "txt":
        yield from transcript_parts.of_sections(path, name)
    elif many_transcripts.is_shard(name):
        why = "a shard without its index: `engine verify --repair` in its batch makes one"
        yield rejected(path, 1, name, why, listable=False)


def _named(path: str, name: str, form: Form, exported: bool) -> TranscriptFile | Line:
    found = _id_of(path, name, exported)
    if found is None:
        return rejected(path, 1, name, "no video id in its name, as in `Title [ID].en.vtt`", listable=False)
    middle = name[name.rindex(found) + len(found) :].lstrip("]").strip(".").split(".")[:-1]
    language = next((part for part in middle if _LANGUAGE.fullmatch(part)), None)
    return TranscriptFile(path, found, form, language)


def _id_of(path: str, name: str, exported: bool = False) -> str | None:
    """The id in a name. In brackets alone a word of a title may stand; what yt-dlp left beside it tells."""
    if exported and (last := [*_EXPORTED_ID.finditer(name)]):
        return last[-1][1]
    stem = name.partition(".")[0]
    if _PLAIN_ID.fullmatch(stem) and os.path.basename(os.path.dirname(path)) == stem[:2]:
        return stem  # as this program names its files
    if found := in_file_name(name):
        return found
    brackets = _IN_BRACKETS.search(name)
    if brackets and os.path.exists(f"{path[: len(path) - len(name)]}{name[: brackets.end(1) + 1]}.info.json"):
        return brackets[1]
    return None
