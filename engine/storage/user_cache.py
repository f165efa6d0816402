"""Where files lie that belong to the user and no queue, and may be deleted at any time."""

from __future__ import annotations

import os


def user_cache(*names: str) -> str:
    """A path within `engine` in the user's cache directory, by the XDG Base Directory Specification.

    A relative XDG_CACHE_HOME is ignored, as the specification says.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "engine", *names)
