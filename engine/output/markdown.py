"""Markdown: YAML front matter, a title, and the transcript as paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engine.model import WATCH_URL, Record, Transcript
from engine.output.plain_text import one_line, spoken
from engine.output.yaml import flow

PARAGRAPH_S = 60.0
PAUSE_S = 3.0
SPEAKER = ">>"
"""What captions put where another person begins to speak."""

# What would become markup within a line. Brackets alone ([Music]) mean nothing.
_SPECIAL = re.compile(r"[\\`*_<~|]|\](?=[(\[])|\[(?=\[)|&(?=#?\w+;)")


def render(record: Record) -> str:
    """The record as Markdown. The front matter's values read back as they are in the record."""
    parts = ["---\n", *(f"{key}: {flow(value)}\n" for key, value in _front(record)), "---\n\n"]
    title = one_line(record.metadata.title or "") or record.video_id
    parts.append(f"# {_SPECIAL.sub(_escaped, title).replace('#', chr(92) + '#')}\n")
    chapters = list(record.metadata.chapters)
    for start_s, text in paragraphs(record.transcript, [chapter.start for chapter in chapters]):
        while chapters and chapters[0].start <= start_s:
            heading = one_line(chapters.pop(0).title)
            parts.append(f"\n## {_SPECIAL.sub(_escaped, heading).replace('#', chr(92) + '#')}\n")
        link = f"[{_clock(start_s)}]({WATCH_URL}{record.video_id}&t={int(start_s)}s)"
        parts.append(f"\n{link} {_SPECIAL.sub(_escaped, text)}\n")
    return "".join(parts)


def paragraphs(transcript: Transcript, chapters_s: Sequence[float] = ()) -> Iterator[tuple[float, str]]:
    """The transcript as (start in seconds, text on one line).

    A paragraph ends after about a minute, at a pause, where the captions mark another speaker, and where a chapter
    begins.
    """
    words: list[str] = []
    begins_s = list(chapters_s)
    start_s = end_s = 0.0
    for cue in spoken(transcript):
        for line in cue.text.split("\n"):
            over = (
                cue.start - start_s >= PARAGRAPH_S or cue.start - end_s > PAUSE_S or line.startswith(SPEAKER)
            )
            while begins_s and begins_s[0] <= cue.start:
                over = begins_s.pop(0) > start_s or over
            if words and over:
                yield start_s, " ".join(words)
                words = []
            if not words:
                start_s = cue.start
            words.append(line)
            end_s = cue.start + cue.duration
    if words:
        yield start_s, " ".join(words)


def _front(record: Record) -> Iterator[tuple[str, object]]:
    metadata, transcript = record.metadata, record.transcript
    yield "video_id", record.video_id
    yield "url", WATCH_URL + record.video_id
    yield "title", metadata.title
    yield "channel", metadata.channel
    yield "channel_id", metadata.channel_id
    yield "duration_s", metadata.duration_s
    yield "view_count", metadata.view_count
    for key in (
        "publish_date",
        "upload_date",
        "category",
        "like_count",
        "published",
        "thumbnail",
    ):  # countries are too many for a reader
        if (value := getattr(metadata, key)) is not None:
            yield key, value
    yield "keywords", metadata.keywords
    yield "description", metadata.description
    yield "language", transcript.language
    yield "language_name", transcript.language_name
    yield "is_generated", transcript.is_generated
    if transcript.translated_from is not None:
        yield "translated_from", transcript.translated_from
    yield "fetched_at", record.fetched_at
    yield "input", record.input


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _clock(time_s: float) -> str:
    minutes, s = divmod(int(time_s), 60)
    h, m = divmod(minutes, 60)
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m:02d}:{s:02d}"
