"""The list of output formats. A new format is a module with a `Record -> str` function, and one line here.

What needs the names (options, sweeping, the audit) takes them from FORMATS. Nothing here touches the disk.
"""

from __future__ import annotations

from engine.errors import UsageError
from engine.model import Record
from engine.output import markdown, plain_text, subtitles
from engine.output.json_record import from_json, to_json

__all__ = ["FORMATS", "RECORD", "SUFFIXES", "from_json", "render", "to_json"]

_RENDERERS = {
    "md": markdown.render,
    "txt": plain_text.render,
    "srt": subtitles.srt,
    "vtt": subtitles.vtt,
}
FORMATS = tuple(_RENDERERS)
RECORD = "json"
"""The suffix of the record, which is always written; every other file is rendered from it."""
SUFFIXES = (RECORD, *FORMATS)


def render(record: Record, fmt: str) -> bytes:
    """The record as a file of this format, in UTF-8. UsageError for a format that is not in FORMATS."""
    if fmt not in _RENDERERS:
        raise UsageError(f"no format {fmt!a}: choose from {', '.join(FORMATS)}")
    return _RENDERERS[fmt](record).encode("utf-8", "replace")
