"""Which egresses keep threads waiting without an answer, so that no more threads go and wait there.

A proxy that trickles or hangs costs each attempt its whole deadline. Long before enough deadlines have passed
for the budget to close it, all threads of a process would wait for it. So an egress that holds its fair share
of the threads and has not answered for long, while another has, gets no more for now. The limit is four
times the usual time of an answered attempt, at least 1 s. Memory of one process only.

Of many egresses each has less than a thread as its share, and those that hang together could still hold most of them:
each must lose several attempts before the budget closes it. So those that kept a thread waiting for nothing last time
get a sixteenth of the threads, all together, until they answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

STUCK_AFTER_S = 1.0  # at least
STUCK_AFTER_TIMES = 4.0  # times what an attempt usually takes
SUSPECTS_SHARE = 16  # of the threads, one in so many
SHARE = 0.1  # of the latest attempt in what is usual


class StuckEgresses:
    """The attempts under way by each of `egresses` egresses, in a process of `threads` threads.

    Not safe for threads: the scheduler's lock guards it.
    """

    def __init__(self, egresses: int, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fair = max(1, math.ceil(threads / egresses))
        self._clock = clock
        self._out = [0] * egresses
        self._suspect = [False] * egresses  # kept a thread waiting for nothing last time
        self._suspects_out = 0  # attempts under way by those
        self._suspects_may = max(self._fair, threads // SUSPECTS_SHARE)
        self._answered = [clock()] * egresses  # or when it went from idle to busy
        self._latest: tuple[float, int] = (0.0, -1)  # the last answer of all, and by which egress
        self._usual_s = 0.0
        self._before: float = 0.0  # the last answer of any other egress than that

    def begin(self, egress: int) -> None:
        """An attempt begins."""
        if not self._out[egress]:
            self._answered[egress] = self._clock()
        self._out[egress] += 1
        self._suspects_out += self._suspect[egress]

    def end(self, egress: int, took_s: float, *, answered: bool) -> None:
        """An attempt is over after `took_s`; `answered`: with an answer, whatever it said."""
        self._out[egress] -= 1
        self._suspects_out -= self._suspect[egress]
        suspect = not answered and (self._suspect[egress] or took_s >= STUCK_AFTER_S)
        self._suspects_out += (suspect - self._suspect[egress]) * self._out[egress]
        self._suspect[egress] = suspect
        if answered:
            now = self._clock()
            self._usual_s += SHARE * (took_s - self._usual_s)
            self._answered[egress] = now
            if self._latest[1] != egress:
                self._before = self._latest[0]
            self._latest = (now, egress)

    def is_stuck(self, egress: int) -> bool:
        """Whether another attempt by this egress would most likely only wait."""
        if self._suspect[egress] and self._suspects_out >= self._suspects_may:
            return True
        if self._out[egress] < self._fair:
            return False
        at, latest = self._latest
        others = self._before if latest == egress else at
        return others > self._answered[egress] + max(STUCK_AFTER_S, STUCK_AFTER_TIMES * self._usual_s)
