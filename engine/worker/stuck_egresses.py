"""Which egresses keep threads waiting without an answer, so that no more threads go and wait there.

A proxy that trickles or hangs costs each attempt its whole deadline. Long before enough deadlines have passed
for the budget to close it, all threads of a process would wait for it. So an egress that owes an answer for long,
while another has answered, is *silent*: it gets no more than its fair share of the threads. Long is four times the
usual time of an answered attempt, or of its own last one, at least 1 s. The budget file tells each process since when
an answer is awaited, whoever asked.

Of many egresses each has less than a thread as its share, and those that hang together could still hold most of them:
each must lose several attempts before the budget closes it, and then its probes hang as well. So all that are silent,
or kept a thread waiting for nothing last time, get a sixteenth of the threads together, until they answer. And where
there are twice as many egresses as threads, nobody else goes to one while its answer may still come: another is free
as soon.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

STUCK_AFTER_S = 1.0  # at least
STUCK_AFTER_TIMES = 4.0  # times what an attempt usually takes
SUSPECTS_SHARE = 16  # of the threads, one in so many
PLENTY = 2  # egresses for each thread of the run
SHARE = 0.1  # of the latest attempt in what is usual


class StuckEgresses:
    """The attempts under way by each of `egresses` egresses, in a process of `threads` threads, one of `processes`.

    Not safe for threads: the scheduler's lock guards it.
    """

    def __init__(
        self,
        egresses: int,
        threads: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        processes: int = 1,
    ) -> None:
        self._fair = max(1, math.ceil(threads / egresses))
        self._plenty = egresses >= PLENTY * threads * processes
        self._clock = clock
        self._out = [0] * egresses
        self._suspect = [False] * egresses  # silent, or kept a thread waiting for nothing last time
        self._suspects_out = 0  # attempts under way by those
        self._suspects_may = max(self._fair, threads // SUSPECTS_SHARE)
        self._took_s = [0.0] * egresses  # the last answered attempt
        self._latest: tuple[float, int] = (0.0, -1)  # the last answer of all, and by which egress
        self._usual_s = 0.0
        self._before: float = 0.0  # the last answer of any other egress than that

    def begin(self, egress: int) -> None:
        """An attempt begins."""
        self._out[egress] += 1
        self._suspects_out += self._suspect[egress]

    def end(self, egress: int, took_s: float, *, answered: bool) -> None:
        """An attempt is over after `took_s`; `answered`: with an answer, whatever it said."""
        self._out[egress] -= 1
        self._suspects_out -= self._suspect[egress]
        self._note(egress, not answered and (self._suspect[egress] or took_s >= STUCK_AFTER_S))
        if answered:
            now = self._clock()
            self._usual_s += SHARE * (took_s - self._usual_s)
            self._took_s[egress] = took_s
            if self._latest[1] != egress:
                self._before = self._latest[0]
            self._latest = (now, egress)

    def is_stuck(self, egress: int, asked_at: float) -> bool:
        """Whether another attempt by this egress, which owes an answer since `asked_at` (0: it owes none), would most
        likely only wait."""
        at, latest = self._latest
        others = self._before if latest == egress else at
        long_s = max(STUCK_AFTER_S, STUCK_AFTER_TIMES * max(self._usual_s, self._took_s[egress]))
        if not asked_at:
            self._note(egress, False)  # another process had its answer
            return False
        if others > asked_at + long_s:
            self._note(egress, True)
        if self._suspect[egress]:
            return self._out[egress] >= self._fair or self._suspects_out >= self._suspects_may
        return self._plenty and self._clock() < asked_at + long_s

    def _note(self, egress: int, suspect: bool) -> None:
        self._suspects_out += (suspect - self._suspect[egress]) * self._out[egress]
        self._suspect[egress] = suspect
