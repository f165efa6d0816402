"""What a run shows while it works: a bar on a terminal, a line now and then without one, or JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

import click

from engine import status
from engine.cli.show import duration, eta
from engine.queue.layout import Queue
from engine.render.terminal import printable

BAR_S, PLAIN_S, JSON_S = 0.5, 30.0, 1.0


class Progress:
    """Call it every tick; it looks at the files when it has something to show."""

    def __init__(self, queue: Queue, mode: str, *, verbose: bool = False) -> None:
        if mode == "auto":
            mode = "bar" if sys.stderr.isatty() else "plain"
        self.mode = mode
        self._queue = queue
        self._verbose = verbose
        self._events_at = _size(queue.events)
        self._next_at = time.monotonic() + (0.0 if mode in ("bar", "json") else PLAIN_S)
        self._live: Any = None

    def __call__(self) -> None:
        now = time.monotonic()
        if self.mode == "none" or now < self._next_at:
            return
        self._next_at = now + {"bar": BAR_S, "plain": PLAIN_S, "json": JSON_S}[self.mode]
        self._try(status.collect(self._queue.root))

    def _try(self, value: dict[str, Any]) -> None:
        """Show it; a reader that is gone (a closed pipe, a lost terminal) ends the showing and not the run."""
        try:
            self._show(value)
        except (OSError, SystemExit):  # rich makes the second of a closed pipe
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if self.mode == "json" else 2)
            self.mode, self._live = "none", None

    def _show(self, value: dict[str, Any]) -> None:
        if self._verbose and self.mode != "json":
            self._tell_events()
        if self.mode == "json":
            click.echo(json.dumps({"message_type": "status", **value}))
        elif self.mode == "plain":
            click.echo(line(value), err=True)
        else:
            self._draw(value)

    def _draw(self, value: dict[str, Any]) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        if self._live is None:
            self._live = Live(
                console=Console(stderr=True, highlight=False), auto_refresh=False, transient=False
            )
            self._live.start()
        width = max(10, min(60, self._live.console.width - 2))
        final = value["ok"] + value["absent"] + value["failed"]
        bar = ProgressBar(total=max(1, value["total"]), completed=final, width=width)
        self._live.update(Group(bar, Text(line(value), overflow="fold")), refresh=True)

    def _tell_events(self) -> None:
        try:
            with open(self._queue.events, "rb") as file:
                file.seek(self._events_at)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._events_at += len(whole)
        for text in whole.decode("utf-8", "replace").splitlines():
            try:
                event = json.loads(text)
            except ValueError:
                continue
            words = (event.get("at"), event.get("event"), event.get("egress"), event.get("reason"))
            click.echo(printable("  ".join(str(word) for word in words if word)), err=True)

    def close(self) -> None:
        """Show the end state and let go of the terminal."""
        if self.mode == "none":
            return
        self._try(status.collect(self._queue.root))
        if self._live is not None:
            with contextlib.suppress(OSError, SystemExit):
                self._live.stop()


def line(value: dict[str, Any]) -> str:
    """A status in one line."""
    final = value["ok"] + value["absent"] + value["failed"]
    rate = value["rate_per_s"]["1m"]
    parts = [
        f"{final:,}/{value['total']:,}",
        f"ok {value['ok']:,}, absent {value['absent']:,}, failed {value['failed']:,}",
    ]
    if value["deferred"]:
        parts.append(f"deferred {value['deferred']:,}")
    if value["state"] == "running":
        parts.append(f"{rate:.2f}/s, left {eta(value['eta_s'])}")
        parts.append(_limit(value))
    else:
        parts.append(value["state"])
    return " | ".join(part for part in parts if part)


def _limit(value: dict[str, Any]) -> str:
    limit = value["limited_by"]
    if limit in ("blocks", "network"):
        waits = [its["open_in_s"] for its in value["egresses"] if its["open_in_s"]]
        again = f", next try in {duration(min(waits))}" if waits else ""
        return f"waiting: {'blocked' if limit == 'blocks' else 'no network'}{again}"
    return "" if limit == "nothing" else f"limited by {limit}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
