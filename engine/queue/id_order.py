"""The order in which ids came into the queue, as one block of bytes to be looked up in."""

from __future__ import annotations

import numpy as np

from engine.errors import UsageError
from engine.queue.directory import Queue
from engine.queue.id_cache import numbers
from engine.queue.segments import read_ids

_RETRIES = 20  # while segments are joined


def id_order(queue: Queue) -> bytes:
    """The numbers of all ids, sorted, 8 bytes each, then the place of each from 1, 4 bytes each.

    Ids without a number are left out. Nothing where a segment cannot be read: `engine verify` says why.
    """
    for _ in range(_RETRIES):
        try:
            found = [numbers(list(read_ids(queue.segment(number)))) for number in sorted(queue.segments())]
        except FileNotFoundError:  # joined with others meanwhile
            continue
        except UsageError:
            break
        if not found:
            break
        keys = np.concatenate([each for each, _ in found])
        places = np.flatnonzero(np.concatenate([each for _, each in found]))
        places = places[np.argsort(keys[places], kind="stable")]
        return bytes(keys[places].astype("<u8").tobytes() + (places + 1).astype("<u4").tobytes())
    return b""
