"""Turns what a person types into an FTS5 query.

Plain words never fail: each is quoted, so nothing in it has a meaning for FTS5. All must occur; `"…"` is a phrase,
and a `*` behind a word stands for any ending.
"""

from __future__ import annotations

import re

from engine.errors import UsageError
from engine.search.windows import separated

_PART = re.compile(r'"([^"]*)"|(\S+)')


def plain(words: str, *, separate: bool = True) -> str:
    """The FTS5 query for plain words. Raises UsageError when there is no letter or digit among them.

    `separate`: the index has separators between characters of scripts without spaces.
    """
    terms = []
    for phrase, word in _PART.findall(words.replace("\0", " ")):
        text = phrase or word.replace('"', " ")
        if any(char.isalnum() for char in text):
            prefix = "*" if word.endswith("*") else ""
            terms.append(f'"{separated(text) if separate else text}"{prefix}')
    if not terms:
        raise UsageError(f"there is no word to search for in {words!a}")
    return " AND ".join(terms)


def whole(text: str) -> str:
    """As SQLite takes it: `?` for a half of a surrogate pair, which is what typed bytes become that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()


def syntax_error(query: str, why: str) -> UsageError:
    """The error for a query in FTS5's own language that it does not understand."""
    return UsageError(
        f"--fts: {query!a} cannot be understood: {why.removeprefix('fts5: ')}. Quote what is no plain word "
        '("c++"), or leave out --fts to search for plain words'
    )
