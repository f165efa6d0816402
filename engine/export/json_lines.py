"""JSON lines: a video or a passage a line, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from engine.export.passages import passages
from engine.export.spoken_text import transcript_of
from engine.output.plain_text import replaced, spoken


def line(value: Mapping[str, Any]) -> bytes:
    """One value. Numbers that orjson cannot hold are written by the slower library."""
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # whole numbers beyond 64 bits, lone surrogates
        return replaced(json.dumps(value, ensure_ascii=False, separators=(",", ":"))).encode() + b"\n"


def passage_lines(
    values: Mapping[str, Any], record: Mapping[str, Any], words: int, overlap: int
) -> Iterator[bytes]:
    """The passages of a video, each with where it begins and ends, and a link to there."""
    about = {name: values[name] for name in ("title", "channel", "published", "language")}
    cues = spoken(transcript_of(record["transcript"]))
    for number, passage in enumerate(passages(cues, words, overlap)):
        yield line(
            {
                "id": f"{values['id']}:{number}",
                "video_id": values["id"],
                "start": round(passage.start_s, 3),
                "end": round(passage.end_s, 3),
                "url": f"{values['url']}&t={int(passage.start_s)}s",
                **about,
                "words": passage.words,
                "text": passage.text,
            }
        )
