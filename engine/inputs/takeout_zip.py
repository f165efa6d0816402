"""The zip of a Google Takeout: its watch histories and playlists, whatever else is in it.

Nothing is unpacked to disk, and no name in the zip is ever a path here: entries are read where they lie, one
after the other, told by what they hold. Their names and folders are in the account's language.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from engine.errors import UsageError
from engine.inputs.csv_table import read_playlist
from engine.inputs.json_input import read_json
from engine.inputs.line import Line
from engine.inputs.opener import ForeignInputError, open_stream, open_zip, too_far, unpacks_too_far
from engine.inputs.takeout_history import cells

LOOK_LINES = 500
"""How much of a history decides whether it is of watching or of searching."""

_READ = (".csv", ".json", ".html")
# Activity of other products has the same shape; Google writes this name in every language.
_YOUTUBE_JSON = re.compile(r'\s*\[\s*\{[^{}\[\]]*"header"\s*:\s*"YouTube')
_PLAYLIST_JSON = re.compile(r'\s*\[\s*\{[^"]*"[^\0]*?"kind"\s*:\s*"youtube#playlistItem"')
_SEARCH = "search_query"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile ends in where one is damaged, or made in a way it does not know (a RuntimeError).
_BROKEN = (zipfile.BadZipFile, RuntimeError, OSError, ValueError)


def read_takeout(path: str, on_note: Callable[[str], None] | None = None) -> Iterator[Line]:
    """The lines of the histories and playlists in a Takeout, in the order in which they lie there.

    `Line.file` is `path:entry`. `on_note` is told in a sentence what was read and how many entries were not.
    UsageError when it is no zip, or neither a part of a Takeout nor with anything of this in it; after the last
    line, when an entry could not be read.
    """
    stream = open_zip(path)
    try:
        archive = zipfile.ZipFile(stream)
    except _BROKEN as exc:
        stream.close()
        raise UsageError(f"{path}: not a whole zip: {exc}. Make it or download it again.") from None
    return _lines(path, stream, archive, on_note)


def _lines(
    path: str, stream: BinaryIO, archive: zipfile.ZipFile, on_note: Callable[[str], None] | None
) -> Iterator[Line]:
    read = others = 0
    wrong: list[str] = []
    with stream, archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            try:
                with contextlib.ExitStack() as opened:
                    lines = _recognised(path, archive, entry, opened)
                    if lines is None:
                        others += 1
                    else:
                        read += 1
                        yield from lines
            except UsageError as exc:
                wrong.append(str(exc))
    if wrong:
        raise UsageError(*wrong)
    if not read and not any(entry.filename.startswith("Takeout/") for entry in entries):
        raise UsageError(
            f"{path}: no watch history and no playlist of a Google Takeout in it. "
            "Of another zip unpack the list and give that."
        )
    if on_note:
        took = (
            f"{read:,} watch histor{'y' if read == 1 else 'ies'} or playlist{'' if read == 1 else 's'} read"
        )
        on_note(f"{path}: {took}, {others:,} other file{'' if others == 1 else 's'} left out")


def _recognised(
    path: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, closing: contextlib.ExitStack
) -> Iterator[Line] | None:
    """The lines of an entry, which is open until `closing` is; None if it is of another sort."""
    ending = os.path.splitext(entry.filename)[1].lower()
    if ending not in _READ:
        return None
    file = f"{path}:{entry.filename}"
    if unpacks_too_far(entry.compress_size, entry.file_size):
        raise too_far(file)
    if entry.compress_type not in _METHODS:
        raise UsageError(f"{file}: packed as no Takeout is: unpack it and give the file")
    try:
        # No more than the size that stands in the zip's directory is ever read of an entry.
        opened = open_stream(file, cast(BinaryIO, archive.open(entry)))
    except ForeignInputError:
        return None
    except _BROKEN as exc:
        raise UsageError(f"{file}: cannot be unpacked: {exc}") from None
    closing.callback(opened.close)
    if ending == ".csv":
        return read_playlist(opened.text(""), file)
    if ending == ".html":
        return _watched(cells(opened.text(None), file))
    head = opened.head_text().lstrip("\ufeff")
    if _YOUTUBE_JSON.match(head):
        return _watched(read_json(opened.stream, file))
    if not _PLAYLIST_JSON.match(head):
        return None
    name = os.path.splitext(os.path.basename(entry.filename))[0]
    return _of_playlist(name, read_json(opened.stream, file))


def _of_playlist(name: str, lines: Iterator[Line]) -> Iterator[Line]:
    """The lines with the name of their playlist, which until about 2019 stood in the file's name alone."""
    for line in lines:
        yield replace(line, input={"playlist": name, **line.input}) if line.video_id else line


def _watched(lines: Iterator[Line]) -> Iterator[Line] | None:
    """The lines again if they are of videos watched on YouTube, rather than of searches or of other sites."""
    first = list(itertools.islice(lines, LOOK_LINES))
    watched = sum(str(line.input.get("product", "")).startswith("YouTube") for line in first)
    searched = sum(_SEARCH in line.text for line in first)
    return itertools.chain(first, lines) if watched > searched else None
