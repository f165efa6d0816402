"""What is asked of a live run from outside: pause, go on, other settings, an end. A base of `engine.Batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import NoAnswerError, NoRunError, UsageError
from engine.model import LiveSettings
from engine.queue.directory import open_queue

if TYPE_CHECKING:
    from engine.queue.control import ControlRequest


class LiveRun:
    """The run that may be at work on a queue directory, whoever started it."""

    root: str

    def live_pid(self) -> int | None:
        """The process of the live run, in its own pid namespace; None when no run is live."""
        run = self.live_note()
        return int(run["pid"]) if run else None

    def live_note(self) -> dict[str, Any] | None:
        """What the live run notes in its lock: pid, host, since when; None when no run is live."""
        from engine.storage.locks import living_holder

        return living_holder(open_queue(self.root).run_lock)

    def live_settings(self) -> LiveSettings | None:
        """What can be changed of the live run; None when none is live or it is still starting."""
        from engine.queue.control import read_run_state

        queue = open_queue(self.root)
        found = read_run_state(queue, self.live_note())
        return LiveSettings(found.rate, found.threads, found.processes, found.paused) if found else None

    def pause(self) -> None:
        """Have the live run begin nothing new; what is in flight finishes. Raises NoRunError, NoAnswerError."""
        from engine.queue.control import ControlRequest

        self._request(ControlRequest(paused=True), "pause")

    def resume(self) -> None:
        """Have the paused run go on. Raises NoRunError, NoAnswerError."""
        from engine.queue.control import ControlRequest

        self._request(ControlRequest(paused=False), "go on")

    def set(
        self, *, rate: str | float | None = None, threads: int | None = None, processes: int | None = None
    ) -> LiveSettings | None:
        """Change rate (a number is per second), threads or processes of the live run; returns what they are then.

        Raises UsageError for a value that an option of `engine run` would not take, NoRunError, NoAnswerError.
        """
        from engine.queue.control import ControlRequest

        rate = f"{rate:g}/s" if isinstance(rate, int | float) else rate
        request = ControlRequest(rate=rate, threads=threads, processes=processes)
        try:
            ControlRequest.from_json(request.to_json())
        except (TypeError, ValueError) as exc:
            raise UsageError(str(exc)) from None
        words = " ".join(f"{name}={value}" for name, value in request.to_json().items())
        self._request(request, f"set {words}")
        return self.live_settings()

    def stop(self, *, now: bool = False) -> None:
        """Ask the live run to finish what is in flight and end, or to end at once. Raises NoRunError.

        Returns at once; `wait` waits for the end.
        """
        from engine.queue.control import request_stop

        self._needs_run()
        request_stop(open_queue(self.root), now=now)

    def _needs_run(self) -> dict[str, Any]:
        run = self.live_note()
        if run is None:
            raise NoRunError("no run is live here", path=self.root)
        return run

    def _request(self, request: ControlRequest, what: str) -> None:
        """Ask the live run for something and wait until it has done it."""
        from engine.queue.control import send_request, wait_until_done
        from engine.storage.locks import who

        queue, run = open_queue(self.root), self._needs_run()
        if not wait_until_done(queue, send_request(queue, request)):
            raise NoAnswerError(
                f"asked the run ({who(run)}) to {what}. It has not done so yet: it may still be seeding, or it is "
                "about to end; `engine status` shows it",
                path=self.root,
                pid=int(run["pid"]),
            )
