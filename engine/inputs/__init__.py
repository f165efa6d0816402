"""Reading what people have: lists of videos in text, tables and JSON."""

from engine.inputs.kept_columns import Keep
from engine.inputs.line import Line
from engine.inputs.reader import read
from engine.inputs.rejects import Rejects
from engine.inputs.sources import Source, find_source, source_of
from engine.inputs.video_ids import video_id, why_not

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
