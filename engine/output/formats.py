"""Writing what people get: a record in each of its formats. Pure functions, nothing touches the disk."""

from __future__ import annotations

from engine.errors import UsageError
from engine.model import Record
from engine.output import markdown, plain_text, subtitles
from engine.output.json_record import from_json, to_json
from engine.output.terminal import printable

__all__ = ["FORMATS", "from_json", "printable", "render", "to_json"]

_RENDERERS = {"md": markdown.render, "txt": plain_text.render, "srt": subtitles.srt, "vtt": subtitles.vtt}
FORMATS = tuple(_RENDERERS)


def render(record: Record, fmt: str) -> bytes:
    """The record as a file of this format, in UTF-8. UsageError for a format that is not in FORMATS."""
    if fmt not in _RENDERERS:
        raise UsageError(f"no format {fmt!a}: choose from {', '.join(FORMATS)}")
    return _RENDERERS[fmt](record).encode("utf-8", "replace")
