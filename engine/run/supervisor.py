"""The supervisor: starts a run's processes, hears how they end, and decides when the run ends.

    engine run ── run.lock ──> recover ──> budget ──> monitor process, lister process while there is something to list
                                                 └──> worker processes, one loky executor each

It fetches nothing and counts nothing itself: it asks the files whether the batch is finished. When it dies, its
control pipes end, all its processes leave, and the next run goes on.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Iterator

from engine.budget import Budget
from engine.errors import EngineError, Exit, HeldError, Interrupted
from engine.output import stores
from engine.process import environment, shortages
from engine.queue import dead_workers, events
from engine.queue.control import ControlRequest
from engine.queue.directory import Queue
from engine.run.helper_process import HelperProcess, ListerProcess, MonitorProcess
from engine.run.live_control import LiveControl
from engine.run.run_end import EndWatch, RunEnd, leave_snapshot, some_failed
from engine.run.stop_signals import StopSignals
from engine.run.worker_pool import WorkerPool
from engine.settings import Settings
from engine.storage import disk
from engine.storage.locks import Lock, take_or_say_who
from engine.storage.processes import Spare
from engine.storage.timestamps import utc

TICK_S = 0.05
POLL_S = 0.25  # how often the files are asked whether the run is to end
DISK_GRACE_S = 2.0  # on a failing disk


class Supervisor:
    """One run. The caller holds run.lock and has seeded and recovered the queue; `on_tick` shows progress."""

    def __init__(
        self, queue: Queue, settings: Settings, run_id: str, on_tick: Callable[[], None] | None = None
    ) -> None:
        self.queue = queue
        self.run_id = run_id
        self._on_tick = on_tick
        self._end: RunEnd | None = None
        self._now = False  # `engine stop --now`
        self._signals = StopSignals()
        self._control = LiveControl(queue, settings, run_id)
        self._ends = EndWatch(queue, settings, run_id)
        self._workers = WorkerPool(queue, settings, run_id, self._control.run_state)
        self._monitor = MonitorProcess(queue)
        self._lister = ListerProcess(queue, settings)
        self._polled_at = 0.0

    @property
    def settings(self) -> Settings:
        """As they are by now."""
        return self._control.settings

    @property
    def message(self) -> str:
        """Why the run ended, or nothing."""
        return self._end.message if self._end else ""

    @property
    def stopping(self) -> bool:
        """Whether the run ends before its work does."""
        return self._end is not None and self._end.code != Exit.OK

    @property
    def by_signal(self) -> bool:
        """Whether a signal ends it."""
        return self._signals.exit_code is not None

    # ---- the run ----------------------------------------------------------------------------------------
    def run(self) -> int:
        """Work until every job is final or something ends the run; returns the exit code."""
        spare = Spare()
        hook, threading.excepthook = threading.excepthook, self._thread_ended
        with self._signals:
            self._report_start()
            try:
                self._begin()
                while self._end is None:
                    self._tick()
                    self._rest()
                spare.free()  # ending a process takes some
                self._drain()
                self._take_apart()
                self._finish_monitor()
            except Interrupted:  # before anything was started
                self._end = RunEnd(self._signals.exit_code or Exit.BUG)
            finally:
                spare.free()
                for part in (self._lister, self._workers, self._monitor):
                    part.end()
                self._ends.close()
                self._control.forget()
                threading.excepthook = hook
        return self._conclude()

    def _report_start(self) -> None:
        settings = self.settings
        counts, egresses = f"{settings.processes} x {settings.threads}", len(settings.egresses)
        events.emit(self.queue, "start", counts, run=self.run_id, egresses=egresses)

    def _begin(self) -> None:
        self._open_budget()
        self._monitor.start()
        self._control.publish()

    def _tick(self) -> None:
        """One turn: what is asked, how the processes are, and four times a second whether the run is to end."""
        self._receive()
        if self._end is None:
            self._look()
        if self._end is None and time.monotonic() - self._polled_at >= POLL_S:
            self._polled_at = time.monotonic()
            self._poll()

    def _receive(self) -> None:
        """Do what is asked of this run, by a signal or a file."""
        if self._signals.exit_code is not None:
            self._end = RunEnd(self._signals.exit_code)
            return
        request = self._control.stop_request()
        if request is not None:
            self._end = RunEnd(Exit.WORK_REMAINS, "stopped by `engine stop`")
            self._now = bool(request.get("now"))
            return
        for ask in self._control.changes():
            self._steer(ask)

    def _look(self) -> None:
        """See to the processes."""
        with self._ending_on_error():
            self._workers.check()
        if self._control.rate_changed and not self._workers.running:
            self._control.rate_changed = False  # no worker is there to write it to the budget file
            with contextlib.suppress(Interrupted):  # the next turn says why
                self._enter_budget()
        self._keep(self._monitor)
        self._keep(self._lister, wanted=not self._control.run_state.paused and self._lister.has_work())

    def _steer(self, ask: ControlRequest) -> None:
        """Have all processes go by the settings that were just changed. Nothing in flight is cut off."""
        self._workers.apply_run_state(self.settings, self._control.run_state, rate=ask.rate)
        self._lister.end()  # what it found is saved; the next one goes by the new settings
        self._lister = ListerProcess(self.queue, self.settings)

    def _poll(self) -> None:
        """Ask the files whether the run is to end."""
        self._end_with(self._ends.due(paused=self._control.run_state.paused, listing=self._lister.at_work))

    def _end_with(self, end: RunEnd | None) -> None:
        """End the run so, unless something else ends it already."""
        if end is not None and (self._end is None or self._end.code == Exit.OK):
            self._end = end

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        try:
            yield
        except EngineError as exc:
            # A worker does not know which proxies are meant.
            no_proxy = exc.exit_code == Exit.NO_PROXY
            self._end_with(RunEnd(exc.exit_code, self._ends.no_proxy() if no_proxy else str(exc)))

    # ---- its processes ----------------------------------------------------------------------------------
    def _keep(self, helper: HelperProcess, *, wanted: bool = True) -> None:
        with self._ending_on_error():
            helper.keep(wanted=wanted)

    def _drain(self) -> None:
        """Let what is in flight finish within the grace; a second signal, or the grace's end, ends it now."""
        failing = self._end is not None and self._end.code == Exit.DISK
        ends_at = time.monotonic() + (DISK_GRACE_S if failing else self.settings.grace_s)
        self._lister.end()
        self._workers.drain()
        while self._workers.running and time.monotonic() < ends_at and not self._hurried():
            with self._ending_on_error():
                self._workers.check()
            self._rest()

    def _take_apart(self) -> None:
        """End the processes and free what they still hold, so that a run leaves no dead worker behind.

        No job is blamed: processes that lived until now are ended by us.
        """
        self._workers.end()
        if self._end is None or self._end.code != Exit.DISK:
            with contextlib.suppress(OSError, EngineError):  # else the next run does it, or says why not
                frozen = self.settings.frozen
                remover = stores.output_remover(
                    frozen.output, self.settings.batch, frozen.formats, frozen.store
                )
                dead_workers.reclaim(self.queue, "", remover)

    def _finish_monitor(self) -> None:
        with self._ending_on_error():
            self._monitor.finish(self._hurried)

    def _hurried(self) -> bool:
        return self._now or self._signals.twice

    def _rest(self) -> None:
        """Show progress, and wait a moment."""
        if self._on_tick is not None:
            self._on_tick()
        time.sleep(TICK_S)

    def _thread_ended(self, args: threading.ExceptHookArgs) -> None:
        """A thread of loky's met an exception. Where the machine gave it nothing more, one sentence is enough."""
        short = shortages.raised(args.exc_value) if args.exc_value is not None else None
        if short is None:
            threading.__excepthook__(args)
        else:
            self._workers.shortage = short

    # ---- before and after -------------------------------------------------------------------------------
    def _open_budget(self) -> None:
        self._enter_budget(new_run=True)
        for name in ("captions", "tickets"):  # of engines before 2026-11-26
            disk.unlink_quietly(self.queue.path(name))
        self._ends.begin()

    def _enter_budget(self, *, new_run: bool = False) -> None:
        Budget.open(
            self.queue.budget,
            self.settings.egresses,
            self.settings.budget,
            new_run=new_run,
            on_stuck=self._stuck,
            stop=self._signals.received,
        ).close()

    def _stuck(self, text: str) -> None:
        events.emit(self.queue, "budget_stuck", text)
        self._rest()  # no progress is shown yet, and the user should know what the wait is for

    def _conclude(self) -> int:
        """Leave the last snapshot and say how the run ended; returns the exit code."""
        self._end_with(self._ends.output_gone())
        code = int(self._end.code if self._end else Exit.OK)
        if code == Exit.WORK_REMAINS and self._ends.nothing_left():  # what was in flight was the last of it
            code, self._end = Exit.OK, None
        if code == Exit.OK and some_failed(self.queue):
            code = Exit.SOME_FAILED
        leave_snapshot(self.queue, self.settings.frozen.output, halted=self._ends.halted)
        events.emit(self.queue, "stop", self.message, exit_code=code, run=self.run_id)
        return code


def hold(queue: Queue) -> Lock:
    """Take run.lock, or raise HeldError naming the run that has it, and what can be done meanwhile."""
    try:
        return take_or_say_who(queue.run_lock, "run", note={"since": utc(ms=True)})
    except HeldError as exc:
        where = shlex.quote(environment.shown(queue.root))
        more = f"Watch it: `engine status -q {where} --watch`. Add to it: `engine seed INPUT -q {where}`"
        raise HeldError(*exc.lines, more, path=exc.path, pid=exc.pid) from None
