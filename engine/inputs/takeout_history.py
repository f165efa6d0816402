"""Watch histories of Google Takeout: `watch-history.json` and `watch-history.html`.

The names of their files and what they say around a title are in the account's language; the keys of the JSON
and the classes of the HTML are not, and tell what is what. Shapes are taken from exports and readers that
people have published.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from engine.inputs.line import Line, Readable, rejected, without_surrogates
from engine.inputs.video_ids import find

MAX_CELL_CHARS = 1 << 16
_READ_CHARS = 1 << 16
_NO_ADDRESS = "no address in the history: the video was removed, or it was none"

CELL = '<div class="outer-cell'
_CONTENT = '<div class="content-cell'
# None of these looks further than the next tag, so that no text makes them slow.
_PRODUCT = re.compile(r"<p\b[^<>]*>([^<]*)<")
_LINK = re.compile(r'<a href="([^"<>]*)"[^<>]*>([^<]*)</a>')
_BREAK = re.compile(r"<br\s*/?>")
_TAG = re.compile(r"<[^<>]*>")
# Under a cell, in bold: of which product it is, details if there are any, why it is noted; in this order.
_CAPTION = "mdl-typography--caption"


def is_element(value: dict[str, Any]) -> bool:
    """Whether an object is an element of such a history."""
    return "titleUrl" in value or {"header", "title", "time"} <= value.keys()


def element(value: dict[str, Any], file: str, number: int) -> Line:
    """The line of an element of the JSON: `watched_at`, `title`, `channel` and `product` are kept."""
    title, url = _text(value.get("title")), _text(value.get("titleUrl"))
    if not url:
        return rejected(file, number, title, _NO_ADDRESS)
    found, why_not = find(url)
    if found is None:
        return rejected(file, number, url, why_not, listable=False)  # seen is not wanted
    # Other languages put their word elsewhere in the sentence; there the sentence is kept.
    title = title.removeprefix("Watched ")
    given = {
        "watched_at": _text(value.get("time")),
        "title": "" if title == url else title,  # so it is with videos that are gone
        "channel": _name(value.get("subtitles")),
        "product": _text(value.get("header")),
        "details": _name(value.get("details")),  # `From Google Ads`
    }
    return _line(file, number, url, found, given)


def cells(stream: Readable, file: str) -> Iterator[Line]:
    """The cells of the HTML, counted from 1. `watched_at` is what stands there, in the account's language and
    time zone."""
    for number, text in enumerate(_after(stream), 1):
        if len(text) > MAX_CELL_CHARS:
            yield rejected(file, number, _plain(text[:2000]), f"longer than {MAX_CELL_CHARS} characters")
        else:
            yield _cell(text, file, number)


def _after(stream: Readable) -> Iterator[str]:
    """The text after each beginning of a cell, up to the next; of one that is too long, its beginning."""
    begun = False
    buffer = ""
    while more := stream.read(_READ_CHARS):
        buffer += more
        *whole, buffer = buffer.split(CELL)
        for text in whole:
            if begun:
                yield text
            begun = True
        if not begun:
            buffer = buffer[-len(CELL) :]  # styles and scripts before the first cell
        elif len(buffer) > MAX_CELL_CHARS + 2 * _READ_CHARS:
            buffer = buffer[: MAX_CELL_CHARS + 1] + buffer[-len(CELL) :]
    if begun:
        yield buffer


def _cell(text: str, file: str, number: int) -> Line:
    content = _content(text)
    links = [(html.unescape(url), _plain(label)) for url, label in _LINK.findall(content)]
    if not links:
        return rejected(file, number, _plain(content), _NO_ADDRESS)
    url, title = links[0]
    found, why_not = find(url)
    if found is None:
        return rejected(file, number, url, why_not, listable=False)  # seen is not wanted
    said = [_plain(part) for part in _BREAK.split(content) if "<a" not in part]
    product = _PRODUCT.search(text)
    given = {
        "watched_at": next((part for part in reversed(said) if part), ""),
        "title": "" if title == url else title,
        "channel": links[1][1] if len(links) > 1 else "",
        "product": _plain(product[1]) if product else "",
        "details": _details(text),
    }
    return _line(file, number, url, found, given)


def _details(text: str) -> str:
    """The note under a cell that is neither the product, which comes first, nor one with a link: why it is noted,
    and places on a map. `From Google Ads`, in the account's language."""
    notes = text.partition(_CAPTION)[2].partition("</div>")[0].split("<b>")[2:]
    return next((_plain(note.partition("</b>")[2]) for note in notes if "<a " not in note), "")


def _content(text: str) -> str:
    """The first of the content cells: what was watched and when. The others explain why it is noted."""
    _, _, rest = text.partition(_CONTENT)
    return rest.partition(">")[2].partition("</div>")[0]


def _line(file: str, number: int, url: str, found: str, given: dict[str, str]) -> Line:
    kept = {name: without_surrogates(value) for name, value in given.items() if value}
    return Line(file, number, url, found, kept, None)


def _plain(markup: str) -> str:
    """The words of a piece of HTML; its many sorts of spaces are one."""
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _name(values: Any) -> str:
    """The `name` of the first of a list of objects."""
    first = values[0] if isinstance(values, list) and values else None
    return _text(first.get("name")) if isinstance(first, dict) else ""
