"""Reading what rows name, whether it lies in a file of its own or in a shard. All readers come through here."""

from __future__ import annotations

import hashlib
import os
import re

from engine.output import ownership, shard_index, shards
from engine.output.formats import RECORD

_FILE = re.compile(r"([A-Za-z0-9_-]{2})/\1[A-Za-z0-9_-]{9}\.[a-z]+")


def read(root: str, place: str) -> bytes | None:
    """What lies at the place that a row names, in this output directory; None when it cannot be read."""
    if _FILE.fullmatch(place) is None:
        frame = shards.Frame.parse(place)
        return shards.read_frame(root, frame) if frame is not None else None
    try:
        fd = os.open(os.path.join(root, place), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, os.fstat(fd).st_size + 1)
        while more := os.read(fd, 1 << 20):
            data += more
        return data
    except OSError:
        return None
    finally:
        os.close(fd)


def sha256(root: str, place: str) -> str | None:
    """The sha256 of what lies at a place, in hex; None when it cannot be read."""
    if _FILE.fullmatch(place) is not None:
        return ownership.sha256(os.path.join(root, place))
    data = read(root, place)
    return hashlib.sha256(data).hexdigest() if data is not None else None


def is_there(root: str, place: str) -> bool:
    """Whether anything lies at a place; what it is is not looked at."""
    if _FILE.fullmatch(place) is not None:
        return os.path.isfile(os.path.join(root, place))
    frame = shards.Frame.parse(place)
    try:
        return frame is not None and os.stat(shards.path_of(root, frame.shard)).st_size >= frame.end
    except OSError:
        return False


def find(root: str, store: str, video_id: str) -> str | None:
    """The place of a video's record by its id alone; None when there is none. `store` as the first run fixed it."""
    if store == shards.DIR:
        return shard_index.find(root, video_id)
    place = f"{video_id[:2]}/{video_id}.{RECORD}"
    return place if os.path.exists(os.path.join(root, place)) else None
