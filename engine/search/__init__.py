"""Full-text search in the transcripts of a batch: an index in the user's cache directory that follows the manifest.

The index is derived, may be deleted at any time, and is never in the queue. An SQLite export with a full-text index
of its own can be searched instead. How such an export is made is for others.
"""

from engine.search.hits import SearchHit
from engine.search.searching import search

__all__ = ["SearchHit", "search"]
