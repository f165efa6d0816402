"""Foreign text for a terminal: nothing in it can move the cursor, set a title or turn the line around."""

from __future__ import annotations

import re

# Whole control sequences (ECMA-48: CSI; OSC, DCS, SOS, PM and APC with their terminator), so that no part of one
# is shown. One without its terminator loses its first character below.
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*+[ -/]*+[@-~]"
    # Nothing in one may begin another: so what is never terminated is looked at once.
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*+(?:\x07|\x1b\\\\|\x9c)"
)
_LOOKED_AT = 2_000
_SPACE = re.compile(r"[\s\x85\u2028\u2029]++")


def printable(text: str, width: int | None = None) -> str:
    """The text on one line, without what is not printable (bidi controls too), cut with `…` to `width` columns.

    Of a text much longer than that only the beginning is looked at.
    """
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
    """As `printable`, but blanks stay as they are: for a line that holds columns."""
    if text.isprintable():
        return text
    text = _SEQUENCE.sub("", text)
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def columns(text: str) -> int:
    """How many columns a printable text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # 5 ms, for other scripts and emoji only

    return cell_len(text)


def _cut(text: str, width: int) -> str:
    if columns(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    from rich.cells import set_cell_size

    return set_cell_size(text, width - 1).rstrip() + "…"
