"""Power cuts over an export: its steps to the disk of WHERE, recorded; what a cut may leave; the next export."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import power_trace
from commands import environment
from export_trial import OPTIONS, Trial, export
from power_ops import Files, Recording, Step
from power_resume import lay
from power_states import State, states

RUN_S = 300.0


def recorded(place: Path, kind: str, mode: str) -> tuple[Trial, Recording, int]:
    """A trial, its export as it was recorded, and how many steps the disk began with."""
    trial = Trial(place, kind, mode, at="disk/x")
    trial.lay()
    disk = trial.where.parent
    found: Files = {}
    for path in sorted(disk.rglob("*")):
        found[path.relative_to(disk).as_posix()] = None if path.is_dir() else path.read_bytes()
    recording = Recording(disk)
    recording.begin(found)
    since = len(recording.steps)
    log = place / "log"
    options = [
        text
        for name, value in OPTIONS.get(kind, {}).items()
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
    command = [
        sys.executable,
        "-m",
        "engine",
        "export",
        "-q",
        trial.queue.root,
        "--to",
        kind,
        "-o",
        str(trial.where),
    ]
    command += ["-p", "1", *options, *(["--new"] if trial.new else [])]
    done = subprocess.run(
        [*power_trace.command(log), *command],
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    recording.take(power_trace.calls(log))
    assert not recording.matches(), recording.matches()[:5]
    return trial, recording, since


def play(
    trial: Trial, recording: Recording, since: int, model: str, seed: int, count: int, broken: str = ""
) -> Iterator[tuple[State, str]]:
    """Up to `count` states, each with what is wrong in it or after the next export; nothing when nothing is."""
    steps = VARIANTS[broken](recording.steps) if broken else None
    for state in states(recording, model, seed, count, since=since, steps=steps):
        wrong = ""
        try:
            lay(state.files, recording.root)
            trial.check_now()
            export(trial.queue.root, trial.kind, trial.where, new=trial.new)
            trial.check_end()
        except Exception as exc:
            where = traceback.extract_tb(exc.__traceback__)[-1]
            wrong = f"{type(exc).__name__}: {exc} ({where.name}: {where.lineno})"[:400]
        yield state, wrong


def _unsynced(pattern: str) -> Callable[[list[Step]], list[Step]]:
    """The steps, in which syncs of what matches promise nothing."""

    def broken(steps: list[Step]) -> list[Step]:
        wanted = re.compile(pattern)
        return [replace(s, began=-1) if s.verb == "sync" and wanted.fullmatch(s.about) else s for s in steps]

    return broken


VARIANTS = {  # each shows in the kind and mode that `row_export` plays it in
    "tables are not synced": _unsynced(r".*/staged-\w+/table|x"),
    "lists are not synced": _unsynced(r"x/\.engine-export(/.*)?|x"),
    "texts are not synced": _unsynced(r".*/staged-\w+|x"),
}
