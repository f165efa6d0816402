"""Handles of channels: what YouTube allows in `@name`, and the one spelling of each.

YouTube's rules: 3 to 30 letters or numbers of any of 75 languages, fewer where the script says more with one; between
them `_`, `-`, `.` and the middle dot. Capitals make no difference. Letters of many scripts (Thai, Hindi, Tamil,
Bengali) are written with combining marks, which are part of them and not counted, and some with joiners between.
"""

from __future__ import annotations

import unicodedata

from engine.inputs.pasted import JOINERS, visible

MIN_ASCII_CHARS = 3
MAX_CHARS = 30
MAX_CODE_POINTS = 100
"""With all their marks."""

# Beside what YouTube names: signs that Unicode counts among the letters of a word in Hebrew, Tibetan and Japanese.
_BETWEEN = frozenset("_-.\u00b7\u05f3\u05f4\u0f0b\u30fb")


def handle(text: str) -> str | None:
    """The handle `@name` in its one spelling (composed, in small letters), or None when it can be none."""
    name = composed(text.removeprefix("@")).lower()
    name = unicodedata.normalize("NFC", name)  # a small letter may have its mark apart
    if not text.startswith("@") or not is_name(name, MAX_CHARS):
        return None
    return f"@{name}" if not name.isascii() or len(name) >= MIN_ASCII_CHARS else None


def composed(text: str) -> str:
    """The text as Unicode composes it, without invisible characters but for joiners within a word."""
    return unicodedata.normalize("NFC", visible(text, joiners=True).strip(JOINERS))


def is_name(text: str, max_chars: int, also: str = "") -> bool:
    """Whether a text is of letters, numbers, their marks and what may stand between, or `also`."""
    if len(text) > max(MAX_CODE_POINTS, max_chars):
        return False
    counted = 0
    for char in text:
        sort = unicodedata.category(char)[0]
        if sort in "LN" or char in _BETWEEN or char in also:
            counted += 1
        elif not counted or not (sort == "M" or char in JOINERS):
            return False
    return 0 < counted <= max_chars
