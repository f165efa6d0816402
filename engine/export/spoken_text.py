"""The text of a transcript as tables have it: the lines of the `.txt` format, faster where nothing is to be done."""

from __future__ import annotations

import operator
from typing import Any

from engine.model import Cue, Transcript
from engine.output import plain_text


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


def text_of(track: dict[str, Any]) -> str:
    """What is said, a line a line: the same as `plain_text.lines` of the track.

    Nearly all tracks are clean and do not roll. That can be seen in all cues at once, forty times as fast.
    """
    texts = [cue["text"] for cue in track["segments"]]
    joined = "\n".join(texts)
    if _is_clean(joined) and not (track.get("is_generated") is True and _may_roll(texts, joined)):
        return joined
    return "\n".join(plain_text.lines(transcript_of(track)))


def _is_clean(joined: str) -> bool:
    """Whether cleaning would change nothing. May be False for what is clean, as some emoji are."""
    flat = joined.replace("\n", " ")
    return flat.isprintable() and "  " not in flat and not flat.startswith(" ") and not flat.endswith(" ")


def _may_roll(texts: list[str], joined: str) -> bool:
    """Whether a cue might begin with what the one before shows: not when all have one line, each another one."""
    return joined.count("\n") >= len(texts) or any(map(operator.eq, texts, texts[1:]))
