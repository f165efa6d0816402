"""Counts over time in bounded memory, and spans of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

STEPS_S = (1, 5, 15, 60, 300, 900, 3600, 21_600, 86_400)
MAX_BINS = 5000


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds since 1970, and why it is noted."""

    since: float
    until: float
    why: str = ""

    @property
    def length_s(self) -> float:
        return max(0.0, self.until - self.since)

    def within(self, since: float, until: float) -> float:
        """How many of its seconds lie between these times."""
        return max(0.0, min(self.until, until) - max(self.since, since))


@dataclass(slots=True)
class Timeline:
    """How many things happened when. Bins widen when there are too many, so memory does not grow with the count."""

    bins: Counter[int] = field(default_factory=Counter)  # start of a bin, in steps since 1970
    _step: int = 0

    @property
    def step_s(self) -> int:
        return STEPS_S[self._step]

    def add(self, at_s: int) -> None:
        self.bins[at_s // self.step_s] += 1
        if len(self.bins) > MAX_BINS and self._step + 1 < len(STEPS_S):
            self._widen()

    def _widen(self) -> None:
        ratio = STEPS_S[self._step + 1] // self.step_s
        wider: Counter[int] = Counter()
        for at, count in self.bins.items():
            wider[at // ratio] += count
        self.bins, self._step = wider, self._step + 1

    def span(self) -> Span | None:
        """From the first to the last of them."""
        if not self.bins:
            return None
        return Span(min(self.bins) * self.step_s, max(self.bins) * self.step_s)

    def last_before(self, until: float) -> float:
        """The start of the last bin that begins before `until`; 0 when there is none."""
        return float(max((at * self.step_s for at in self.bins if at * self.step_s < until), default=0))

    def columns(self, since: float, until: float, most: int) -> tuple[int, float, list[int]]:
        """(step in seconds, start, counts): the time from `since` to `until` in at most `most` equal, round steps."""
        step = next(
            (
                length
                for length in STEPS_ROUND_S
                if length >= self.step_s and (until - since) / length < most - 1
            ),
            max(STEPS_ROUND_S[-1], self.step_s, round((until - since) / (most - 2))),
        )
        first = int(since // step)
        counts = [0] * (int(until // step) - first + 1)
        for at, count in self.bins.items():
            number = at * self.step_s // step - first
            if 0 <= number < len(counts):
                counts[number] += count
        return step, float(first * step), counts


STEPS_ROUND_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800,
)  # fmt: skip


def joined(spans: Iterable[Span], *, gap_s: float = 1.0) -> Iterator[Span]:
    """The spans, given in order of time; those for the same reason that follow within `gap_s` become one."""
    last: Span | None = None
    for span in spans:
        if last is not None and span.why == last.why and span.since - last.until <= gap_s:
            last = Span(last.since, max(last.until, span.until), last.why)
        else:
            if last is not None:
                yield last
            last = span
    if last is not None:
        yield last
