"""Text as it was said, from text as YouTube writes it: tags removed once, then references resolved once.

The order matters. What somebody said in angle brackets arrives as references (`i &lt; 10`), what styles it as tags
(`<i>`). youtube-transcript-api resolves first and then takes whatever stands between `<` and `>` for a tag, so that
`i < 10 and j > 5` loses its middle.

All of it takes time in proportion to the text, whatever the text is.
"""

from __future__ import annotations

import re
from html import unescape

# Nothing in a tag may be another `<`: so a text of nothing but `<` is looked at once.
_TAG = re.compile(r"<[A-Za-z/!?][^<>]*+>")
_TIMED_TAG = re.compile(r"<(?:[A-Za-z/!?]|\d+:)[^<>]*+>")
_BREAK = re.compile(r"<br\b[^<>]*+>", re.IGNORECASE)
# A number too long for any character. `html.unescape` would raise at some length, and take long before.
_NO_CHARACTER = re.compile(r"&#(?:[0-9]{9,}+|[xX][0-9A-Fa-f]{9,}+);?")


def said(text: str, *, timed: bool = False) -> str:
    """The text without tags, its references resolved. `timed`: words may be preceded by `<00:00:01.280>`."""
    if "<" in text:
        text = (_TIMED_TAG if timed else _TAG).sub("", _BREAK.sub("\n", text))
    return resolved(text)


def resolved(text: str) -> str:
    """The text with references of HTML (`&amp;`, `&#39;`) resolved, once."""
    return unescape(_NO_CHARACTER.sub("\ufffd", text)) if "&" in text else text
