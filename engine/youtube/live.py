"""Whether a video is, at this moment, an event that is to come, runs, or has just ended.

`isLiveContent` tells nothing of that: it stays true for the recording, for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.model import Failure, Kind

_STATES = (  # the first that is true decides
    ("isUpcoming", "the event has not begun"),
    ("isPostLiveDvr", "the event has just ended, and YouTube is still working on its recording"),
    ("isLive", "the event runs now"),
)


def not_yet(details: Mapping[str, Any]) -> Failure | None:
    """Why a video without captions may still get some, by its `videoDetails`; None for an ordinary video."""
    for key, message in _STATES:
        if details.get(key) is True:
            return Failure(Kind.NOT_YET, f"{message}: there are no captions yet")
    return None


def is_live(details: Mapping[str, Any]) -> bool | None:
    """Whether it is live now; None when nothing tells."""
    now = details.get("isLive")
    if isinstance(now, bool):
        return now
    return False if isinstance(details.get("isLiveContent"), bool) else None
