"""Reading what people have: lists of videos in text, tables and JSON."""

from engine.inputs.ids import video_id, why_not
from engine.inputs.keep import Keep
from engine.inputs.lines import Line
from engine.inputs.readers import read
from engine.inputs.rejects import Rejects
from engine.inputs.sources import Source, find_source, source_of

__all__ = [
    "Keep",
    "Line",
    "Rejects",
    "Source",
    "find_source",
    "read",
    "source_of",
    "video_id",
    "why_not",
]
