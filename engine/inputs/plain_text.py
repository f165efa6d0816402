"""Text: one address or id a line; also the archive of what yt-dlp has downloaded (`--download-archive`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from engine.inputs.line import Line, physical_lines, rejected
from engine.inputs.video_ids import find, video_id

MAX_LINE_CHARS = 65_536

# A line of an archive is a site's name in small letters and an id there, with a space between.
_ARCHIVED = "youtube "
_ARCHIVED_ELSEWHERE = re.compile(r"([a-z][a-z0-9:.]*) (\S*[0-9_-]\S*|[A-Za-z]{11})")


def read_text(stream: TextIO, file: str) -> Iterator[Line]:
    """The lines of a text; blank ones and those that begin with `#` are not counted as lines of input."""
    for number, raw, too_long in physical_lines(stream, MAX_LINE_CHARS):
        text = raw.strip()
        if not text or text[0] == "#" or text == "\ufeff":
            continue
        if too_long:
            yield rejected(file, number, text, f"longer than {MAX_LINE_CHARS} characters")
            continue
        found, reason = find(text[len(_ARCHIVED) :] if text.startswith(_ARCHIVED) else text)
        if found is None:
            found = _before_comment(text)
        if found is not None:
            yield Line(file, number, text, found, {}, None)
        else:
            yield rejected(file, number, text, _why_archived(text) or reason)


def _before_comment(text: str) -> str | None:
    """The video of a line that goes on with a comment: `ID  # why`."""
    words = text.split(None, 1)
    return video_id(words[0]) if len(words) == 2 and words[1].startswith("#") else None


def _why_archived(text: str) -> str:
    """What is wrong with a line that yt-dlp has written about another site; empty if this is none."""
    archived = _ARCHIVED_ELSEWHERE.fullmatch(text)
    if archived is None or archived[1] == "youtube":
        return ""
    if video_id(archived[1]) and video_id(archived[2]):
        return ""  # rather two videos in one line
    return f"not of YouTube: yt-dlp's archive has it from {archived[1][:40]!a}"
