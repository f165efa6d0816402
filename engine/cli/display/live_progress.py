"""What a run shows while it works: a live view on a terminal, a line now and then elsewhere, or JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

import click

from engine.cli.display.closings import Closings
from engine.cli.display.phrases import eta, limit, wait_words
from engine.monitor import status
from engine.monitor.failed_jobs import LatestFailures
from engine.output.terminal import printable
from engine.process import environment
from engine.queue.directory import Queue
from engine.units import duration

BAR_S, PLAIN_S, JSON_S = 0.5, 30.0, 1.0
ECHO = 2 * len("^C")  # columns
EVENTS_S = 1.0
# Events that are printed without -v: the run doubts its answers, or one of its processes stands still.
ALARMS = frozenset(
    {
        "no_captions_block",
        "no_captions_unclear",
        "budget_stuck",
        "budget_removed",
        "listing_failed",
        "lister_silent",
        "monitor_silent",
        "worker_silent",
    }
)


LONG_S = 60.0


def is_alarm(event: dict[str, Any]) -> bool:
    """Whether people are told of it however little they want to hear: also that an egress closes for long."""
    return event.get("event") in ALARMS or closes_for_long(event)


def closes_for_long(event: dict[str, Any]) -> bool:
    """Whether an egress closes for more than a minute."""
    wait_s = event.get("wait_s")
    return isinstance(wait_s, (int, float)) and wait_s > LONG_S


class Progress:
    """Call it every tick; it reads the files when it is time to show something."""

    def __init__(self, queue: Queue, mode: str, *, verbose: bool = False) -> None:
        if mode == "auto":
            mode = "bar" if sys.stderr.isatty() else "plain"
        self.mode = mode
        self._queue = queue
        self._verbose = verbose
        self._events_at = _size(queue.events)
        self._next_at = time.monotonic() + (0.0 if mode in ("bar", "json") else PLAIN_S)
        self._events_due_at = 0.0
        self._live: Any = None
        self._latest = LatestFailures(queue)
        self._closings = Closings()
        self._said_stopping = False
        self._dated = False

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._events_due_at:
            self._events_due_at = now + EVENTS_S
            self._show_events()
        if self.mode == "none" or now < self._next_at:
            return
        self._next_at = now + {"bar": BAR_S, "plain": PLAIN_S, "json": JSON_S}[self.mode]
        self._try(status.collect(self._queue.root))

    def _try(self, value: dict[str, Any]) -> None:
        """Show it; when the reader is gone (a closed pipe, a lost terminal) only the display ends, not the run."""
        try:
            self._show(value)
        except (OSError, SystemExit):  # rich raises the second for a closed pipe
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if self.mode == "json" else 2)
            self.mode, self._live = "none", None

    def _show(self, value: dict[str, Any]) -> None:
        if self.mode == "json":
            click.echo(json.dumps({"message_type": "status", **value}))
        elif self.mode == "plain":
            click.echo(f"{self._date()}{line(value)}", err=True)
        else:
            self._draw(value)

    def _date(self) -> str:
        """Begins the first line and the last one where they go into a log, which may hold many nights."""
        dated, self._dated = self._dated, True
        return "" if dated or sys.stderr.isatty() else time.strftime("%Y-%m-%d %H:%M:%S | ")

    def _show_events(self, *, at_end: bool = False) -> None:
        try:
            self._print_new_events()
            if closed := self._closings.summary(time.monotonic(), at_end=at_end):
                self._print(printable(closed))
        except (OSError, SystemExit):  # nobody reads stderr any more: the run goes on
            self._events_at = _size(self._queue.events)

    def say_stopping(self, grace_s: float, *, by_signal: bool) -> None:
        """Say once that the run is ending, and how long that may take."""
        if self._said_stopping or self.mode in ("json", "none"):
            return
        self._said_stopping = True
        again = "; ^C again ends it at once" if by_signal else ""
        with contextlib.suppress(OSError, SystemExit):
            self._print(f"stopping: what is in flight gets up to {duration(grace_s)}{again}")

    def _draw(self, value: dict[str, Any]) -> None:
        from engine.cli.display.status_panel import panel

        live = self._terminal()
        width, height = live.console.size
        width -= ECHO  # where the terminal echoes ^C at the edge, the frame would move down by a line
        view = panel(
            value,
            environment.shown(self._queue.root),
            self._latest(),
            width=width,
            height=height - 1,
            now=time.time(),
        )
        live.update(view, refresh=True)

    def _terminal(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        if self._live is None:
            self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False)
            self._live.start()
        return self._live

    def _print_new_events(self) -> None:
        try:
            with open(self._queue.events, "rb") as file:
                file.seek(self._events_at)
                data = file.read()
        except OSError:
            return
        complete = data[: data.rfind(b"\n") + 1]
        self._events_at += len(complete)
        for text in complete.decode("utf-8", "replace").splitlines():
            try:
                event = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if not isinstance(event, dict):
                continue
            verbose = self._verbose and self.mode not in ("json", "none")
            if not (is_alarm(event) or verbose):
                continue
            if closes_for_long(event) and not verbose and self._closings.holds(event, time.monotonic()):
                continue
            words = (event.get("at"), event.get("event"), event.get("egress"), event.get("reason"))
            self._print(printable("  ".join(str(word) for word in words if word)))

    def _print(self, text: str) -> None:
        """A line above the bar, if there is one."""
        if self.mode == "bar":
            from rich.text import Text

            self._terminal().console.print(Text(text))
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        """Show the end state and release the terminal."""
        self._show_events(at_end=True)
        if self.mode == "none":
            return
        value = status.collect(self._queue.root)
        # The lock is still ours, but nobody works any more.
        finished = status.finished(self._queue) and not value["listings"]["open"]
        value["state"] = "finished" if finished else "stopped"
        self._dated = False
        self._try(value)
        if self._live is not None:
            with contextlib.suppress(OSError, SystemExit):
                self._live.stop()
                if not sys.stderr.isatty():
                    click.echo(err=True)


def line(value: dict[str, Any]) -> str:
    """A status in one line."""
    return " | ".join(word for words in parts(value) for word in words)


def parts(value: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(how far, how fast), each as short phrases."""
    final = value["ok"] + value["absent"] + value["failed"]
    listed = value["listings"]
    far = [
        f"{final:,}/{value['total']:,}{' so far' if listed['open'] else ''}",
        f"ok {value['ok']:,}, absent {value['absent']:,}, failed {value['failed']:,}",
    ]
    if value["deferred"]:
        far.append(wait_words(value, time.time()) or f"deferred {value['deferred']:,}")
    if listed["open"]:
        again = f" (next try in {duration(listed['next_try_s'])})" if listed["next_try_s"] else ""
        far.append(f"listing {listed['open']:,}{again}, found {listed['found']:,}")
    if value["state"] != "running":
        return far, [value["state"]]
    fast = [f"{value['rate_per_s']['1m']:.2f}/s", f"left {eta(value['eta_s'])}", limit(value)]
    return far, [word for word in fast if word]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
