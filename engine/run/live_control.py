"""Pause, resume, set and stop, on the run's side: what is asked becomes the run's settings and its state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine.budget import parse_rate
from engine.queue import events
from engine.queue.control import (
    ControlRequest,
    RequestQueue,
    RunState,
    clear_requests,
    publish_run_state,
    read_stop_request,
    remove_run_state,
)
from engine.queue.directory import Queue
from engine.settings import Settings


class LiveControl:
    """The settings and the state of a live run, as they are changed while it goes on."""

    def __init__(self, queue: Queue, settings: Settings, run_id: str) -> None:
        self.settings = settings
        self.run_state = RunState(str(settings.budget.rate), settings.processes, settings.threads)
        self.rate_changed = False  # and the budget file may not say it yet
        self._queue = queue
        self._run_id = run_id
        self._requests = RequestQueue(queue)

    def publish(self) -> None:
        """Say how the run goes on, for onlookers."""
        publish_run_state(self._queue, self.run_state)

    def forget(self) -> None:
        """The run ends."""
        remove_run_state(self._queue)

    def stop_request(self) -> dict[str, object] | None:
        """How to stop, once it is asked."""
        request = read_stop_request(self._queue)
        if request:
            clear_requests(self._queue)
        return request or None

    def changes(self) -> Iterator[ControlRequest]:
        """Do what is asked, in order; each is done when the caller takes the next."""
        for ask in self._requests.take():
            if ask is None:
                events.emit(self._queue, "unreadable", "what was asked of the run is damaged; ask again")
                continue
            self.change(ask)
            yield ask

    def change(self, ask: ControlRequest) -> None:
        """Change settings and state, and say so."""
        before, self.run_state = self.run_state, self.run_state.after(ask)
        rate = self.settings.budget.rate if ask.rate is None else parse_rate(ask.rate)
        self.rate_changed = self.rate_changed or rate != self.settings.budget.rate
        self.settings = replace(
            self.settings,
            processes=self.run_state.processes,
            threads=self.run_state.threads,
            budget=replace(self.settings.budget, rate=rate),
        )
        for event, reason in before.changes(self.run_state):
            events.emit(self._queue, event, reason, run=self._run_id)
        self.publish()
