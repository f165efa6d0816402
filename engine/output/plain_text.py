"""Captions as plain text, line by line. The lines that a rolling caption repeats are left out."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from engine.model import Cue, Record, Transcript

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u200b\ufeff]")
_SPACES = re.compile("[ \t\u00a0]++")
# Words one space or line end apart: what nearly all cues are, and clean already.
_PLAIN_WORD = "[^\\s\x00-\x1f\x7f-\xa0\u200b\u2028\u2029\ufeff\ud800-\udfff]++"
_PLAIN = re.compile(f"{_PLAIN_WORD}(?:[ \n]{_PLAIN_WORD})*+")
_SURROGATE = re.compile("[\ud800-\udfff]")

_MAX_ROLLED = 8  # lines of a cue that are looked for in the next: captions roll by one or two

TOUCHING_S = 0.1
"""Cues nearer than this follow each other without a pause."""

FLASH_S = 0.05  # too short to read: while captions roll, the lower line is shown alone for 10 ms


def replaced(text: str) -> str:
    """With lone surrogates, which UTF-8 cannot hold, replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def clean(text: str) -> str:
    """A cue's text without control characters; its lines stripped, empty ones left out.

    What looks like markup was said: the record holds text, not HTML (see `engine.youtube.markup`). Cleaning what
    is clean changes nothing.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", replaced(text)))
    return "\n".join(line for raw in text.split("\n") if (line := _SPACES.sub(" ", raw).strip()))


def one_line(text: str) -> str:
    """A title on one line, without control characters; markup in it is meant as it stands."""
    return " ".join(_INVISIBLE.sub("", _LINE_ENDS.sub("\n", replaced(text))).split())


def spoken(transcript: Transcript) -> list[Cue]:
    """The cues that say something, cleaned, without the lines a rolling caption shows a second time.

    Generated captions roll in some formats: a cue of several lines begins with the last ones of the cue before.
    Where a track does so anywhere, such lines are left out. A line that comes again after a pause was said again
    and stays, and so does everything that people wrote. Times are finite and not negative; order is kept.
    """
    cues = [
        Cue(_time(cue.start), _time(cue.duration), text)
        for cue in transcript.cues
        if (text := clean(cue.text))
    ]
    return _unrolled(cues) if transcript.is_generated and _rolls(cues) else cues


def _rolls(cues: list[Cue]) -> bool:
    """Whether any cue begins with what the cue before it shows last, and goes on, or is there for a moment only."""
    shown: list[str] = []
    until_s = -math.inf
    for cue in cues:
        lines = cue.text.split("\n")
        more = len(lines) > 1 or cue.duration <= FLASH_S
        if more and cue.start <= until_s + TOUCHING_S and _overlap(shown, lines):
            return True
        shown, until_s = lines, cue.start + cue.duration
    return False


def _unrolled(cues: list[Cue]) -> list[Cue]:
    result: list[Cue] = []
    shown: list[str] = []
    shown_until_s = 0.0
    for cue in cues:
        lines = cue.text.split("\n")
        fresh = lines
        if cue.start <= shown_until_s + TOUCHING_S:
            fresh = lines[_overlap(shown, lines) :]
        shown, shown_until_s = lines, max(cue.start + cue.duration, shown_until_s)
        if fresh:
            result.append(Cue(cue.start, cue.duration, "\n".join(fresh)))
        elif result:
            last = result[-1]
            result[-1] = replace(last, duration=max(last.duration, cue.start + cue.duration - last.start))
    return result


def lines(transcript: Transcript) -> list[str]:
    """The lines of a transcript, in order."""
    return [line for cue in spoken(transcript) for line in cue.text.split("\n")]


def render(record: Record) -> str:
    """The transcript as plain text, one caption line a line."""
    return "".join(f"{line}\n" for line in lines(record.transcript))


def _overlap(shown: list[str], fresh: list[str]) -> int:
    """How many first lines of `fresh` are the last ones of `shown`."""
    most = min(len(shown), len(fresh), _MAX_ROLLED)
    return next((n for n in range(most, 0, -1) if shown[-n:] == fresh[:n]), 0)


def _time(value_s: float, max_s: float = 1e7) -> float:
    """A time a subtitle can hold: finite, not negative, below 116 days."""
    return min(max(value_s, 0.0), max_s) if math.isfinite(value_s) else 0.0
