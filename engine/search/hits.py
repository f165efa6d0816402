"""One place where a search found something, and the line of context that shows it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.search.windows import SEPARATOR

OPEN, CLOSE = "\x01", "\x02"
"""What FTS5 is told to put around a hit; no transcript holds them."""

CONTEXT_CHARS = 160
_PARTS = re.compile(f"([{OPEN}{CLOSE}\n{SEPARATOR}])")
_SNAP_CHARS = 20  # how far a cut may move to fall between two words


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A place in a video. `text` is a line of context, `marks` where the hits lie in it, as (start, end).

    `start_s` is when the cue with the hit starts; None when that is not known, as in a title.
    """

    video_id: str
    title: str | None
    channel: str | None
    language: str | None
    start_s: float | None
    text: str
    marks: tuple[tuple[int, int], ...]

    @property
    def url(self) -> str:
        """The link into the video."""
        page = f"https://www.youtube.com/watch?v={self.video_id}"
        return page if self.start_s is None else f"{page}&t={int(self.start_s)}s"

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": 1, **asdict(self), "url": self.url}


@dataclass(frozen=True, slots=True)
class Marked:
    """A text in which FTS5 has marked hits. `lines` are the offsets at which its lines begin."""

    text: str
    marks: tuple[tuple[int, int], ...]
    lines: tuple[int, ...]

    @classmethod
    def parse(cls, highlighted: str) -> Marked:
        """Read FTS5's marks; line ends become blanks, separators vanish."""
        parts: list[str] = []
        marks: list[tuple[int, int]] = []
        lines = [0]
        at = opened = 0
        for part in _PARTS.split(highlighted):
            if part == OPEN:
                opened = at
            elif part == CLOSE:
                if at > opened:
                    marks.append((opened, at))
            elif part != SEPARATOR:
                parts.append(" " if part == "\n" else part)
                at += len(part)
                if part == "\n":
                    lines.append(at)
        return cls("".join(parts), tuple(marks), tuple(lines))

    def densest(self, width: int = CONTEXT_CHARS) -> tuple[int, int]:
        """The first stretch of text, at most so wide, with the most hits, from a hit's start to a hit's end."""
        best = (0, 0, 0)
        last = 0
        for first, (start, end) in enumerate(self.marks):
            last = max(last, first)
            while last + 1 < len(self.marks) and self.marks[last + 1][1] - start <= width:
                last += 1
            if last - first + 1 > best[0]:
                best = (last - first + 1, start, max(end, self.marks[last][1]))
        return best[1], best[2]

    def context(self, start: int, end: int, width: int) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The text around a stretch, cut to about `width` characters between words, and its marks."""
        room = max(0, width - (end - start))
        left = max(0, min(start - room // 2, len(self.text) - width))
        right = min(len(self.text), max(left + width, end))
        if left:
            space = self.text.find(" ", left, min(start, left + _SNAP_CHARS))
            left = space + 1 if space >= 0 else left
        if right < len(self.text):
            space = self.text.rfind(" ", max(end, right - _SNAP_CHARS), right)
            right = space if space >= 0 else right
        before, after = "…" if left else "", "…" if right < len(self.text) else ""
        shift = len(before) - left
        marks = tuple((a + shift, b + shift) for a, b in self.marks if a >= left and b <= right)
        return f"{before}{self.text[left:right]}{after}", marks

    def line_of(self, offset: int) -> int:
        """Which line holds this offset."""
        return bisect.bisect_right(self.lines, offset) - 1


def hit(
    about: Sequence[str | None], highlighted: str, starts: Sequence[float | None], width: int = CONTEXT_CHARS
) -> SearchHit:
    """The hit in a highlighted text. `about`: id, title, channel, language; `starts`: when each line begins."""
    found = Marked.parse(highlighted)
    begin, end = found.densest(width * 3 // 4)
    number = found.line_of(begin)
    text, marks = found.context(begin, end, width)
    start_s = starts[number] if number < len(starts) else None
    video_id, title, channel, language = about
    return SearchHit(video_id or "", title, channel, language, start_s, text, marks)
