"""Reading the records that rows name: the one place that knows how an output directory stores them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import orjson

from engine.output.formats import RECORD

_PATH = re.compile(r"([A-Za-z0-9_-]{2})/\1[A-Za-z0-9_-]{9}\.json")


_START, _DURATION, _TEXT = map(itemgetter, ("start", "duration", "text"))
_NUMBERS = {int, float}


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
    try:  # looked at once, so that nobody else has to
        numbers = set(map(type, itertools.chain(map(_START, segments), map(_DURATION, segments))))
        texts = set(map(type, map(_TEXT, segments)))
    except (TypeError, KeyError):
        return None
    return value if numbers <= _NUMBERS and texts <= {str} else None
