"""Reading what people have: lists of videos in text, tables and JSON."""

from engine.inputs.ids import video_id, why_not
from engine.inputs.lines import Line
from engine.inputs.readers import read
from engine.inputs.rejects import Rejects
from engine.inputs.sources import Source, find_source

__all__ = ["Line", "Rejects", "Source", "find_source", "read", "video_id", "why_not"]
