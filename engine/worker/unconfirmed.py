"""Answers without captions that nothing has confirmed yet: a list in the worker's memory.

YouTube answers "no captions" to addresses it does not trust, and two clients by the same address agree on it. So such
an answer is *unconfirmed* until its egress has shown captions to a request that was sent after it:

- any job's, which costs nothing;
- or a control video's, the *confirming fetch* (`engine.worker.control_video`).

The confirming fetch is sent when one of these is true:

- for 1 s nothing was in flight in this process, and nothing could begin;
- the oldest unconfirmed answer is 5 s old, and there are more chunks to claim;
- the oldest unconfirmed answer is 60 s old.

An egress sends at most one a minute. A lease in its budget record decides which process sends it.

If captions come, all earlier unconfirmed answers are final, provided the egress had also shown captions in the minute
before them. If it had not, as at the start of a run, they may come from the last seconds of a block. Then two of
these videos are fetched again. If neither has captions, all answers are final. If one has, all jobs go back to the
queue.

If they come only by a third way, the two that hide them are at fault, and the jobs go back to the queue. If none
come, the egress is blocked. Whenever an egress is blocked, for this or another reason, its unconfirmed
answers are dropped and their jobs go back to the queue, nothing charged.

A job whose answer is unconfirmed is off the threads, not in flight, and has no journal line: after a crash it is
fetched again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from engine.budget.limiter import Budget
from engine.budget.state import EgressState, State
from engine.errors import Interrupted
from engine.model import Permit
from engine.process.threads import start_thread
from engine.worker.control_video import ControlAnswer, ControlVideo
from engine.worker.results import Tried
from engine.worker.scheduler import Scheduler
from engine.worker.work import Work

QUIET_S = 1.0  # nothing in flight and nothing to begin for this long: no job will show captions
SOON_S = 5.0  # how long to wait for another job's captions while there is more to claim
LATE_S = 60.0  # the same when there is nothing more to claim
LATELY_S = 60.0  # captions this long before an answer are "shortly before" it: shorter than any block
ASKED_AGAIN = 2
AGAIN_S = 5.0  # the wait after a recheck that said nothing


@dataclass(frozen=True, slots=True)
class UnconfirmedAnswer:
    """An answer without captions, and when it came (monotonic clock). `shown_before`: whether its egress had shown
    captions shortly before."""

    work: Work
    tried: Tried
    at: float
    shown_before: bool = True


class Decided(NamedTuple):
    """What became of an answer: final, or its job is fetched again."""

    answer: UnconfirmedAnswer
    confirmed: bool


class Unconfirmed:
    """The unconfirmed answers of a process. `add` is for the fetching threads, all else for the main thread."""

    def __init__(
        self,
        budget: Budget,
        control: ControlVideo,
        scheduler: Scheduler,
        stop: threading.Event,
        pace: float,
        *,
        rotating: bool = False,
    ) -> None:
        self._budget = budget
        self._control = control
        self._scheduler = scheduler
        self._stop = stop
        self._pace = pace
        self._rotating = rotating  # each answer has been confirmed by other exits
        self._lock = threading.Lock()
        self._answers: list[UnconfirmedAnswer] = []
        self._quiet_since = 0.0
        self._discarded: dict[int, float] = {}  # by egress: what came before this is fetched again
        self._rechecked: dict[int, float] = {}  # by egress: what came before this needs no captions before it
        self._fetching: threading.Thread | None = None
        self._error: BaseException | None = None

    def __len__(self) -> int:
        with self._lock:
            return len(self._answers)

    def add(self, work: Work, tried: Tried) -> None:
        """Keep an answer until it is confirmed."""
        state, epoch = self._budget.peek(tried.permit.egress), tried.permit.epoch
        since = tried.began_at - LATELY_S / self._pace
        shown = state is not None and state.epoch == epoch and state.shown_at > max(0.0, since)
        with self._lock:
            self._answers.append(UnconfirmedAnswer(work, tried, time.monotonic(), shown or self._rotating))
        self._scheduler.attention.set()

    def decided(self) -> list[Decided]:
        """Take out what is decided by now, and have a control video asked for where that is due.

        Raises what a confirming fetch met that ends the process's work."""
        if self._error is not None:
            raise self._error
        with self._lock:
            answers = list(self._answers)
        now, found = time.monotonic(), []
        self._quiet_since = (self._quiet_since or now) if answers and self._scheduler.quiet else 0.0
        for egress in sorted({answer.tried.permit.egress for answer in answers}):
            mine = [answer for answer in answers if answer.tried.permit.egress == egress]
            state = self._budget.peek(egress)
            if state is None:  # damaged, and repaired by whoever locks it next
                continue
            decided = [each for answer in mine if (each := self._decide(answer, state)) is not None]
            found += decided
            alone = [answer for answer in mine if self._needs_recheck(answer, state)]
            if alone and not decided:
                self._recheck(egress, alone)
            elif len(decided) < len(mine) and self._is_due(mine[0].at, now) and now >= state.confirm_after:
                self._confirm(egress)
        self._drop(found)
        return found

    def take_rest(self) -> list[UnconfirmedAnswer]:
        """Take out all that is left, at the end: it is fetched again."""
        with self._lock:
            rest, self._answers = self._answers, []
        return rest

    def _decide(self, answer: UnconfirmedAnswer, state: EgressState) -> Decided | None:
        if state.shown_at > answer.at and not self._needs_recheck(answer, state):
            return Decided(answer, confirmed=True)
        discarded = answer.at < self._discarded.get(answer.tried.permit.egress, 0.0)
        if discarded or state.state != State.CLOSED or state.epoch != answer.tried.permit.epoch:
            return Decided(answer, confirmed=False)
        return None

    def _needs_recheck(self, answer: UnconfirmedAnswer, state: EgressState) -> bool:
        """Whether captions after an answer do not tell it from one in a block that has just ended."""
        rechecked = answer.at < self._rechecked.get(answer.tried.permit.egress, 0.0)
        return state.shown_at > answer.at and not answer.shown_before and not rechecked

    def _is_due(self, oldest: float, now: float) -> bool:
        quiet = self._quiet_since and now - self._quiet_since >= QUIET_S
        wait_s = LATE_S if self._scheduler.exhausted else SOON_S
        return bool(quiet) or now - oldest >= wait_s / self._pace

    def _drop(self, found: list[Decided]) -> None:
        gone = {id(each.answer) for each in found}
        with self._lock:
            self._answers = [answer for answer in self._answers if id(answer) not in gone]

    # ---- the confirming fetch ----------------------------------------------------------------------------
    def _confirm(self, egress: int) -> None:
        """Ask for a control video in a thread of its own, unless one has been asked for lately, here or elsewhere."""
        if self._fetching is not None and self._fetching.is_alive():
            return
        if self._budget.may_confirm(egress):
            self._fetching = start_thread(self._guarded, self._fetch, egress, name="confirm")

    def _fetch(self, egress: int) -> None:
        began_at = time.monotonic()
        permit = self._permit(egress)
        if permit is not None and self._control.ask(permit) in (ControlAnswer.NONE, ControlAnswer.HIDDEN):
            self._discarded[egress] = began_at

    def _recheck(self, egress: int, answers: list[UnconfirmedAnswer]) -> None:
        """Ask for some of the answers' videos again, in a thread of its own."""
        if self._fetching is not None and self._fetching.is_alive():
            return
        some = random.sample(answers, min(len(answers), ASKED_AGAIN))
        names = [answer.tried.job.video_id for answer in some]
        self._fetching = start_thread(self._guarded, self._ask_again, egress, names, name="recheck")

    def _ask_again(self, egress: int, names: list[str]) -> None:
        """None has captions by now: they may all be final. Else, or when nothing is known, all are fetched again."""
        began_at, bare = time.monotonic(), False
        for name in names:
            permit = self._permit(egress)
            found = self._control.ask_again(permit, name) if permit else ControlAnswer.NOTHING
            if found is ControlAnswer.CAPTIONS:
                bare = False
                break
            bare = bare or found is ControlAnswer.NONE
        (self._rechecked if bare else self._discarded)[egress] = began_at

    def _guarded(self, ask: Callable[..., None], *args: object) -> None:
        try:
            ask(*args)
        except Interrupted:
            pass
        except BaseException as exc:  # noqa: BLE001 - a thread's end must reach the main thread, whatever it was
            self._error = exc
        self._scheduler.attention.set()

    def _permit(self, egress: int) -> Permit | None:
        return self._budget.take(egress=egress, stop=self._stop, if_usable=True)
