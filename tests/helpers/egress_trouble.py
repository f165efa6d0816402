"""Trouble among many egresses: a twentieth each dies, hangs and is blocked, and the others are to keep their rate.

Two runs side by side, one with the trouble and one without, so that a busy machine slows down both. What is compared
is how many requests of the egresses that nothing happened to were answered in the same stretch of both.
`scripts/bench engine --egresses N --trouble` plays it with many; the suite plays a small share of the same.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from commands import environment
from patience import HANG_S, until

from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids, start

KINDS = ("gone", "hang", "429")


class Trial(NamedTuple):
    """`egresses` at `rate` a second each, with these further options; trouble begins `settled_s` after the first
    request and is looked at for `stretch_s`."""

    egresses: int
    rate: float
    options: str
    settled_s: float
    stretch_s: float
    latency_s: float = 0.05

    @property
    def each(self) -> int:
        """To how many each kind of trouble happens."""
        return max(1, self.egresses // 20)

    def scenarios(self) -> tuple[str, ...]:
        return tuple(
            f"{kind}@{self.settled_s:g}-/{_name(at * self.each + number)}"
            for at, kind in enumerate(KINDS)
            for number in range(self.each)
        )

    def spared(self) -> set[str]:
        return {_name(number) for number in range(len(KINDS) * self.each, self.egresses)}


@dataclass(frozen=True)
class Kept:
    """When requests by the spared egresses were answered, in seconds since the trouble began, with the trouble and
    without; `played`: how many requests each kind of trouble spoiled."""

    trial: Trial
    with_trouble: list[float]
    without: list[float]
    played: dict[str, int]

    @property
    def troubled(self) -> float:
        """Requests a second."""
        return len(self.with_trouble) / self.trial.stretch_s

    @property
    def calm(self) -> float:
        return len(self.without) / self.trial.stretch_s

    @property
    def share(self) -> float:
        return self.troubled / self.calm

    def shares(self, each_s: float = 10.0) -> list[int]:
        """In %, of each so many seconds."""
        stretches = range(int(self.trial.stretch_s // each_s))
        counts = ([sum(int(t // each_s) == n for t in times) for n in stretches] for times in self._both)
        return [round(100 * troubled / max(calm, 1)) for troubled, calm in zip(*counts, strict=True)]

    @property
    def _both(self) -> tuple[list[float], list[float]]:
        return self.with_trouble, self.without


def kept(root: Path, trial: Trial) -> Kept:
    """Play both runs."""
    with ThreadPoolExecutor(2) as side_by_side:
        calm = side_by_side.submit(_answered, root / "calm", trial, ())
        troubled, played = side_by_side.submit(_answered, root / "trouble", trial, trial.scenarios()).result()
        return Kept(trial, troubled, calm.result()[0], played)


def _name(number: int) -> str:
    return f"u{number:04}"


def _answered(root: Path, trial: Trial, scenes: Sequence[str]) -> tuple[list[float], dict[str, int]]:
    """When requests by the spared egresses were answered in one run, which is then stopped; and what was played."""
    root.mkdir(parents=True)
    settings = RehearsalSettings(latency_s=trial.latency_s, scenarios=tuple(scenes))
    with start(settings) as site, open(root / "said", "wb") as said:
        process = subprocess.Popen(_command(root, trial, site), env=environment(), stdout=said, stderr=said)
        try:
            until(site.arrivals, HANG_S, "for the first request")
            process.wait(trial.settled_s + trial.stretch_s)
        except subprocess.TimeoutExpired:
            process.terminate()
        finally:
            process.wait(2 * HANG_S)
        arrivals, played = site.arrivals(), site.stats()["scenes_played"]
    assert process.returncode == 128 + signal.SIGTERM, (root / "said").read_text()
    spared, began = trial.spared(), arrivals[0]["t"] + trial.settled_s
    answered = (row["t"] - began for row in arrivals if row["status"] == 200 and row["egress"] in spared)
    return [t for t in answered if 0 <= t < trial.stretch_s], played


def _command(root: Path, trial: Trial, site: Rehearsal) -> list[str]:
    enough = int(trial.egresses * (trial.rate * (trial.settled_s + trial.stretch_s) + 4))
    (root / "ids.txt").write_text("\n".join(invented_ids(enough, 1)))
    proxies = root / "proxies.txt"
    proxies.write_text("\n".join(site.proxy_url_as(_name(number)) for number in range(trial.egresses)))
    proxies.chmod(0o600)
    where = ("-q", root / "q", "-o", root / "o", "--proxies", proxies, "--ca-bundle", site.ca_bundle)
    options = ("--rate", f"{trial.rate:g}", "--progress", "none", "--grace", "1", *trial.options.split())
    return list(map(str, (sys.executable, "-m", "engine", "run", root / "ids.txt", *where, *options)))
