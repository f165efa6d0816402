"""Real runs through the stand-in, by as many egresses as a test wants: each is a user name of its own."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from commands import Command
from patience import HANG_S

import engine
from engine.budget import EgressView, snapshot
from engine.rehearsal import Rehearsal, invented_ids

ROOT = Path(engine.__file__).parent.parent
PASSWORD = "canary-7f3a9"


@dataclass
class Done:
    """A run that has ended."""

    code: int
    said: str
    queue: Path
    output: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.queue / "manifest.jsonl").read_text().splitlines()]

    @property
    def kinds(self) -> Counter[str]:
        return Counter(row["kind"] or row["status"] for row in self.rows)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.queue / "events.jsonl").read_text().splitlines()]

    def told(self, event: str) -> set[str]:
        """Whom an event befell, as p001."""
        return {value["egress"].partition(" ")[0] for value in self.events if value["event"] == event}


class Rates:
    """What the budget file said of each egress while a run was at work, ten times a second, by its slot (p001)."""

    EACH_S = 0.1

    def __init__(self, budget: Path) -> None:
        self._budget = budget
        self._seen: list[tuple[float, dict[str, EgressView]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(self.EACH_S):
            views = {egress_view.name[:4]: egress_view for egress_view in snapshot(str(self._budget))}
            self._seen.append((time.monotonic(), views))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def back_at(self, slot: str, after_s: float) -> float:
        """Since when (monotonic) an egress has been closed for good, `after_s` at the earliest."""
        down = [at_s for at_s, views in self._seen if slot in views and views[slot].state != "ok"]
        return max([after_s, *(at_s + self.EACH_S for at_s in down)])

    def granted(self, slot: str, start_s: float, end_s: float) -> float:
        """How many requests the budget would let an egress send in this stretch: its rate, while it is closed,
        summed over the time."""
        total = 0.0
        for (at_s, views), (next_s, _) in pairwise(self._seen):
            view = views.get(slot)
            if view is not None and view.state == "ok" and view.rate_per_s is not None:
                total += view.rate_per_s * max(0.0, min(next_s, end_s) - max(at_s, start_s))
        return total

    def rate_per_s(self, slot: str, at_s: float) -> float:
        """Its rate at this time."""
        views = next(views for seen_s, views in reversed(self._seen) if seen_s <= at_s)
        return views[slot].rate_per_s or 0.0


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def engine_command(*args: str) -> list[str]:
    return [sys.executable, "-m", "engine", *args]


def environment(pace: float = 1.0) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    return {**kept, "ENGINE_BUDGET_PACE": str(pace)}


def proxies_file(tmp_path: Path, urls: Sequence[str]) -> Path:
    path = tmp_path / "proxies.txt"
    path.write_text("\n".join(urls) + "\n")
    path.chmod(0o600)
    return path


def run_command(
    tmp_path: Path, stand_in: Rehearsal, urls: Sequence[str], videos: int, options: str
) -> list[str]:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(invented_ids(videos, 1)))
    return engine_command(
        *("run", str(ids), "-q", str(tmp_path / "q"), "-o", str(tmp_path / "o"), "--progress", "none"),
        *(
            "--proxies",
            str(proxies_file(tmp_path, urls)),
            "--ca-bundle",
            stand_in.ca_bundle,
            *options.split(),
        ),
    )


def run(
    tmp_path: Path,
    stand_in: Rehearsal,
    urls: Sequence[str],
    videos: int,
    options: str,
    pace: float = 1.0,
) -> Done:
    """Run to the end."""
    command = run_command(tmp_path, stand_in, urls, videos, options)
    with Command(*command[3:], cwd=ROOT, warm=True, ENGINE_BUDGET_PACE=str(pace), ENGINE_MASK="auto") as item:
        ended = item.wait(2 * HANG_S)
    return Done(ended.code, ended.said, tmp_path / "q", tmp_path / "o")
