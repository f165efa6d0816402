"""Reading what people have: lists of videos in text, tables and JSON."""

from engine.inputs.ids import video_id, why_not
from engine.inputs.keep import Keep
from engine.inputs.lines import Line
from engine.inputs.readers import read
from engine.inputs.rejects import Rejects

__all__ = ["Keep", "Line", "Rejects", "read", "video_id", "why_not"]
