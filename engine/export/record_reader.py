"""Reading the records that rows name: the one place that knows how an output directory stores them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import orjson

from engine.output.formats import RECORD

_PATH = re.compile(r"([A-Za-z0-9_-]{2})/\1[A-Za-z0-9_-]{9}\.json")


class RecordReader:
    """Reads records of one output directory. A later way to store them is another branch of `read`."""

    def __init__(self, output: str | None) -> None:
        self._output = output

    def read(self, row: Mapping[str, Any]) -> bytes | None:
        """The record of an `ok` row as JSON; None when it cannot be read."""
        files = row.get("files")
        path = files.get(RECORD) if isinstance(files, dict) else None
        if self._output is None or not isinstance(path, str) or not _PATH.fullmatch(path):
            return None
        try:
            fd = os.open(os.path.join(self._output, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            data = os.read(fd, os.fstat(fd).st_size + 1)
            while more := os.read(fd, 1 << 20):
                data += more
            return data
        except OSError:
            return None
        finally:
            os.close(fd)


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
    try:  # the same places are read again and again: look once that they are there
        for segment in segments:
            if type(segment["text"]) is not str or type(segment["start"]) is str:
                return None
            segment["duration"]
    except (TypeError, KeyError):
        return None
    return value
