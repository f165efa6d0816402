"""Asks YouTube for a video's captions and metadata, and for the videos of channels, playlists and searches; turns
its answers and refusals into the engine's own values. No type of a foreign library leaves this package. Requests
are sent by `network`."""
