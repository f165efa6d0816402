"""SubRip and WebVTT: cues in order, none of them overlapping."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from engine.model import Record, Transcript
from engine.output.plain_text import spoken

MAX_GUESSED_MS = 2_000
"""How long a cue is shown that has no duration of its own, unless another follows earlier."""

# SubRip knows no escapes, and players take any line with an arrow for times.
_ARROW = re.compile("(?<!-)-{2,}+>")
# Some readers begin a new cue at a number alone on a line in front of a time, without an arrow.
_NUMBER_LINE = re.compile(r"^([0-9]+)\n(?=[0-9]+[:.,][0-9]+[:.,][0-9])", re.MULTILINE)


class Timed(NamedTuple):
    """A cue with whole milliseconds; `end_ms` > `start_ms`."""

    start_ms: int
    end_ms: int
    text: str


def srt(record: Record) -> str:
    """The transcript as SubRip."""
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_srt_text(text)}\n\n"
        for number, (start, end, text) in enumerate(timed(record.transcript), 1)
    )


def _srt_text(text: str) -> str:
    """A cue's text, in which no reader finds the beginning of another cue."""
    return _NUMBER_LINE.sub(r"\1 ", _ARROW.sub("->", text))


def vtt(record: Record) -> str:
    """The transcript as WebVTT."""
    parts = ["WEBVTT\n"]
    for start, end, text in timed(record.transcript):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts.append(f"\n{_clock(start, '.')} --> {_clock(end, '.')}\n{escaped}\n")
    return "".join(parts)


def timed(transcript: Transcript) -> list[Timed]:
    """Cues sorted by start, each ending where the next begins at the latest.

    Cues that begin in the same millisecond become one: the former would be shown for no time.
    """
    texts: dict[int, list[str]] = {}
    lengths_ms: dict[int, int] = {}
    for cue in sorted(spoken(transcript), key=lambda cue: cue.start):
        start_ms = round(cue.start * 1000)
        texts.setdefault(start_ms, []).append(cue.text)
        lengths_ms[start_ms] = max(lengths_ms.get(start_ms, 0), round(cue.duration * 1000))
    starts = list(texts)
    result = []
    for start_ms, next_ms in itertools.zip_longest(starts, starts[1:]):
        end_ms = start_ms + (lengths_ms[start_ms] or MAX_GUESSED_MS)
        result.append(
            Timed(start_ms, end_ms if next_ms is None else min(end_ms, next_ms), "\n".join(texts[start_ms]))
        )
    return result


def _clock(time_ms: int, point: str) -> str:
    seconds, ms = divmod(time_ms, 1000)
    minutes, s = divmod(seconds, 60)
    h, m = divmod(minutes, 60)
    return f"{h:02d}:{m:02d}:{s:02d}{point}{ms:03d}"
