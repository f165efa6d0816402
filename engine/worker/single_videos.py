"""Fetches videos one after another for a command, without a queue: the same ways, budget and kinds as in a run.

The budget file lies in the user's cache directory, so commands that follow each other keep the rate together and know
of a block. It knows nothing of a run at the same time, whose budget is in the queue.

| what an attempt comes to        | then                                                                    |
|---------------------------------|-------------------------------------------------------------------------|
| a transcript                    | a record                                                                |
| the egress is blocked           | again by whichever other egress works; AllBlockedError when none does   |
| no captions                     | a control video tells whether the egress shows captions to anybody      |
| a final no                      | the failure                                                             |
| any other                       | again after 2 and 10 s, then the failure                                |
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from engine.budget import BudgetSettings, Outcome
from engine.budget.limiter import Budget
from engine.budget.state import State
from engine.errors import DiskError, EngineError, Exit, Interrupted, NoProxyError, UsageError
from engine.model import (
    CONNECTION_KINDS,
    CONTROL_VIDEOS,
    EgressSpec,
    Failure,
    Fetched,
    Kind,
    NotFetched,
    Permit,
    Record,
)
from engine.storage import disk
from engine.storage.timestamps import utc
from engine.storage.user_cache import user_cache
from engine.worker import retry_policy
from engine.worker.results import outcome_of, shows_captions
from engine.worker.retry_policy import AT_ONCE
from engine.youtube.fetcher import Client, Fetcher, FetchSettings

ATTEMPTS = 3
_PATIENT_S = 2.0  # shorter waits for the rate are not spoken of


class AllBlockedError(EngineError):
    """YouTube refuses every egress, or none reaches it."""

    exit_code = Exit.ALL_BLOCKED


class SingleVideos:
    """Fetches single videos. For one thread.

    `on_wait` is called with what is waited for, as a sentence. `stop` ends every wait:
    `fetch` then raises Interrupted.
    """

    def __init__(
        self,
        egresses: Sequence[EgressSpec],
        settings: FetchSettings,
        budget: Budget,
        *,
        ca_bundle: str | None,
        on_wait: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._egresses = egresses
        self._budget = budget
        self._on_wait = on_wait
        self._stop = stop
        self._shown: set[int] = set()  # egresses that have shown captions
        self._client = Client(egresses, acquire=self._another, unused=budget.unused, ca_bundle=ca_bundle)
        self._fetcher = Fetcher(self._client, settings, extra=budget.add_bytes)

    def close(self) -> None:
        self._client.close()

    def fetch(self, video_id: str) -> Record | Failure:
        """The record of a video, or why there is none.

        Raises AllBlockedError, NoProxyError, DiskError, and Interrupted when `stop` is set.
        """
        charged = 0
        while True:
            permit = self._permit()
            got = self._attempt(video_id, permit)
            if isinstance(got, Fetched):
                return Record(video_id, got.metadata, got.transcript, {}, utc(), got.transcripts)
            if got is None or got.failure.dead_egress:
                continue
            kind = got.failure.kind
            if kind is Kind.NO_CAPTIONS and not self._confirmed(permit.egress):
                continue  # the egress is blocked now
            if kind in AT_ONCE:
                return got.failure
            if kind is not Kind.BLOCKED:
                charged += 1
                if charged == ATTEMPTS:
                    if got.failure.unreached and self._egresses[permit.egress].proxy_url is not None:
                        raise NoProxyError(f"no proxy can be reached; the last one: {got.failure.message}")
                    return got.failure
                self._pause(retry_policy.WAITS_S[charged - 1], got.failure)

    def _attempt(self, video_id: str, permit: Permit) -> Fetched | NotFetched | None:
        """One attempt, with its outcome reported; None when its egress was closed amid it."""
        began_at = time.monotonic()
        try:
            got = self._fetcher.fetch(video_id, permit)
        except Interrupted:
            if self._stop.is_set():
                raise
            self._budget.report(permit, Outcome.OTHER, job=video_id)
            return None
        self._budget.add_bytes(permit.egress, got.cost.bytes)
        shown = isinstance(got, Fetched) or shows_captions(got)
        if shown:
            self._shown.add(permit.egress)
        rotating = self._egresses[permit.egress].rotating
        outcome = Outcome.OK if isinstance(got, Fetched) else outcome_of(got.failure, rotating=rotating)
        retry_after_s = None if isinstance(got, Fetched) else got.failure.retry_after_s
        self._budget.report(
            permit, outcome, job=video_id, retry_after_s=retry_after_s, shown_at=began_at if shown else 0.0
        )
        return got

    def _confirmed(self, egress: int) -> bool:
        """Whether an egress shows captions at all; if it does not, it counts as blocked from now on."""
        for control in CONTROL_VIDEOS:
            if egress in self._shown:
                return True
            permit = self._another(egress)
            got = self._attempt(control, permit)
            if isinstance(got, NotFetched) and got.failure.kind is Kind.NO_CAPTIONS:
                self._budget.report(permit, Outcome.NO_CAPTIONS, job=control)
                return False
        return egress in self._shown

    def _permit(self) -> Permit:
        """A permit by whichever egress is free first."""
        self._say_wait()
        permit = self._budget.take(stop=self._stop, give_up=self._all_closed)
        if permit is None:
            if self._stop.is_set():
                raise Interrupted
            raise self._blocked()
        return permit

    def _another(self, egress: int) -> Permit:
        """A permit for a further request of an attempt."""
        permit = self._budget.take(egress=egress, stop=self._stop, if_usable=True)
        if permit is None:
            raise Interrupted
        return permit

    def _open_in_s(self) -> list[float]:
        """In how many seconds each egress may be tried again; 0: now. Retired ones are left out."""
        states = [self._budget.peek(egress) for egress in range(len(self._egresses))]
        now = time.monotonic()
        return [
            max(0.0, state.open_until - now) if state is not None and state.state == State.OPEN else 0.0
            for state in states
            if state is None or state.state != State.RETIRED
        ]

    def _all_closed(self) -> bool:
        waits = self._open_in_s()
        return bool(waits) and min(waits) > 0

    def _blocked(self) -> AllBlockedError:
        waits, number = self._open_in_s(), len(self._egresses)
        who = "this address" if self._egresses[0].proxy_url is None else "the proxy"
        who = who if number == 1 else f"each of {number:,} proxies"
        minutes = max(1, round(min(waits, default=60.0) / 60))
        return AllBlockedError(
            f"YouTube refuses {who} for now, or it cannot be reached. It may be tried again in {minutes} min; other "
            "proxies can be tried at once (--proxy)"
        )

    def _say_wait(self) -> None:
        """Speak of a long wait for the rate before it begins."""
        states = [self._budget.peek(egress) for egress in range(len(self._egresses))]
        now = time.monotonic()
        wait_s = min(
            (state.tat - now if state is not None and state.interval else 0.0 for state in states),
            default=0.0,
        )
        if wait_s > _PATIENT_S and not self._all_closed():
            self._on_wait(f"waiting {wait_s:.0f} s for the rate")

    def _pause(self, wait_s: float, failure: Failure) -> None:
        whose = "" if failure.kind in CONNECTION_KINDS else " for it"
        self._on_wait(f"{failure.kind}: {failure.message}; trying again{whose} in {wait_s:g} s")
        if self._stop.wait(wait_s):
            raise Interrupted


@contextlib.contextmanager
def single_videos(
    egresses: Sequence[EgressSpec],
    settings: FetchSettings,
    budget: BudgetSettings,
    *,
    ca_bundle: str | None = None,
    on_wait: Callable[[str], None] = lambda text: None,
    stop: threading.Event | None = None,
) -> Iterator[SingleVideos]:
    """A `SingleVideos` for the block. Raises UsageError for a proxy or CA bundle that cannot be used."""
    stop = stop or threading.Event()
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(_opened(egresses, budget, stop))
        videos = SingleVideos(egresses, settings, shared, ca_bundle=ca_bundle, on_wait=on_wait, stop=stop)
        stack.callback(videos.close)
        yield videos


@contextlib.contextmanager
def _opened(
    egresses: Sequence[EgressSpec], settings: BudgetSettings, stop: threading.Event
) -> Iterator[Budget]:
    """The budget that the user's commands share; one of this command alone where no file can be made."""
    with contextlib.ExitStack() as stack:
        path = user_cache("budget")
        try:
            disk.ensure_dirs(user_cache())
            shared = Budget.open(path, egresses, settings, new_run=True, stop=stop)
        except (OSError, UsageError, DiskError):
            alone = stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-"))
            shared = Budget.open(f"{alone}/budget", egresses, settings, new_run=True, stop=stop)
        try:
            yield shared
        finally:
            with contextlib.suppress(OSError, DiskError):
                shared.close()
