"""The control video: one that is known to have captions, asked for to learn how an egress stands.

YouTube refuses an address it does not trust, or answers it "no captions" to everything. A video of the queue cannot
tell that from a failure of its own, so one that has captions is asked for instead, in the ways a job is:
- as the half-open probe of an egress that was blocked or offline, so that no job is spent on it;
- as the *confirming fetch*, while answers without captions wait for anybody's captions (`engine.worker.unconfirmed`);
- ahead of a refused job when nothing else has passed since: that job cannot say whether it or its egress is meant.

It is a random one of the last 100 videos that this egress fetched, else one that another egress fetched, else one of
`--control-video`, by default built-in public ones of three channels. Its requests count for the egress and no video.

| the control video                               | the egress                                                    |
|-------------------------------------------------|---------------------------------------------------------------|
| has captions, in whatever language              | works                                                         |
| has captions that two ways hide, three do so    | works, and nothing is confirmed: these ways are soon off      |
| has none, and had some when it was fetched      | is blocked                                                    |
| has none, nor have the next two                 | is blocked; the message names `--control-video`               |
| is refused, or its connection is lost           | stands as that says; nothing further is sent                  |
| is removed, region-blocked …                    | nothing: the next one is asked for, three at most             |

Behind a rotating gateway no captions say something of one exit only: the gateway is blocked after 20 in a row.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from enum import Enum

from engine.budget import Outcome
from engine.budget.limiter import Budget
from engine.errors import Interrupted
from engine.model import Fetched, Kind, Permit
from engine.network.large_answers import large_slot
from engine.queue import events
from engine.queue.directory import Queue
from engine.queue.manifest import read_lines
from engine.settings import Settings
from engine.worker.context import another_permit
from engine.worker.results import outcome_of, shows_captions
from engine.youtube.fetcher import Fetcher
from engine.youtube.way_rules import ENOUGH

CONTROL = "control video"  # stands for the job where an outcome is reported
KEPT = 100
ASKED = 3
TAIL_BYTES = 1 << 16
_SAYS_NOTHING = Outcome.OTHER
_ANSWERED = (Outcome.OK, Outcome.OTHER)  # neither refused nor lost


class ControlAnswer(Enum):
    """What a control video showed."""

    CAPTIONS = "captions"
    HIDDEN = "captions that the ways hide by which jobs had none"
    NONE = "no captions"
    NOTHING = "nothing to go by"


class ControlVideo:
    """Chooses a control video and asks for it. Shared by the threads of a process.

    `fetched`: by egress, the videos that it fetched, the latest last. The fetching thread appends them.
    """

    def __init__(self, settings: Settings, budget: Budget, fetcher: Fetcher, abort: threading.Event) -> None:
        self._queue = Queue(settings.queue)
        self._settings = settings
        self._names = [spec.name for spec in settings.egresses]
        self._budget = budget
        self._fetcher = fetcher
        self._abort = abort
        self.fetched: dict[int, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._reported: set[int] = set()  # egresses already reported as showing no captions

    def ask(self, permit: Permit) -> ControlAnswer:
        """Ask for a control video by a permit's egress, and report what that says of it. Raises EngineError."""
        return self._aborted_or(permit, lambda: self._ask(permit))

    def ask_again(self, permit: Permit, video_id: str) -> ControlAnswer:
        """Ask again for a video that came without captions, and report what that says of the egress.

        NONE: it has none now, either. Raises EngineError."""
        return self._aborted_or(permit, lambda: self._ask_again(permit, video_id))

    def _aborted_or(self, permit: Permit, ask: Callable[[], ControlAnswer]) -> ControlAnswer:
        try:
            with large_slot.scope():  # its answer may be a large one
                return ask()
        except Interrupted as exc:
            self._budget.add_bytes(permit.egress, exc.cost.bytes)
            self._budget.report(permit, _SAYS_NOTHING, job=CONTROL)
            return ControlAnswer.NOTHING

    def _ask(self, permit: Permit) -> ControlAnswer:
        egress, without, hidden = permit.egress, [], False
        for number, (video_id, known) in enumerate(self._candidates(egress)):
            if number:
                permit = another_permit(self._budget, self._abort, egress)
            began_at = time.monotonic()
            got = self._fetcher.fetch(video_id, permit, has_captions=True)
            self._budget.add_bytes(egress, got.cost.bytes)
            if isinstance(got, Fetched) and len(got.hidden_by) >= ENOUGH:
                hidden = True  # so may the next: three of them put these ways off
                continue
            rotating = self._settings.egresses[egress].rotating
            outcome = Outcome.OK if isinstance(got, Fetched) else outcome_of(got.failure, rotating=rotating)
            if hidden and outcome in _ANSWERED:
                break
            if isinstance(got, Fetched) or (shows_captions(got) and outcome in _ANSWERED):
                self._budget.report(permit, Outcome.OK, job=CONTROL, shown_at=began_at)
                self._reported.discard(egress)
                return ControlAnswer.CAPTIONS
            if got.failure.kind is Kind.NO_CAPTIONS:
                without.append(video_id)
                if known:
                    return self._without_captions(permit, without, known=True)
            elif outcome not in _ANSWERED:
                self._budget.report(
                    permit,
                    outcome,
                    job=CONTROL,
                    retry_after_s=got.failure.retry_after_s,
                    cause=got.failure.message,
                )
                return ControlAnswer.NOTHING
        if hidden:
            self._budget.report(permit, Outcome.OK, job=CONTROL)
            return ControlAnswer.HIDDEN
        if len(without) == ASKED or (without and len(without) == len(self._settings.control_videos)):
            return self._without_captions(permit, without, known=False)
        self._budget.report(permit, _SAYS_NOTHING, job=CONTROL)
        self._emit_once(
            "no_captions_unclear", egress, "no control video could be had; name some with --control-video"
        )
        return ControlAnswer.NOTHING

    def _ask_again(self, permit: Permit, video_id: str) -> ControlAnswer:
        began_at = time.monotonic()
        got = self._fetcher.fetch(video_id, permit)
        self._budget.add_bytes(permit.egress, got.cost.bytes)
        rotating = self._settings.egresses[permit.egress].rotating
        outcome = Outcome.OK if isinstance(got, Fetched) else outcome_of(got.failure, rotating=rotating)
        if isinstance(got, Fetched) or (shows_captions(got) and outcome in _ANSWERED):
            self._budget.report(permit, Outcome.OK, job=CONTROL, shown_at=began_at)
            return ControlAnswer.CAPTIONS
        self._budget.report(
            permit, outcome, job=CONTROL, retry_after_s=got.failure.retry_after_s, cause=got.failure.message
        )
        return ControlAnswer.NONE if got.failure.kind is Kind.NO_CAPTIONS else ControlAnswer.NOTHING

    def _without_captions(self, permit: Permit, without: list[str], *, known: bool) -> ControlAnswer:
        rotating = self._settings.egresses[permit.egress].rotating
        outcome = Outcome.EXIT_NO_CAPTIONS if rotating else Outcome.NO_CAPTIONS
        self._budget.report(permit, outcome, job=CONTROL)
        reason = f"{', '.join(without)} came without captions: taken for a block"
        if not known:
            reason += ". If that is how these videos are, name others with --control-video"
        self._emit_once("no_captions_block", permit.egress, reason)
        return ControlAnswer.NONE

    def _candidates(self, egress: int) -> list[tuple[str, bool]]:
        """At most three videos, each with whether it was fetched before and so has captions."""
        if not any(self.fetched.values()):
            for name, video_id in recently_ok(self._queue):
                self.fetched[self._names.index(name) if name in self._names else -1].append(video_id)
        mine = list(self.fetched[egress])
        others = [name for at, names in list(self.fetched.items()) if at != egress for name in list(names)]
        known = [*random.sample(mine, min(ASKED, len(mine))), *random.sample(others, min(ASKED, len(others)))]
        named = [name for name in self._settings.control_videos if name not in known]
        return [*((name, True) for name in known), *((name, False) for name in named)][:ASKED]

    def _emit_once(self, event: str, egress: int, reason: str) -> None:
        """Say what is wrong with an egress, once until it shows captions again."""
        if egress in self._reported:
            return
        self._reported.add(egress)
        events.emit(self._queue, event, reason, egress=self._names[egress])


def recently_ok(queue: Queue) -> Iterator[tuple[str, str]]:
    """(egress, video) of the manifest's last rows that are ok, oldest first."""
    for row, _ in read_lines(queue, last_bytes=TAIL_BYTES):
        if row is not None and row.get("status") == "ok":
            yield str(row.get("egress")), row["video_id"]
