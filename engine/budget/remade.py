"""A budget file that somebody removed or replaced: what the new one takes over from the old.

Each process has the file open, so the old content is there as long as one of them lives. What was granted there
counts: else each removal would hand out slots a second time. Of two records the one with the later slot is the newer.
"""

from __future__ import annotations

from engine.budget.state import RECORD_BYTES, EgressState, offset, pack, unpack, unpack_header

SETTLE_S = 0.3  # a little more than a thread sleeps that waits for a permit


def taken_over(old: bytes, new: bytes, now: float) -> list[tuple[int, bytes]]:
    """What to write into the new file, as (where, bytes). `old` and `new` are the files' contents.

    A new one that is empty becomes the old one, with nothing to be granted for a moment: another process may know of
    later slots, in a file between these two, and comes by until then. Longer than that would be for ever where the
    file is removed each second. Into a new one that is not empty go the records that are newer in the old.
    """
    if unpack_header(old[:RECORD_BYTES]) is None:
        return []
    before = _records(old)
    if not new:
        found = []
        for at, state in before:
            tat = max(state.tat, now + min(state.interval, SETTLE_S))
            found.append((at, pack(state._replace(tat=tat))))
        return [*found, (0, old[:RECORD_BYTES])] if found else []
    newer = {state.key: state for _, state in before}
    return [
        (at, pack(newer[state.key]))
        for at, state in _records(new)
        if state.key in newer and newer[state.key].tat > state.tat
    ]


def _records(data: bytes) -> list[tuple[int, EgressState]]:
    found = []
    for at in range(offset(0), len(data), RECORD_BYTES):
        state = unpack(data[at : at + RECORD_BYTES])
        if state is not None:
            found.append((at, state))
    return found
