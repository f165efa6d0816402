"""A multiprocess batch engine with a file-based queue for YouTube transcripts and their metadata."""

__version__ = "0.1.0"
