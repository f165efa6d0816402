"""Pages of HTML: a watch history of Google Takeout, else the videos that a page links to.

Such pages are bookmarks as browsers export them and pages that were saved, as of a channel. Of their links those
count that certainly are a video; all others belong to the page and are passed over.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from engine.errors import UsageError
from engine.inputs.line import Line, Readable
from engine.inputs.takeout_history import CELL, cells
from engine.inputs.video_ids import find

LOOK_CHARS = 1 << 20
"""In so many characters a history shows its first cell, below styles and scripts."""
MAX_ADDRESS_CHARS = 4096

_READ_CHARS = 1 << 16
_LINK = re.compile(
    rf"""\bhref\s{{0,9}}=\s{{0,9}}(?:"([^"<>]{{1,{MAX_ADDRESS_CHARS}}})"|'([^'<>]{{1,{MAX_ADDRESS_CHARS}}})')""",
    re.IGNORECASE,
)
_HERE = "/watch?v="
"""How a page of YouTube links to a video within the site."""


def read_page(stream: Readable, file: str) -> Iterator[Line]:
    """The lines of a page, counted from 1: cells of a history, else lines of the text that a link stands in.

    UsageError when there is none.
    """
    ahead = _Ahead(stream)
    number = 0
    for line in cells(ahead, file) if CELL in ahead.head else links(ahead, file):
        number = line.line
        yield line
    if not number:
        raise UsageError(
            f"{file}: no watch history of Google Takeout and no link to a video in this page of HTML. "
            "Give the videos as CSV or as one address a line."
        )


def links(stream: Readable, file: str) -> Iterator[Line]:
    """The videos that a page links to, each once however often it does so in a row."""
    number, last, buffer = 1, "", ""
    while more := stream.read(_READ_CHARS):
        *tags, buffer = (buffer + more).split("<")
        for tag in tags:
            address, found = _linked(tag)
            if found is not None and found != last:
                last = found
                yield Line(file, number, address, found, {}, None)
            number += tag.count("\n")
        if len(buffer) > 2 * MAX_ADDRESS_CHARS:  # a script; no link is so long
            number += buffer.count("\n")
            buffer = " "
    address, found = _linked(buffer)
    if found is not None and found != last:
        yield Line(file, number, address, found, {}, None)


def _linked(tag: str) -> tuple[str, str | None]:
    """(where a tag links to, the video that this certainly is)."""
    if tag[:1] not in "aA" or not tag[1:2].isspace() or (link := _LINK.search(tag)) is None:
        return "", None
    address = html.unescape(link[1] or link[2])
    whole = f"https://www.youtube.com{address}" if address.startswith(_HERE) else address
    return address, find(whole)[0] if "/" in address else None


class _Ahead:
    """A text of which the head was read for a look."""

    def __init__(self, stream: Readable) -> None:
        self.head = stream.read(LOOK_CHARS)
        self._begun = self.head
        self._stream = stream

    def read(self, size: int = -1, /) -> str:
        if self._begun:
            data, self._begun = (self._begun, "") if size < 0 else (self._begun[:size], self._begun[size:])
            return data
        return self._stream.read(size)
