"""Text: one address or id a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from engine.inputs.ids import find, video_id
from engine.inputs.lines import NOT_UTF8, Line, physical_lines, rejected, undecodable

MAX_LINE_CHARS = 65_536


def read_text(stream: TextIO, file: str) -> Iterator[Line]:
    """The lines of a text; blank ones and those that begin with `#` are not counted as lines of input."""
    for number, raw, too_long in physical_lines(stream, MAX_LINE_CHARS):
        text = raw.strip()
        if not text or text[0] == "#" or text == "\ufeff":
            continue
        if too_long:
            yield rejected(file, number, text, f"longer than {MAX_LINE_CHARS} characters")
            continue
        found, reason = find(text)
        if found is None:
            found = _before_comment(text)
        if found is not None:
            yield Line(file, number, text, found, {}, None)
        else:
            yield rejected(file, number, text, NOT_UTF8 if undecodable(text) else reason)


def _before_comment(text: str) -> str | None:
    """The video of a line that goes on with a comment: `ID  # why`."""
    words = text.split(None, 1)
    return video_id(words[0]) if len(words) == 2 and words[1].startswith("#") else None
