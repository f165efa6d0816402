"""Reading the records that rows name, and checking that they are records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from engine.output import stored
from engine.output.formats import RECORD

_NUMBERS = {int, float}


class RecordReader:
    """Reads records of one output directory, however it stores them."""

    def __init__(self, output: str | None) -> None:
        self._output = output

    def read(self, row: Mapping[str, Any]) -> bytes | None:
        """The record of an `ok` row as JSON; None when it cannot be read."""
        files = row.get("files")
        path = files.get(RECORD) if isinstance(files, dict) else None
        if self._output is None or not isinstance(path, str):
            return None
        return stored.read(self._output, path)


def parse_record(data: bytes | None, video_id: str) -> dict[str, Any] | None:
    """The record as a JSON object; None when it is none, or another video's."""
    try:
        value = orjson.loads(data) if data is not None else None
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("video_id") != video_id:
        return None
    track = value.get("transcript")
    segments = track.get("segments") if isinstance(track, dict) else None
    if not isinstance(segments, list) or not isinstance(value.get("metadata"), dict):
        return None
    return value if _are_segments(segments) else None


def _are_segments(segments: list[Any]) -> bool:
    """Whether each has two numbers and a text: looked at once, so that nobody else has to."""
    try:
        for segment in segments:
            start, duration = type(segment["start"]), type(segment["duration"])
            if (start is not float or duration is not float) and not {start, duration} <= _NUMBERS:
                return False
            if type(segment["text"]) is not str:
                return False
    except (TypeError, KeyError):
        return False
    return True
