"""Holding `no_captions` back until something speaks for it.

The worker that met it keeps it here, in memory, with its job off the threads: nobody is in flight, nothing is in
the journal, a crash only has the job fetched once more. The keeper looks through the held ones at every turn
and does with each what `engine.worker.witness` says. In an alarm one process *vouches*, in a thread of its own:

1. A video that was fetched before, the canary, is asked for by the same egress. It comes without captions: a
   block. The egress opens like for any other refusal, and everything held by it is fetched again.
2. It has captions, so the egress is well now, but it may not have been: up to 5 of the held videos are asked for
   again. One has captions after all: everything held is fetched again. None has: all of it is believed.
3. No video of this queue ever had captions, so there is no canary. For a minute the others may bring one, if
   there are others. Then everything held waits for 15 minutes, and after them up to 5 of these videos are asked
   for again. One has captions after all: everything held is fetched again. None has: all of it is believed.
   (Both times are divided by the budget's pace.)

While an egress is being probed for a block, `no_captions` is no sign of life: see `engine.worker.fetch_loop`. What
waits, and what is held without an alarm when a lap ends, goes back to the queue with its answer
(`engine.worker.kept`), and whoever claims it in this run holds it on: it is not fetched twice for that. None of this
costs an attempt; the requests of the canary and of the videos asked again count for their egress and for no video.

What it cannot see: a block that shows itself to fewer than 5 attempts of an egress and is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.budget import Outcome
from engine.errors import EngineError, Interrupted
from engine.model import Fetched, Kind, Permit, Refused
from engine.queue import events
from engine.queue.directory import Queue
from engine.settings import Settings
from engine.worker import kept
from engine.worker.attempt import Attempts, Recorded
from engine.worker.context import Resources
from engine.worker.retry_policy import LONG_WAIT_S, REFUSED_WAIT_S
from engine.worker.scheduler import Desk, Work
from engine.worker.witness import Word

CANARY = "canary"
SAMPLE = 5
QUIET_S = 1.0  # nothing in flight for so long, and nothing to begin: nobody will speak for what is held
TRY_AGAIN_S = 5.0
PATIENCE_S = 60.0  # so long a first video with captions is waited for, while there are others to fetch


@dataclass(frozen=True, slots=True)
class Held:
    """A `no_captions` and all that is needed to conclude it."""

    work: Work
    permit: Permit
    got: Refused
    elapsed_s: float
    at: float
    again: bool = False  # it has waited once because no video had captions, and has not been fetched since

    @property
    def video_id(self) -> str:
        return self.work.item.job.video_id


def has_captions(got: Fetched | Refused) -> bool:
    """Whether an answer shows captions, be they in a language that nobody asked for."""
    return isinstance(got, Fetched) or got.failure.kind is Kind.NO_LANGUAGE


class Holding:
    """What one lap holds.

    `resolve` is told what becomes of each, in the keeper's thread; `fail` of what must end the lap.
    """

    def __init__(
        self,
        settings: Settings,
        resources: Resources,
        desk: Desk,
        attempts: Attempts,
        resolve: Callable[[Work, Recorded], None],
        fail: Callable[[BaseException], None],
        run: str = "",
    ) -> None:
        self._run = run
        self._names = [its.name for its in settings.egresses]
        self._settings = settings
        self._resources = resources
        self._witness = resources.witness
        self._budget = resources.budget
        self._desk = desk
        self._attempts = attempts
        self._resolve = resolve
        self._fail = fail
        pace = settings.budget.pace
        self._refused_wait_s = min(REFUSED_WAIT_S / pace, TRY_AGAIN_S)
        self._try_again_s = max(TRY_AGAIN_S / pace, 0.1)
        self._patience_s = PATIENCE_S / pace
        self._look_wait_s = max(LONG_WAIT_S / pace, 2 * TRY_AGAIN_S)
        self._queue = Queue(settings.queue)
        self._lock = threading.Lock()
        self._held: list[Held] = []
        self._quiet_since: float | None = None
        self._voucher: threading.Thread | None = None

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    def hold(self, work: Work, permit: Permit, got: Refused, elapsed_s: float) -> None:
        """Take a `no_captions` in, and sound the alarm if it is one too many."""
        at, jump = self._witness.bare(permit.egress)
        with self._lock:
            self._held.append(Held(work, permit, got, elapsed_s, at))
        if jump:
            self._tell(
                "no_captions_jump",
                permit.egress,
                f"{jump[0]} of the last {jump[1]} videos came without captions, which a block may look like; "
                "such answers are held back until it is known",
            )
        self._desk.attention.set()

    def take_up(self, work: Work) -> bool:
        """Hold on to the answer that a job's last lap left; False when there is none, or it is to be fetched
        again. Where nothing could speak for such answers before, somebody has to find out now."""
        now = time.monotonic()
        its = kept.read(work.item.state.held, self._run, self._names, now)
        if its is None or not self._budget.usable(its.egress):
            return False
        at = now if its.looked else its.at
        if self._witness.read(its.egress).word(at) is Word.AGAIN:
            return False
        with self._lock:
            permit = Permit(its.egress, 0, 0.0)
            self._held.append(Held(work, permit, its.got, its.elapsed_s, at, again=its.looked))
        if its.looked:
            self._witness.sound(its.egress)
        return True

    def look(self, *, busy: bool) -> None:
        """Conclude what can be concluded. `busy`: a job is in flight, or one may begin."""
        now = time.monotonic()
        if busy or not self:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        quiet = self._quiet_since is not None and now - self._quiet_since >= QUIET_S
        alarmed = set()
        for held in self._all():
            its = self._witness.read(held.permit.egress)
            word = its.word(held.at)
            if word is Word.HOLD and its.alarm:
                if self._budget.usable(held.permit.egress):
                    alarmed.add(held.permit.egress)
                else:  # it has opened for some reason, or is retired: nobody can vouch for it now
                    self._again(held, self._refused_wait_s)
            elif word is Word.BELIEVE or (word is Word.HOLD and quiet):
                self._believe(held)
            elif word is Word.AGAIN:
                self._again(held, its.wait_s)
        if not (self._voucher and self._voucher.is_alive()):
            egress = next((its for its in sorted(alarmed) if self._witness.lease(its)), None)
            if egress is not None:
                self._voucher = threading.Thread(
                    target=self._vouch, args=(egress,), name="voucher", daemon=True
                )
                self._voucher.start()

    def let_go(self) -> None:
        """The lap ends: what is not settled goes back to the queue as it is."""
        for held in self._all():
            if self._witness.read(held.permit.egress).word(held.at) is Word.BELIEVE:
                self._believe(held)
            else:
                self._again(held, 0.0, lap_over=True)

    def _all(self) -> list[Held]:
        with self._lock:
            return list(self._held)

    def _believe(self, held: Held) -> None:
        self._drop(held)
        self._witness.settled()
        item = held.work.item
        self._resolve(
            held.work,
            self._attempts.believed(item.job, item.state, held.permit, held.got, held.elapsed_s),
        )

    def _again(self, held: Held, wait_s: float, *, lap_over: bool = False) -> None:
        self._drop(held)
        item = held.work.item
        looked = wait_s >= self._look_wait_s
        keep = looked or (lap_over and not held.again and self._in_peace(held))
        answer = kept.note(self._run, held.got, held.at, held.elapsed_s) if keep and self._run else None
        recorded = self._attempts.doubted(
            item.job, item.state, held.permit, held.got, wait_s, looked=looked, held=answer
        )
        self._resolve(held.work, recorded)

    def _in_peace(self, held: Held) -> bool:
        """Whether nothing speaks against it either."""
        its = self._witness.read(held.permit.egress)
        return not its.alarm and its.word(held.at) is Word.HOLD

    def _drop(self, held: Held) -> None:
        with self._lock:
            self._held.remove(held)

    # ---- in the voucher's thread -------------------------------------------------------------------------
    def _vouch(self, egress: int) -> None:
        try:
            if not self._found_out(egress):
                self._witness.put_off(egress, self._try_again_s)
        except (
            Interrupted,
            EngineError,
            OSError,
        ):  # a failing disk or a dead egress is the keeper's to hear of
            self._witness.put_off(egress, self._try_again_s)
        except BaseException as exc:  # noqa: BLE001 - a thread's end must reach the keeper, whatever it was
            self._fail(exc)
        self._desk.attention.set()

    def _found_out(self, egress: int) -> bool:
        """Whether the alarm of an egress could be decided, and is."""
        canary = self._resources.canary
        if canary is None and self._quiet_since is None and self._alarmed_s(egress) < self._patience_s:
            return False
        mine = [its for its in self._all() if its.permit.egress == egress][:SAMPLE]
        if canary is None:
            return self._without_canary(egress, mine)
        got, permit = self._ask(egress, canary)
        if not has_captions(got):
            failure = got.failure if isinstance(got, Refused) else None
            if failure is None or failure.kind is not Kind.NO_CAPTIONS:
                return False
            self._budget.report(permit, Outcome.BLOCKED, job=CANARY)
            self._witness.again(egress, self._refused_wait_s)
            self._tell(
                "no_captions_block", egress, f"{canary}, which has captions, came without: taken for a block"
            )
            return True
        return self._looked_again(egress, mine, f"{canary} has captions as before, and")

    def _looked_again(self, egress: int, mine: list[Held], before: str) -> bool:
        """Ask for these once more; what they show decides about all that is held."""
        without = 0
        for held in mine:
            got, _ = self._ask(egress, held.video_id)
            if has_captions(got):
                self._witness.again(egress, 0.0)
                self._tell(
                    "no_captions_block",
                    egress,
                    f"{held.video_id} has captions after all: what was held back is fetched again",
                )
                return True
            without += isinstance(got, Refused) and got.failure.kind is Kind.NO_CAPTIONS
        if not without:
            return False
        self._witness.believe(egress)
        reason = f"{before} {without} looked at again have none: believed"
        self._tell("no_captions_believed", egress, reason)
        return True

    def _alarmed_s(self, egress: int) -> float:
        return time.monotonic() - self._witness.read(egress).alarm

    def _without_canary(self, egress: int, mine: list[Held]) -> bool:
        waited = [its for its in mine if its.work.item.state.doubts]
        if waited and all(its.again for its in waited):
            return self._looked_again(egress, waited, "no video has had captions so far, and after a while")
        if waited:  # fetched again since, and still without
            self._witness.believe(egress)
            self._tell(
                "no_captions_believed",
                egress,
                "looked at again after a while, and none has captions: believed",
            )
            return True
        self._witness.again(egress, self._look_wait_s)
        reason = (
            "no video has had captions so far, so none can be asked: what was held back is looked at again in "
            f"{self._look_wait_s:.0f} s"
        )
        self._tell("no_captions_unclear", egress, reason)
        return True

    def _ask(self, egress: int, video_id: str) -> tuple[Fetched | Refused, Permit]:
        """Fetch a video by this egress for what it says of it. Raises Interrupted when that cannot be now."""
        permit = self._budget.take(
            egress=egress,
            stop=self._resources.stop,
            give_up=lambda: self._desk.stopping or not self._budget.usable(egress),
        )
        if permit is None:
            raise Interrupted
        try:
            got = self._resources.fetcher.fetch(video_id, permit)
        except Interrupted as exc:
            self._budget.add_bytes(egress, exc.cost.bytes)
            raise
        self._budget.add_bytes(egress, got.cost.bytes)
        if isinstance(got, Fetched):
            self._budget.report(permit, Outcome.OK, job=CANARY)
        elif got.failure.kind is not Kind.NO_CAPTIONS:  # that is for the caller to judge
            outcome = self._attempts.outcome(got.failure)
            self._budget.report(permit, outcome, job=CANARY, retry_after_s=got.failure.retry_after_s)
        return got, permit

    def _tell(self, event: str, egress: int, reason: str) -> None:
        details: dict[str, Any] = {"egress": self._settings.egresses[egress].name}
        events.emit(self._queue, event, reason, **details)
