"""Cuts a transcript into windows, the units that are searched: about a minute, one line a cue.

All words of a search have to be in one window. Consecutive windows overlap by a few words, so that a phrase is found
wherever it lies. Scripts without spaces between words get an invisible separator between their characters, because
FTS5 would take a whole cue for one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.model import Cue

WINDOW_S = 60.0
WINDOW_CHARS = 1_500
OVERLAP_CHARS = 50

SEPARATOR = "\u200b"  # FTS5's unicode61 takes it for no part of a word, and `spoken` leaves none in a text
_UNSPACED = re.compile(  # Thai, Lao, Myanmar, Khmer, kana, Han
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff])"
)


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a transcript: the start of each of its lines in seconds, and the text of each, without line ends."""

    starts: tuple[float, ...]
    lines: tuple[str, ...]


def windows(cues: Iterable[Cue]) -> Iterator[Window]:
    """The windows of these cues (as `output.plain_text.spoken` gives them), in order."""
    held: list[tuple[float, str]] = []
    fresh = chars = 0
    for cue in cues:
        if fresh and (cue.start - held[0][0] >= WINDOW_S or chars >= WINDOW_CHARS):
            yield _window(held)
            held = _overlap(held)
            fresh, chars = 0, sum(len(text) for _, text in held)
        text = " ".join(cue.text.split())
        held.append((cue.start, text))
        fresh, chars = fresh + 1, chars + len(text)
    if fresh:
        yield _window(held)


def separated(text: str) -> str:
    """The text in one normal form, with a separator around each character of a script without spaces."""
    text = unicodedata.normalize("NFC", text)
    return text if text.isascii() else _UNSPACED.sub(rf"{SEPARATOR}\1{SEPARATOR}", text)


def _window(held: list[tuple[float, str]]) -> Window:
    starts, lines = zip(*held, strict=True)
    return Window(starts, lines)


def _overlap(held: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The last lines, as many as make a phrase, but never all of them."""
    chars, first = 0, len(held)
    while first > 1 and chars < OVERLAP_CHARS:
        first -= 1
        chars += len(held[first][1])
    return held[first:]
