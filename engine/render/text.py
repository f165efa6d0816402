"""Captions as plain text: no markup, no line twice."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from dataclasses import replace

from engine.model import Cue, Record

# Markup of caption formats (WebVTT, TTML, SubRip); other things in angle brackets were said or shown.
_TAGS = "b|i|u|s|c|v|font|span|br|p|div|ruby|rt|lang|em|strong|mark|small|del|ins|sub|sup"
_MARKUP = re.compile(
    rf"</?(?:{_TAGS})(?:[.\s][^<>]*)?/?>|<\d{{1,3}}(?::\d\d){{1,2}}[.,]\d{{1,3}}>", re.IGNORECASE
)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u200b\ufeff]")
_SPACES = re.compile("[ \t\u00a0]+")
# Words one space or line end apart: what nearly all cues are, and clean already.
_PLAIN_WORD = "[^\\s\x00-\x1f<&\x7f-\xa0\u200b\u2028\u2029\ufeff\ud800-\udfff]+"
_PLAIN = re.compile(f"{_PLAIN_WORD}(?:[ \n]{_PLAIN_WORD})*")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Entities get escaped twice and more on the way here; a text made to need a round a character must not.
_MAX_ROUNDS = 8

TOUCHING_S = 0.1
"""Cues nearer than this follow each other without a pause."""


def replaced(text: str) -> str:
    """With lone surrogates, which UTF-8 cannot hold, replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def clean(text: str) -> str:
    """A cue's text without markup, entities and control characters; its lines stripped, empty ones left out.

    Cleaning what is clean changes nothing. Descriptions of sounds (`[Music]`) stay.
    """
    if _PLAIN.fullmatch(text):
        return text
    for _ in range(_MAX_ROUNDS):
        before = text
        text = _MARKUP.sub("", _BREAK.sub("\n", html.unescape(text)))
        text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", replaced(text)))
        text = "\n".join(line for raw in text.split("\n") if (line := _SPACES.sub(" ", raw).strip()))
        if text == before:
            break
    return text


def one_line(text: str) -> str:
    """A title on one line, without control characters; markup in it is meant as it stands."""
    return " ".join(_INVISIBLE.sub("", _LINE_ENDS.sub("\n", replaced(text))).split())


def spoken(cues: Iterable[Cue]) -> list[Cue]:
    """The cues that say something, cleaned, without the lines a rolling caption shows a second time.

    Generated captions roll: a cue begins with the last lines of the one before. A line that comes again
    after a pause was said again and stays. Times are finite and not negative; order is kept.
    """
    result: list[Cue] = []
    shown: list[str] = []
    shown_until_s = 0.0
    for cue in cues:
        start, duration = _time(cue.start), _time(cue.duration)
        lines = clean(cue.text).split("\n")
        if lines == [""]:
            continue
        fresh = lines
        if start <= shown_until_s + TOUCHING_S:
            fresh = lines[_overlap(shown, lines) :]
        shown, shown_until_s = lines, max(start + duration, shown_until_s)
        if fresh:
            result.append(Cue(start, duration, "\n".join(fresh)))
        elif result:
            last = result[-1]
            result[-1] = replace(last, duration=max(last.duration, start + duration - last.start))
    return result


def lines(cues: Iterable[Cue]) -> list[str]:
    """The lines of a transcript, each once."""
    return [line for cue in spoken(cues) for line in cue.text.split("\n")]


def render(record: Record) -> str:
    """The transcript as plain text, one caption line a line."""
    return "".join(f"{line}\n" for line in lines(record.transcript.cues))


def _overlap(shown: list[str], fresh: list[str]) -> int:
    """How many first lines of `fresh` are the last ones of `shown`."""
    return next((n for n in range(min(len(shown), len(fresh)), 0, -1) if shown[-n:] == fresh[:n]), 0)


def _time(value_s: float, max_s: float = 1e7) -> float:
    """A time a subtitle can hold: finite, not negative, below 116 days."""
    return min(max(value_s, 0.0), max_s) if math.isfinite(value_s) else 0.0
