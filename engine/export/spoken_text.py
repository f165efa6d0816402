"""The text of a transcript as tables have it: the lines of the `.txt` format, faster where nothing is to be done."""

from __future__ import annotations

import operator
from typing import Any

from engine.model import Cue, Transcript
from engine.output import plain_text

_TEXT = operator.itemgetter("text")
_PRINTABLE = bytes(range(0x20, 0x7F))  # of ASCII


def transcript_of(track: dict[str, Any]) -> Transcript:
    """A record's track as the renderers take it."""
    return Transcript(
        str(track.get("language")),
        str(track.get("language_name")),
        track.get("is_generated") is True,
        tuple(
            Cue(float(cue["start"] or 0), float(cue["duration"] or 0), cue["text"])
            for cue in track["segments"]
        ),
    )


def text_and_words(track: dict[str, Any]) -> tuple[str, int]:
    """What is said, a line a line, the same as `plain_text.lines` of the track; and how many words that is.

    Nearly all tracks are clean and do not roll. That can be seen in all cues at once, forty times as fast.
    """
    texts = list(map(_TEXT, track["segments"]))
    joined = "\n".join(texts)
    flat = joined.replace("\n", " ")
    if _is_clean(flat) and not (track.get("is_generated") is True and _may_roll(texts, joined)):
        return joined, flat.count(" ") + 1 if flat else 0
    text = "\n".join(plain_text.lines(transcript_of(track)))
    return text, len(text.split())


def _is_clean(flat: str) -> bool:
    """Whether cleaning would change nothing: one blank between two words. May be False for what is clean, as some
    emoji are."""
    return _is_printable(flat) and "  " not in flat and not flat.startswith(" ") and not flat.endswith(" ")


def _is_printable(flat: str) -> bool:
    """`flat.isprintable()`, six times as fast for ASCII."""
    return not flat.encode().translate(None, _PRINTABLE) if flat.isascii() else flat.isprintable()


def _may_roll(texts: list[str], joined: str) -> bool:
    """Whether a cue might begin with what the one before shows: not when all have one line, each another one."""
    return joined.count("\n") >= len(texts) or any(map(operator.eq, texts, texts[1:]))
