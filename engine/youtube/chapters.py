"""Chapters: as the description of a video lists them, or as YouTube marks them on the bar below the picture.

YouTube makes chapters of a list of times and titles when it begins at 0:00, has at least three times, and they ascend
(support.google.com/youtube/answer/9884579). Those that it finds itself are not in the player's answers, but in what
the watch page shows around the player (`/next`), at two places by age (yt-dlp and YouTube.js read them).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from engine.model import Chapter
from engine.youtube import player

AT_LEAST = 3
MAX_CHAPTERS = 500
MAX_LINE_CHARS = 300  # longer lines are prose
_TIME = r"(?:(\d{1,2}):)?([0-5]?\d):([0-5]\d)"
_FIRST = re.compile(rf"[\W_]{{0,8}}(?:\d{{1,3}}[.)]\s{{1,4}})?[\[(]?{_TIME}(?!:?\d)")
_LAST = re.compile(rf"(?<![\d:]){_TIME}[\])]?\W{{0,4}}")
_BETWEEN = " \t-–—:|•·>→.,~*"
_END_OF_RANGE = re.compile(rf"^\s*[-–—~]\s*{_TIME}[\])]?(?!:?\d)")


def listed_chapters(description: str | None, duration_s: int | None = None) -> tuple[Chapter, ...]:
    """The chapters that a description lists, empty when it lists none. Times are seconds from the start."""
    if not description or "0:00" not in description:
        return ()
    found: list[Chapter] = []
    for line in description.splitlines():
        chapter = _read(line)
        if chapter is None:
            continue
        if not found:
            found = [chapter] if chapter.start == 0 else []
        elif chapter.start > found[-1].start:
            found.append(chapter)
        elif len(found) >= AT_LEAST:
            break  # another list begins
        else:
            found = [chapter] if chapter.start == 0 else []
    if duration_s:
        found = [chapter for chapter in found if chapter.start < duration_s]
    return tuple(found[:MAX_CHAPTERS]) if len(found) >= AT_LEAST else ()


def marked_chapters(answer: Any) -> tuple[Chapter, ...]:
    """The chapters in an answer of `/next`, empty when it marks none."""
    overlay = player.at(answer, "playerOverlays", "playerOverlayRenderer", "decoratedPlayerBarRenderer")
    bar = player.at(overlay, "decoratedPlayerBarRenderer", "playerBar")
    lists = [player.at(bar, "chapteredPlayerBarRenderer").get("chapters")]
    markers = player.items(player.at(bar, "multiMarkersPlayerBarRenderer").get("markersMap"))
    lists += [player.at(marker, "value").get("chapters") for marker in markers]
    for listed in lists:
        found: list[Chapter] = []
        for item in player.items(listed)[:MAX_CHAPTERS]:
            chapter = _marked(player.at(item, "chapterRenderer"))
            if chapter is not None and (not found or chapter.start > found[-1].start):
                found.append(chapter)
        if found:
            return tuple(found)
    return ()


def _marked(renderer: Mapping[str, Any]) -> Chapter | None:
    start_ms, title = renderer.get("timeRangeStartMillis"), renderer.get("title")
    if isinstance(start_ms, str) and start_ms.isascii() and start_ms.isdigit() and len(start_ms) <= 12:
        start_ms = int(start_ms)
    if isinstance(start_ms, bool) or not isinstance(start_ms, (int, float)) or not 0 <= start_ms < math.inf:
        return None
    text = player.text(title)[:MAX_LINE_CHARS].encode("utf-8", "replace").decode("utf-8").strip()
    return Chapter(start_ms / 1000, text) if text else None


def _read(line: str) -> Chapter | None:
    """The chapter in a line: a time and then a title, or a title and then a time."""
    line = line.strip()
    if not 5 < len(line) <= MAX_LINE_CHARS or ":" not in line:
        return None
    match = _FIRST.match(line)
    if match is not None:
        rest = line[match.end() :]
        over = _END_OF_RANGE.match(rest)  # `0:00 - 1:30 Intro`
        title = rest[over.end() :] if over else rest
    else:
        match = next((m for m in _LAST.finditer(line) if m.end() == len(line)), None)
        if match is None:
            return None
        title = line[: match.start()]
    title = _balanced(title.strip().strip(_BETWEEN))
    if not title:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return Chapter(float(hours * 3600 + minutes * 60 + seconds), title)


def _balanced(title: str) -> str:
    """A title without the bracket that belonged to its time: `) Intro`, `Intro (`."""
    for opens, closes in ("()", "[]"):
        if title.startswith(closes):
            title = title[1:].strip(_BETWEEN)
        if title.endswith(opens):
            title = title[:-1].strip(_BETWEEN)
    return title
