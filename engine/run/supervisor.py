"""The supervisor: slots, monitor, signals, and when to stop.

    engine run ── run.lock ──> recover ──> budget ──> monitor process, lister process while there is something to list
                                                 └──> slot 0 … slot N-1, one loky executor each, laps of 10 minutes

It does no fetching and counts nothing itself: it starts processes, hears how they end, and asks the files
whether the batch is finished. Its own death ends all others (their lifelines break), and the next run goes on.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

from engine.budget import Budget, parse_rate, snapshot, totals
from engine.budget.watch import Watch
from engine.errors import EngineError, Exit, Interrupted
from engine.limits import Meter
from engine.monitor import status
from engine.output import publisher
from engine.process import shortages
from engine.queue import channel_state, claims, events, marker
from engine.queue.control import (
    Ask,
    Course,
    Inbox,
    clear_request,
    forget_course,
    publish_course,
    read_request,
)
from engine.queue.directory import Queue, worker_ids
from engine.recovery.startup import tidy
from engine.run.helper_process import Companion, ListerProcess, MonitorProcess
from engine.run.worker_pool import Slots
from engine.run.worker_process import DRAIN, LEAVE_WAITING
from engine.settings import Settings
from engine.storage import disk
from engine.storage.locks import Lock, take_or_say_who
from engine.storage.processes import SIGNALS, SignalEvent, Spare
from engine.storage.timestamps import utc

TICK_S = 0.05
LISTINGS_S = 1.0  # … and whether a listing is open
LOOK_S = 0.25  # how often the files are asked how far the batch is
BLOCKED_LOOKS = 4  # all egresses seen blocked so often in a row: then it is not a passing moment
NAMED = 5  # proxies in a message


class Supervisor:
    """One run. The caller holds run.lock through `lock` and has seeded and recovered the queue."""

    def __init__(
        self, queue: Queue, settings: Settings, run_id: str, on_tick: Callable[[], None] | None = None
    ) -> None:
        self.queue = queue
        self.settings = settings
        self.run_id = run_id
        self.message = ""
        self._on_tick = on_tick
        self._monitor = MonitorProcess(queue)
        self._lister = ListerProcess(queue, settings)
        self._listings_at = 0.0
        self._heard: list[int] = []
        self._asked_to_end = SignalEvent()  # set with the first of them
        self._exit: int | None = None
        self._halted = False
        self._blocked_looks = 0
        self._looked_at = 0.0
        self._meter: Meter | None = None
        self._finals_before = 0
        self._inbox = Inbox(queue)
        self._course = Course(str(settings.budget.rate), settings.processes, settings.threads)
        self._slots = Slots(queue, settings, run_id, self._course, self._end_for_lap)
        self._budget_watch = Watch(queue.budget)
        self._rate_asked = False  # and the budget file may not say it: workers see to it, or we without them

    # ---- the run ----------------------------------------------------------------------------------------
    def run(self) -> int:
        """Work until every job is final or something ends the run; returns the exit code."""
        # `nohup` has HUP ignored, and means it.
        heard = [its for its in SIGNALS if its != signal.SIGHUP or signal.getsignal(its) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._hear) for number in heard}
        spare = Spare()
        hook, threading.excepthook = threading.excepthook, self._thread_ended
        events.emit(
            self.queue,
            "start",
            f"{self.settings.processes} x {self.settings.threads}",
            run=self.run_id,
            egresses=len(self.settings.egresses),
        )
        try:
            self._open_budget()
            self._monitor.start()
            publish_course(self.queue, self._course)
            self._slots.begin()
            while self._exit is None:
                self._tick()
                if self._on_tick is not None:
                    self._on_tick()
                time.sleep(TICK_S)
            self._drain()
            self._take_apart()
            self._finish_monitor()
        except Interrupted:  # before anything was started
            self._exit = 128 + self._heard[0]
        finally:
            spare.free()  # ending a process takes some
            self._lister.end()
            self._slots.end()
            self._monitor.end()
            self._budget_watch.close()
            forget_course(self.queue)
            threading.excepthook = hook
            for number, handler in before.items():
                signal.signal(number, handler)
        self._look_at_output()
        if self._exit in (Exit.OK, Exit.SOME_FAILED):
            self._exit = Exit.SOME_FAILED if self._failed() else Exit.OK
        self._leave_word()
        events.emit(self.queue, "stop", self.message, exit_code=int(self._exit or 0), run=self.run_id)
        return int(self._exit or 0)

    def _tick(self) -> None:
        if self._heard:
            self._exit = 128 + self._heard[0]
            return
        request = read_request(self.queue)
        if request:
            clear_request(self.queue)
            self._exit = Exit.WORK_REMAINS
            self.message = "stopped by `engine stop`"
            if request.get("now"):
                self._heard.append(0)
            return
        for ask in self._inbox.take():
            self._steer(ask)
        try:
            self._slots.look_after()
        except EngineError as exc:
            self._end(exc.exit_code, str(exc))
        if self._rate_asked and not self._slots.running:
            self._rate_asked = False
            with contextlib.suppress(Interrupted):  # the next tick hears why
                self._enter_budget()
        self._look_after_companion(self._monitor)
        self._look_after_lister()
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = time.monotonic()
            self._look()

    # ---- the course -------------------------------------------------------------------------------------
    def _steer(self, ask: Ask | None) -> None:
        """Change the course. Laps that do not fit it drain, and the next ones begin by it: nothing is cut off."""
        if ask is None:
            events.emit(self.queue, "unreadable", "what was asked of the run is damaged; ask again")
            return
        before, course = self._course, self._course.after(ask)
        self._course = course
        rate = self.settings.budget.rate if ask.rate is None else parse_rate(ask.rate)
        self._rate_asked |= rate != self.settings.budget.rate
        self.settings = replace(
            self.settings,
            processes=course.processes,
            threads=course.threads,
            budget=replace(self.settings.budget, rate=rate),
        )
        self._slots.follow(self.settings, course, rate=ask.rate)
        for event, reason in before.turns(course):
            events.emit(self.queue, event, reason, run=self.run_id)
        publish_course(self.queue, course)
        self._lister.end()  # what it found is saved; the next one goes by the new settings
        self._lister = ListerProcess(self.queue, self.settings)

    # ---- what is left to do -----------------------------------------------------------------------------
    def _look(self) -> None:
        """Ask the files whether there is anything left to do, or to do it with."""
        if not self._lister.running and status.finished(self.queue):
            lock = Lock(self.queue.seed_lock)
            if lock.take(note={"what": "finish"}):
                with lock:
                    if status.finished(self.queue) and not channel_state.open_ones(self.queue):
                        self._exit = Exit.OK
                return
        removed = self._budget_watch.look(time.monotonic())
        if removed:
            events.emit(self.queue, "budget_removed", removed, run=self.run_id)
        self._look_at_output()
        capped = self._meter and self._meter.look(self.settings.caps, totals(self.queue.budget))
        if capped:
            self._end(Exit.WORK_REMAINS, capped)
        known = snapshot(self.queue.budget)  # nothing when somebody removed the file: a worker makes it again
        egresses = [its for its in known if its.state != "retired"]
        if known and not egresses:
            self._end(Exit.NO_PROXY, self._no_proxy())
        elif egresses and self.settings.on_block == "stop" and not self._course.paused:
            # One that cannot be reached is no way out; if they all cannot, it is the network and no block.
            reached = [its for its in egresses if its.state != "unreachable"] or egresses
            blocked = all(its.refused for its in reached)
            self._blocked_looks = self._blocked_looks + 1 if blocked else 0
            if self._blocked_looks >= BLOCKED_LOOKS:
                self._halted = True
                self._end(Exit.ALL_BLOCKED, "every egress is blocked: run again later, or with other proxies")
        if self.settings.limit is not None and self._finals() - self._finals_before >= self.settings.limit:
            self._end(Exit.WORK_REMAINS, f"stopped at the limit of {self.settings.limit:,} jobs")

    def _look_at_output(self) -> None:
        """End the run when the output directory was removed or unmounted: workers notice when they write, and they
        may have to wait for that."""
        try:
            marker.check(self.settings.frozen.output, self.settings.batch)
        except EngineError as exc:
            self._end(exc.exit_code, str(exc))

    def _end(self, code: int, message: str) -> None:
        """End the run, unless something else ends it already."""
        if self._exit is None or self._exit == Exit.OK:
            self._exit, self.message = code, message

    def _end_for_lap(self, code: int, message: str) -> None:
        """A worker says that there is no going on; which proxies are meant it does not know."""
        self._end(code, self._no_proxy() if code == Exit.NO_PROXY else message)

    def _no_proxy(self) -> str:
        names = [its.name for its in self.settings.egresses]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return (
            f"no proxy is left that can be used: {', '.join(names[:NAMED])}{more} want another user or password"
            " (407). `engine proxies check` tries each with one request"
        )

    def _finals(self) -> int:
        return status.tally(self.queue, time.time()).counts.final

    def _failed(self) -> bool:
        if channel_state.summary(self.queue)[channel_state.FAILED]:
            return True
        return status.tally(self.queue, time.time()).counts.failed > 0

    # ---- its processes ----------------------------------------------------------------------------------
    def _drain(self) -> None:
        """Let what is in flight finish within the grace time; a second signal, or its end, ends it now."""
        ends_at = time.monotonic() + (self.settings.grace_s if self._exit != Exit.DISK else 2.0)
        stepped_back = False
        self._lister.end()
        self._slots.say(DRAIN)
        while self._slots.running and time.monotonic() < ends_at and not self._now():
            for report in self._slots.errors():
                self._end_for_lap(report.exit_code, report.message)
            if not stepped_back and ends_at - time.monotonic() < self.settings.grace_s * 0.25:
                stepped_back = True  # who waits for a permit by now would not make it
                self._slots.say(LEAVE_WAITING)
            if self._on_tick is not None:
                self._on_tick()
            time.sleep(TICK_S)

    def _take_apart(self) -> None:
        """End the processes and free what they still hold, so that a run leaves no dead worker behind.

        Nobody is blamed: whoever lived until now is ended by us.
        """
        self._slots.end()
        if self._exit != Exit.DISK:
            with contextlib.suppress(OSError, EngineError):  # else the next run does it, or says why not
                frozen = self.settings.frozen
                forget = publisher.forgetting(frozen.output, self.settings.batch, frozen.formats)
                claims.reclaim(self.queue, "", forget)

    def _now(self) -> bool:
        return len(self._heard) > 1 or 0 in self._heard

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard.append(number)
        self._asked_to_end.set()

    def _thread_ended(self, args: threading.ExceptHookArgs) -> None:
        """A thread of loky's met an exception. Where the machine gave it nothing more, one sentence is enough."""
        short = shortages.raised(args.exc_value) if args.exc_value is not None else None
        if short is None:
            threading.__excepthook__(args)
        else:
            self._slots.shortage = short

    def _look_after_companion(self, companion: Companion) -> None:
        try:
            companion.look()
        except EngineError as exc:
            self._end(exc.exit_code, str(exc))

    def _look_after_lister(self) -> None:
        if self._lister.running:
            self._look_after_companion(self._lister)
        elif not self._course.paused and time.monotonic() - self._listings_at >= LISTINGS_S:
            self._listings_at = time.monotonic()
            if channel_state.summary(self.queue)[channel_state.OPEN]:
                self._lister.start()

    def _finish_monitor(self) -> None:
        try:
            self._monitor.finish(self._now)
        except EngineError as exc:
            self._end(exc.exit_code, str(exc))

    # ---- before and after -------------------------------------------------------------------------------
    def _enter_budget(self, *, new_run: bool = False) -> None:
        Budget.open(
            self.queue.budget,
            self.settings.egresses,
            self.settings.budget,
            new_run=new_run,
            on_stuck=self._stuck,
            stop=self._asked_to_end,
        ).close()

    def _open_budget(self) -> None:
        self._enter_budget(new_run=True)
        for name in ("captions", "tickets"):  # of engines before 2026-11-26
            disk.unlink_quietly(self.queue.path(name))
        self._meter = Meter.start(totals(self.queue.budget))
        self._finals_before = self._finals()

    def _stuck(self, text: str) -> None:
        events.emit(self.queue, "budget_stuck", text)
        if self._on_tick is not None:  # nothing ticks yet, and whoever waits should know why
            self._on_tick()

    def _leave_word(self) -> None:
        """Leave the last snapshot, with how the run ended."""
        with contextlib.suppress(OSError, EngineError):
            value = status.collect(self.queue.root)
            value["history"] = status.read_snapshot(self.queue).get("history") or []
            value["halted"] = self._halted
            data = (status.dumps(value) + "\n").encode()
            disk.publish(self.queue.status, data, tmp_dir=self.queue.tmp, sync=False)
        with contextlib.suppress(OSError):
            if not worker_ids(self.queue):
                publisher.sweep(self.settings.frozen.output)
                tidy(self.queue)


def hold(queue: Queue) -> Lock:
    """Take run.lock, or raise HeldError naming the run that has it."""
    return take_or_say_who(queue.run_lock, "run", note={"since": utc(ms=True)})
