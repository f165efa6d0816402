"""Which ids the queue, or a list, holds already: 8 bytes each, in sorted arrays."""

from __future__ import annotations

from typing import Self

import numpy as np

from engine.errors import UsageError
from engine.queue import id_cache
from engine.queue.directory import Queue
from engine.queue.id_cache import Numbers, sorted_numbers, write_cache
from engine.queue.segments import read_ids

_RETRIES = 20  # while segments are gathered


class IdSet:
    """A set of ids."""

    def __init__(self) -> None:
        self._arrays: list[Numbers] = []
        self._odd: set[str] = set()

    @classmethod
    def from_packed(cls, packed: bytes, odd: list[str]) -> Self:
        """The set that `packed` was made of."""
        ids = cls()
        ids._merge(np.frombuffer(packed, "<u8").astype(np.uint64), odd)
        return ids

    def packed(self) -> tuple[bytes, list[str]]:
        """The numbers of all ids, 8 bytes each, in order and each once; and the ids without a number."""
        array = np.unique(np.concatenate(self._arrays)) if self._arrays else np.empty(0, np.uint64)
        return array.astype("<u8").tobytes(), sorted(self._odd)

    def update(self, other: IdSet) -> None:
        """Add what another set holds."""
        for array in other._arrays:
            self._merge(array, [])
        self._odd |= other._odd

    def missing(self, ids: list[str]) -> list[str]:
        """Those of these different ids that are not in the set, in order."""
        packed, plain = id_cache.numbers(ids)
        held = np.zeros(len(ids), bool)
        for array in self._arrays:
            at = np.searchsorted(array, packed)
            at[at == len(array)] = 0
            held |= array[at] == packed
        held &= plain
        for i in np.flatnonzero(~plain):
            held[i] = ids[i] in self._odd
        return [ids[i] for i in np.flatnonzero(~held)]

    def add(self, ids: list[str]) -> None:
        """Add these ids; cheapest for many at once."""
        self._merge(*sorted_numbers(ids))

    def _merge(self, array: Numbers, odd: list[str]) -> None:
        """Keep few arrays, each at least twice the next: then a look-up costs little, and so does adding."""
        self._odd.update(odd)
        if not len(array):
            return
        self._arrays.append(array)
        while len(self._arrays) > 1 and len(self._arrays[-2]) < 2 * len(self._arrays[-1]):
            last, before = self._arrays.pop(), self._arrays.pop()
            merged = np.concatenate([before, last])
            merged.sort(kind="stable")
            self._arrays.append(merged)


class QueueIds(IdSet):
    """The ids of all published segments; `read_only` leaves the caches as they are.

    With `lazy` a large cache is read completely only when enough ids are asked for; for a few, only the blocks where
    they would be are read. So one more id costs little, however many there are.
    """

    def __init__(self, queue: Queue, *, read_only: bool = False, lazy: bool = False) -> None:
        super().__init__()
        self._queue = queue
        self._read_only = read_only
        self._unread: dict[int, int] = {}  # jobs of the segments whose caches were not read completely
        for _ in range(_RETRIES):
            segments = queue.segments()
            try:
                for segment in segments:
                    self._include(segment, lazy=lazy)
                return
            except UsageError:
                if queue.segments() == segments:
                    raise
                super().__init__()  # without a lock: a segment was gathered into another meanwhile
                self._unread.clear()

    def _include(self, segment: int, *, lazy: bool) -> None:
        jobs = self._queue.header(segment).jobs
        if lazy and jobs >= id_cache.INDEXED_IDS:
            self._unread[segment] = jobs
        else:
            self._load(segment, jobs)

    def missing(self, ids: list[str]) -> list[str]:
        left = super().missing(ids)
        for segment, jobs in list(self._unread.items()):
            found = None
            if len(left) <= jobs // id_cache.BLOCK_IDS // 4:
                found = id_cache.look_up(self._queue.ids(segment), jobs, left)
            if found is None:
                del self._unread[segment]
                self._load(segment, jobs, renew=True)
                found = set(left).difference(super().missing(left))
            left = [video_id for video_id in left if video_id not in found]
        return left

    def _load(self, segment: int, jobs: int, *, renew: bool = False) -> None:
        """Add the ids of a segment, from its cache or else from its file. `renew` writes an intact cache again."""
        cached = id_cache.read_cache(self._queue, segment, jobs)
        if cached is not None:
            self._merge(*cached)
            if jobs >= id_cache.INDEXED_IDS and renew and not self._read_only:
                id_cache.publish_cache(self._queue, segment, *cached)
            return
        ids = list(read_ids(self._queue.segment(segment)))
        if self._read_only:
            self.add(ids)
        else:
            self.add_segment(segment, ids)

    def add_segment(self, segment: int, ids: list[str]) -> None:
        """Add the ids of a segment, and write its cache."""
        self._merge(*write_cache(self._queue, segment, ids))
