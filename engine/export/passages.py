"""Passages: a transcript in pieces of about so many words, cut where the speaker pauses, for retrieval."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.model import Cue

SLACK = 0.25  # a piece may be so much shorter or longer than asked for, to end at a better place
SENTENCE_S = 1.0  # the end of a sentence counts as much as a pause of so long
_END_OF_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*$")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a transcript; times in seconds."""

    start_s: float
    end_s: float
    text: str
    words: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A cue, or a part of a long one."""

    start_s: float
    end_s: float
    words: tuple[str, ...]


def passages(cues: Sequence[Cue], words: int, overlap: int) -> Iterator[Passage]:
    """Pieces of `words` words, give or take a quarter; each begins with up to `overlap` words of the one before.

    Every word is in a piece, in order.
    """
    parts = list(_parts(cues, max(1, min(words // 4, 40))))
    first = end = 0
    while first < len(parts):
        end = _end(parts, first, end, words)
        chosen = parts[first:end]
        text = " ".join(word for part in chosen for word in part.words)
        yield Passage(
            chosen[0].start_s,
            max(part.end_s for part in chosen),
            text,
            sum(len(part.words) for part in chosen),
        )
        if end == len(parts):
            return
        first = _begin(parts, first, end, overlap)


def _end(parts: Sequence[_Part], first: int, before: int, words: int) -> int:
    """Where a piece ends that begins with part `first`: at the longest pause near the wanted length.

    That is behind `before`, where the piece before it ended.
    """
    count, best, best_s = 0, 0, -1.0
    for at in range(first, len(parts)):
        count += len(parts[at].words)
        if count > words * (1 + SLACK) and best:
            return best
        if at + 1 == len(parts):
            return at + 1
        if at >= before and count >= words * (1 - SLACK):
            pause_s = _pause(parts[at], parts[at + 1])
            closeness = 1 - abs(count - words) / words
            if pause_s + closeness * 0.1 > best_s:
                best, best_s = at + 1, pause_s + closeness * 0.1
        if count > words * (1 + SLACK):
            return best or at + 1
    return len(parts)


def _begin(parts: Sequence[_Part], first: int, end: int, overlap: int) -> int:
    """Where the next piece begins: as many parts before `end` as hold no more than `overlap` words."""
    count, at = 0, end
    while at - 1 > first and count + len(parts[at - 1].words) <= overlap:
        at -= 1
        count += len(parts[at].words)
    return at


def _pause(part: _Part, following: _Part) -> float:
    ends = _END_OF_SENTENCE.search(part.words[-1]) is not None
    return max(0.0, following.start_s - part.end_s) + (SENTENCE_S if ends else 0.0)


def _parts(cues: Sequence[Cue], most: int) -> Iterator[_Part]:
    """The cues; long ones in parts of `most` words, whose times are shared out evenly."""
    for at, cue in enumerate(cues):
        words = cue.text.split()
        end_s = cue.start + cue.duration
        if at + 1 < len(cues) and cue.start <= cues[at + 1].start < end_s:
            end_s = cues[at + 1].start  # generated cues overlap: each is shown until the next has been said
        each_s = (end_s - cue.start) / max(1, len(words))
        for begin in range(0, len(words), most):
            some = tuple(words[begin : begin + most])
            yield _Part(cue.start + begin * each_s, cue.start + (begin + len(some)) * each_s, some)
