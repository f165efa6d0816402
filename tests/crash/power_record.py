"""A real small run, recorded: `engine seed` twice, then `engine run` with more videos.

The two small segments become one before the run, that one and the run's own become one when they are through: both
sorts of gathering are in the recording, of two segments of two chunks each.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import power_trace
import recount
from commands import environment, kill, session_members, unpaced, until, videos
from injected import injected
from power_ops import Files, Recording
from power_resume import lay
from power_states import states

from engine.rehearsal import Rehearsal, RehearsalSettings, start

FIRST, MORE = (
    18,
    17,
)  # jobs of the two segments: chunks of 16 and 2, of 16 and 1; the first is seeded by halves
LATENCY_S = 0.1
SCENES = ("private=0.15", "error500=0.15")
RUN_S = 120.0
ENGINE = Path(__file__).resolve().parents[2]
# Sooner than in earnest, so that a short run has all sorts of steps.
_HURRIED = {
    "engine.worker.main": "SYNC_S = 0.3",
    "engine.worker.retry_policy": "WAITS_S = (0.2, 0.4, 0.6); LONG_WAIT_S = 1.0",
    "engine.queue.gathering": f"MANY = 2; UNTOUCHED_JOBS = {FIRST // 2}",
}


@dataclass
class Recorded:
    """What was recorded, the list of all videos, and what became of each (None: ok)."""

    recording: Recording
    listed: Path
    kinds: dict[str, str | None]
    since: int = 0  # steps from before this run: no cut is tried among them

    @property
    def root(self) -> Path:
        return self.recording.root

    @property
    def ids(self) -> list[str]:
        return list(self.kinds)


@contextlib.contextmanager
def workshop() -> Iterator[Path]:
    """A directory in memory, if the system has that: states are laid out by the hundred."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(
        prefix="engine-power-", dir=memory if os.access(memory, os.W_OK) else None
    ) as root:
        yield Path(root).resolve()


def record(place: Path, seed: int, after: str = "", options: tuple[str, ...] = ()) -> Recorded:
    """Record a run with these options below `place`.

    `after`: what befell an earlier one, whose work it goes on with. `kill`: all its processes were killed half way.
    `cut`: it ended in a power cut, of which one state is laid out.
    """
    for _ in range(3):
        if after == "cut":
            left = _left_by_a_cut(place, seed, options)
            found = _once(place, seed, left=left, options=options)
        else:
            found = _once(place, seed, killed=after == "kill", options=options)
        # The log tells in which order calls ended, and that can differ from the order in which they took effect.
        if not found.recording.matches():
            return found
    raise AssertionError(f"the log does not tell what happened: {found.recording.matches()[:5]}")


def _left_by_a_cut(place: Path, seed: int, options: tuple[str, ...]) -> Files:
    """What a power cut in the second half of a recorded run leaves behind."""
    recording = record(place, seed, options=options).recording
    return next(states(recording, "posix", seed, 1, since=len(recording.steps) // 2)).files


def _once(
    place: Path,
    seed: int,
    *,
    killed: bool = False,
    left: Files | None = None,
    options: tuple[str, ...] = (),
) -> Recorded:
    root = place / "disk"
    lay(left or {}, root)
    ids = videos(FIRST + MORE, seed)
    listed = place / "videos.txt"
    listed.write_text("".join(f"{video_id}\n" for video_id in ids))
    recording = Recording(root)
    recording.begin(left or {})
    since = len(recording.steps)
    with start(RehearsalSettings(latency_s=LATENCY_S, seed=seed, scenarios=SCENES)) as site:
        way = ("--proxy", site.proxy_url, "--ca-bundle", site.ca_bundle)
        run = [*unpaced(root), "-p", 2, "-t", 2, *options, *way, listed]
        if left is None:
            for number, half in enumerate((ids[: FIRST // 2], ids[FIRST // 2 : FIRST])):
                _traced(recording, place / f"seed{number}.log", ["seed", "-q", root / "queue", *half])
        if killed:
            _traced(recording, place / "killed.log", run, site=site)
            since = len(recording.steps)
        _traced(recording, place / "run.log", run)
    (place / "seed").write_text(str(seed))
    rows = recount.by_id(recount.manifest(root / "queue"))
    return Recorded(recording, listed, {video_id: rows[video_id]["kind"] for video_id in ids}, since)


def _traced(recording: Recording, log: Path, args: list[object], site: Rehearsal | None = None) -> None:
    """Run a command to its end, or (`site`) until that has seen half of the requests, and take its log over."""
    command = [*power_trace.command(log), sys.executable, "-m", "engine", *map(str, args)]
    env = environment(**injected(log.parent, _HURRIED), PYTHONDONTWRITEBYTECODE="1")
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        if site is not None:
            until(lambda: sum(site.stats()["requests"].values()) >= FIRST + MORE, RUN_S, "for half a run")
            for pid in set(session_members(process.pid)) - {process.pid}:
                kill(pid)
        try:
            said, _ = process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            for pid in session_members(process.pid):
                kill(pid)
            raise AssertionError(f"{' '.join(map(str, args))} did not end in {RUN_S:g} s") from None
    assert site is not None or process.returncode == 0, said.decode()
    recording.take(power_trace.calls(log, shift=recording.lines))
