"""Foreign text for a terminal: nothing in it can move the cursor, set a title or turn the line around."""

from __future__ import annotations

import re
import unicodedata

# Whole control sequences (ECMA-48: CSI; OSC, DCS, SOS, PM and APC with their terminator), so that no remains
# of them are shown; what is not terminated loses its first character below.
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    # Nothing in one may begin another: so what is never terminated is looked at once.
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*+(?:\x07|\x1b\\\\|\x9c)"
)
_LOOKED_AT = 2_000
_SPACE = re.compile(r"[\s\x85\u2028\u2029]++")


def printable(text: str, width: int | None = None) -> str:
    """The text on one line, printable characters only (no bidi controls, they are not), cut with `…` to
    `width` columns of a terminal. Of a text much longer than that only the beginning is looked at."""
    if width is not None:
        text = text[: _LOOKED_AT + 4 * width]
    if text.isprintable() and "  " not in text:  # as nearly all are; a third of the time
        return text if width is None else _cut(text, width)
    text = _SEQUENCE.sub("", text)
    if not text.isprintable():
        text = "".join(char for char in text if char.isprintable() or char.isspace())
    text = _SPACE.sub(" ", text)
    return text if width is None else _cut(text, width)


def harmless(text: str) -> str:
    """As `printable`, with its blanks as they are: for a line that holds columns."""
    if text.isprintable():
        return text
    text = _SEQUENCE.sub("", text)
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def columns(text: str) -> int:
    """How many columns a printable text takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _cut(text: str, width: int) -> str:
    if columns(text) <= width:
        return text
    room = width - 1
    kept = []
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
