"""A budget file that somebody removed or replaced: what the new one takes over from the old.

Each process has the file open, so the old content is there as long as one of them lives. What was granted there
counts: else each removal would hand out slots a second time. Of two records the one with the later slot is the newer.
"""

from __future__ import annotations

from engine.budget.state import RECORD_BYTES, EgressState, offset, pack, unpack, unpack_header


def taken_over(old: bytes, new: bytes, now: float) -> list[tuple[int, bytes]]:
    """What to write into the new file, as (where, bytes). `old` and `new` are the files' contents.

    A new one that is empty becomes the old one, with nothing to be granted for an interval: by others more may have
    been granted than this process knows. Into another one go the records that are newer in the old.
    """
    if unpack_header(old[:RECORD_BYTES]) is None:
        return []
    before = _records(old)
    if not new:
        waiting = [
            (at, pack(state._replace(tat=max(state.tat, now + state.interval)))) for at, state in before
        ]
        return [*waiting, (0, old[:RECORD_BYTES])] if waiting else []
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
