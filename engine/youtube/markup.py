"""Plain text from captions with markup: tags are removed once, then references are resolved once.

The order matters. Spoken angle brackets arrive as references (`i &lt; 10`), styles as tags (`<i>`).
youtube-transcript-api resolves first and then removes everything between `<` and `>`, so `i < 10 and j > 5` loses its
middle. All of it takes linear time for any text.
"""

from __future__ import annotations

import re
from html import unescape

# A tag contains no other `<`, so that a text of nothing but `<` is scanned once.
_TAG = re.compile(r"<[A-Za-z/!?][^<>]*+>")
_TIMED_TAG = re.compile(r"<(?:[A-Za-z/!?]|\d+:)[^<>]*+>")
_BREAK = re.compile(r"<br\b[^<>]*+>", re.IGNORECASE)
# A number too long for any character. `html.unescape` would be slow, and raise beyond some length.
_NO_CHARACTER = re.compile(r"&#(?:[0-9]{9,}+|[xX][0-9A-Fa-f]{9,}+);?")


def strip_markup(text: str, *, timed: bool = False) -> str:
    """The text without tags and with references resolved. `timed`: also remove times such as `<00:00:01.280>`."""
    if "<" in text:
        text = (_TIMED_TAG if timed else _TAG).sub("", _BREAK.sub("\n", text))
    return resolve_references(text)


def resolve_references(text: str) -> str:
    """The text with HTML references (`&amp;`, `&#39;`) resolved, once."""
    return unescape(_NO_CHARACTER.sub("\ufffd", text)) if "&" in text else text
