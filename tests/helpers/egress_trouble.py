"""Trouble among many egresses: a twentieth each dies, hangs and is blocked, and the others are to keep their rate.

Two runs side by side, one with the trouble and one without, so that a busy machine slows down both. What is compared
is how many requests of the egresses that nothing happened to were answered in the same stretch of both. Who hangs
does so for every request, control videos included: its proxy takes all and hands on nothing. `scripts/bench
engine --egresses N --trouble` plays it with many; the suite plays a small share of the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from commands import environment
from patience import HANG_S, until
from warm import start

from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids

SCENES = ("gone", "429")
FREE = 0.9  # of what the rate allows
KINDS = len(SCENES) + 1  # and those that hang, by another proxy


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
            for at, kind in enumerate(SCENES, 1)
            for number in range(self.each)
        )

    def hangs(self, number: int) -> bool:
        return number < self.each

    def spared(self) -> set[str]:
        return {_name(number) for number in range(KINDS * self.each, self.egresses)}


@dataclass(frozen=True)
class Kept:
    """When requests by the spared egresses were answered, in seconds since the trouble began, with the trouble and
    without; `played`: how many requests each kind of trouble spoiled, for `hang` how often something was sent."""

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

    @property
    def judges(self) -> bool:
        """Whether the machine let the run without trouble have its rate: else it says nothing about the other."""
        return self.calm >= FREE * self.trial.rate * len(self.trial.spared())

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
        calm = side_by_side.submit(_answered, root / "calm", trial, trouble=False)
        troubled, played = side_by_side.submit(_answered, root / "trouble", trial, trouble=True).result()
        return Kept(trial, troubled, calm.result()[0], played)


class Relay:
    """A proxy that hands on to another, until it is told to hang: then it takes everything and answers nothing."""

    def __init__(self, port: int) -> None:
        self.lost = 0
        self._to = port
        self._hangs = False
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def hang(self) -> None:
        self._hangs = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._pass_on(reader, forth), self._pass_on(back, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self._hangs:
                    self.lost += 1
                else:
                    writer.write(data)
        writer.close()


def _name(number: int) -> str:
    return f"u{number:04}"


def _answered(root: Path, trial: Trial, *, trouble: bool) -> tuple[list[float], dict[str, int]]:
    """When requests by the spared egresses were answered in one run, which is then stopped; and what was played."""
    root.mkdir(parents=True)
    settings = RehearsalSettings(latency_s=trial.latency_s, scenarios=trial.scenarios() if trouble else ())
    with start(settings) as site, Relay(site.address.port) as relay, open(root / "said", "wb") as said:
        command = _command(root, trial, site, relay.port)
        process = subprocess.Popen(command, env=environment(), stdout=said, stderr=said)
        try:
            until(site.arrivals, HANG_S, "for the first request")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(trial.settled_s)
            if trouble:
                relay.hang()
            process.wait(trial.stretch_s)
        except subprocess.TimeoutExpired:
            process.terminate()
        finally:
            process.wait(2 * HANG_S)
        arrivals, played = site.arrivals(), site.stats()["scenes_played"] | {"hang": relay.lost}
    assert process.returncode == 128 + signal.SIGTERM, (root / "said").read_text()
    spared, began = trial.spared(), arrivals[0]["t"] + trial.settled_s
    answered = (row["t"] - began for row in arrivals if row["status"] == 200 and row["egress"] in spared)
    return [t for t in answered if 0 <= t < trial.stretch_s], played


def _command(root: Path, trial: Trial, site: Rehearsal, hanging_port: int) -> list[str]:
    enough = int(trial.egresses * (trial.rate * (trial.settled_s + trial.stretch_s) + 4))
    (root / "ids.txt").write_text("\n".join(invented_ids(enough, 1)))
    proxies = root / "proxies.txt"
    urls = [site.proxy_url_as(_name(number)) for number in range(trial.egresses)]
    for number in filter(trial.hangs, range(trial.egresses)):
        urls[number] = urls[number].replace(f":{site.address.port}", f":{hanging_port}")
    proxies.write_text("\n".join(urls))
    proxies.chmod(0o600)
    where = ("-q", root / "q", "-o", root / "o", "--proxies", proxies, "--ca-bundle", site.ca_bundle)
    options = ("--rate", f"{trial.rate:g}", "--progress", "none", "--grace", "1", *trial.options.split())
    return list(map(str, (sys.executable, "-m", "engine", "run", root / "ids.txt", *where, *options)))
