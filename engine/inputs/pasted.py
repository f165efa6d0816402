"""What copying and pasting puts around and into an address: invisible characters, escapes, entities, wrappings.

None of it can be part of an address or an id, so taking it off changes no meaning.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

JOINERS = "\u200c\u200d"
"""Invisible too, but some scripts need them within a word."""

# Characters that nobody sees: direction marks, zero-width spaces, soft hyphens, variation selectors and the like.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_UNSEEN}]")
_WRAPPED = {'"': '"', "'": "'", "<": ">", "`": "`", "“": "”", "‘": "’", "«": "»", "(": ")"}
# What lists are written with, before an item and behind it.
_BULLET = re.compile(r"^(?:[-+*•–—]|\d{1,6}[.)])[ \t]{1,9}(?=\S+$)")
_BEHIND = ",;"
# Shells escape `?`, `=` and `&`, Markdown `_` and `-`, JSON `/`. Not `@`: what stands before it is a user name.
_ESCAPED = re.compile(r"\\(?:u00(26|2[fF]|3[aAdDfF]|5[fF])|([?=&_~#./:%+-]))")
_AMPERSAND = re.compile(r"&(?:amp|#0{0,5}38|#[xX]0{0,5}26);")
_EQUALS = re.compile(r"&(?:equals|#0{0,5}61|#[xX]0{0,5}3[dD]);")
_FORMULA = re.compile(r'=\s*HYPERLINK\s*\(\s*"([^"]*)"', re.IGNORECASE)
_MARKDOWN = re.compile(r"!?\[[^\[\]]*\]\(\s*<?([^\s<>()]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_ENCODED = re.compile(r"https?%3a%2f%2f", re.IGNORECASE)


def trimmed(text: str) -> str:
    """The text without the white space and the invisible characters at its two ends."""
    text = text.strip()
    if text.isascii():
        return text
    start, end = 0, len(text)
    while start < end and _is_nothing(text[start]):
        start += 1
    while start < end and _is_nothing(text[end - 1]):
        end -= 1
    return text[start:end]


def visible(text: str, *, joiners: bool = False) -> str:
    """The text without invisible characters; `joiners` keeps those that some scripts need within a word."""
    text = trimmed(text)
    if text.isascii():
        return text
    return _INVISIBLE.sub(lambda found: found[0] if joiners and found[0] in JOINERS else "", text)


def unwrapped(text: str, *, joiners: bool = False) -> str:
    """The address in what was pasted: without quotes, brackets or the marks of a list around it, out of a link of
    Markdown or a HYPERLINK formula, with the escapes of shells, Markdown and JSON undone."""
    text = _BULLET.sub("", visible(text, joiners=joiners), count=1).rstrip(_BEHIND)
    for _ in range(3):
        if len(text) < 2 or _WRAPPED.get(text[0]) != text[-1]:
            break
        text = trimmed(text[1:-1])
    if text[:1] == "=" and (formula := _FORMULA.match(text)):
        text = formula[1].strip()
    elif text.endswith(")") and (link := _MARKDOWN.fullmatch(text)):
        text = link[1]
    if "\\" in text:
        text = _ESCAPED.sub(_unescaped, text)
    return unquote(text) if _ENCODED.match(text) else text


def plain_query(text: str) -> str:
    """An address out of a page of HTML, with its `&` and `=` no longer written as entities, however often."""
    for _ in range(3):
        if "&" not in text:
            break
        text = _EQUALS.sub("=", _AMPERSAND.sub("&", text))
    return text


def _is_nothing(char: str) -> bool:
    return char.isspace() or _INVISIBLE.match(char) is not None


def _unescaped(found: re.Match[str]) -> str:
    return found[2] or chr(int(found[1], 16))
