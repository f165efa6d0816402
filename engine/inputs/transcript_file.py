"""A file, or a part of one, that holds a video's transcript or something about the video."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from enum import Enum

from engine.inputs import exported_tables
from engine.storage import zstd

MAX_FILE_BYTES = 64 << 20


class Form(Enum):
    """What a file holds."""

    CAPTIONS = "captions"
    JSON = "JSON"
    JSON_PART = "a part that is JSON"
    ROWS = "rows of a table"
    ROW = "a row of a database or a Parquet file"
    SECTION = "a section of a text"
    FRAME = "a frame of a shard"
    ABOUT = "about the video"
    UNTIMED = "text without times"


@dataclass(frozen=True, slots=True)
class TranscriptFile:
    """A file, or a part of one, that belongs to a video. `language` is a code, None where the name has none.

    `offset`, `length`: where the part lies in the file; length 0 means all of it. Of a `ROW` its number, and 1.
    """

    path: str
    video_id: str
    form: Form
    language: str | None = None
    offset: int = 0
    length: int = 0

    def read(self) -> bytes:
        """The bytes: of a frame what it holds, of rows with the line that names their columns, of a `ROW` JSON.

        Raises OSError, and ValueError for a file that is too large, or a frame or row that is damaged.
        """
        if self.form is Form.ROW:
            return json.dumps(exported_tables.row(self.path, self.offset), default=str).encode()
        with open(self.path, "rb") as file:
            size = self.length or os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ValueError(f"more than {MAX_FILE_BYTES >> 20} MiB: no transcript is so long")
            head = file.readline() if self.form is Form.ROWS and self.offset else b""
            file.seek(self.offset)
            data = head + file.read(size)
        if self.form is not Form.FRAME:
            return data
        record = zstd.decompress(data, MAX_FILE_BYTES)
        if record is None:
            raise ValueError(f"the frame at byte {self.offset} is damaged")
        return record

    @property
    def title(self) -> str | None:
        """The title in a name that yt-dlp or an export made."""
        found = re.match(rf"(.*?)\[{self.video_id}(?:~[0-9a-f]+)?\]", os.path.basename(self.path))
        return found[1].strip() or None if found else None
