"""Reading what people have: lists of videos as text, tables, workbooks, JSON, pages and Google Takeouts.

It turns a source into `Line`s, each with a video id or the reason why there is none. It knows nothing of queues: what
becomes of the lines is `engine.seeding`'s business, and listing a channel is `engine.youtube`'s.
"""

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
