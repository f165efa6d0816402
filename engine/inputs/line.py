"""One line of input, and reading lines of any length in bounded memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TextIO

SHOWN_CHARS = 300
"""How much of a line that is too long is kept, to show it."""

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Line:
    """What one line, row or element of an input holds.

    `file` is the path as given, `stdin` or `argument`; `line` counts from 1 (in a JSON list: elements);
    `text` is what was taken for the video; `input` the user's other columns. `reason` (for a person) is
    set if and only if `video_id` is None. `listable`: it may name a channel, a playlist or a search instead.
    `column`: in which column of a table the video was looked for.
    """

    file: str
    line: int
    text: str
    video_id: str | None
    input: dict[str, Any]
    reason: str | None
    listable: bool = True
    column: str = field(default="", compare=False, repr=False)


class Readable(Protocol):
    """A text that is read piece by piece."""

    def read(self, size: int = ..., /) -> str: ...


class Physical(NamedTuple):
    """A line as it lies in the file, with its end; of one that is `too_long` only the beginning."""

    number: int
    text: str
    too_long: bool


def physical_lines(stream: TextIO, max_chars: int) -> Iterator[Physical]:
    """The lines of a stream; memory stays below `max_chars` whatever their length."""
    readline = stream.readline
    number = 0
    while text := readline(max_chars):
        number += 1
        if len(text) == max_chars and text[-1] != "\n":
            shown = text[:SHOWN_CHARS]
            while (text := readline(max_chars)) and text[-1] not in "\r\n":
                pass
            yield Physical(number, shown, True)
        else:
            yield Physical(number, text, False)


class Returnable:
    """An iterator of lines that can be given back, to be read again."""

    def __init__(self, lines: Iterable[Physical]) -> None:
        self._rest = iter(lines)
        self._returned: deque[Physical] = deque()

    def __iter__(self) -> Iterator[Physical]:
        return self

    def __next__(self) -> Physical:
        return self._returned.popleft() if self._returned else next(self._rest)

    def give_back(self, lines: list[Physical]) -> None:
        """Put lines back in front, in their order."""
        self._returned.extendleft(reversed(lines))


def rejected(
    file: str, line: int, text: str, reason: str, *, listable: bool = True, column: str = ""
) -> Line:
    """A line that names no video, and why. Its text can be encoded as UTF-8."""
    return Line(file, line, without_surrogates(text), None, {}, reason, listable, column)


def without_surrogates(text: str) -> str:
    """The text with lone surrogates replaced by U+FFFD, so that it can be encoded."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
