"""21: exports die at any step, by kill -9, and by power cuts. Nothing half has a name, and the next one is whole."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import canned_batch
import power_trace
from commands import Batch, environment, videos
from export_power import play, recorded
from export_trial import EDITION, KINDS, MODES, content, files, rows_of
from injected import injected
from nights import Place
from power_record import workshop
from power_states import MODELS
from scorecard import Told, row
from support import STEPS

DEATHS = Path(__file__).with_name("export_deaths.py")
SWEEPS = [(kind, mode, fault) for fault in ("die", "torn", "full") for mode in MODES for kind in KINDS]
BROKEN = {
    "under the name": ("csv", "again"),
    "listed late": ("txt", "again"),
    "one mark": ("csv", "new"),
    "nothing left": ("parquet", "new"),
}


def deaths(place: Place, *args: str) -> dict[str, object]:
    root = place.root / "deaths"
    root.mkdir()
    done = subprocess.run(
        [sys.executable, DEATHS, root, *args], capture_output=True, text=True, timeout=1700, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


@row(
    21,
    "export-steps",
    "an export dies at the k-th step to disk, every k; half a write; a full disk",
    trials=len(SWEEPS),
    quick=1,
)
def steps(place: Place, seed: int) -> Told:
    """Every step of one kind of export, by one fault."""
    kind, mode, fault = SWEEPS[(seed * 7 + 1) % len(SWEEPS)]
    told = deaths(place, kind, mode, fault, str(seed))
    assert told["wrong"] == [], (kind, mode, fault, told["wrong"])
    return Told(int(str(told["trials"])), f"{kind} {mode} {fault}: {told['steps']} steps")


@row(21, "export-controls", "broken exports, each of which must be caught", trials=len(BROKEN), quick=1)
def controls(place: Place, seed: int) -> Told:
    """Not a fault but the proof that the others can fail."""
    name = list(BROKEN)[(seed + 1) % len(BROKEN)]
    told = deaths(place, *BROKEN[name], "die", str(seed), name)
    assert told["wrong"], f"{name}: nothing is wrong in {told['trials']} trials"
    return Told(int(str(told["trials"])), f"{name}: caught")


OPTIONS = {"parquet": ("--rows-per-file", "70"), "txt": ("--flat",)}
VIDEOS, MORE = 600, 300


COUNTING = """
import os as _os, signal as _signal
def _counted(real):
    def call(*args):
        if "EXPORTING" not in _os.environ:
            return real(*args)
        fd = _os.open({log!r}, _os.O_WRONLY | _os.O_APPEND | _os.O_CREAT, 0o600)
        _os.write(fd, b".")
        count = _os.fstat(fd).st_size
        _os.close(fd)
        if count == {at}:
            _os.killpg(0, _signal.SIGKILL)
        return real(*args)
    return call
for _name in {names!r}:
    globals()[_name] = _counted(globals()[_name])
"""
KILLS, MOST_TRIES = 3, 12  # of each export


@row(
    21,
    "export-killed",
    "kill -9 of `engine export` and all its processes, at any step to disk, again and again",
    trials=30,
    quick=1,
)
def killed(place: Place, seed: int) -> Told:
    """Some kinds into one place each; each export is killed until one gets through, then `--new` after growth.

    An undisturbed export to another place says how many steps there are, in all processes together.
    """
    luck = random.Random(seed)
    kind = luck.choice(KINDS)
    queue = canned_batch.batch(place.root, canned_batch.some(VIDEOS, input={EDITION: "e0"}))
    where, beside = place.root / "x", place.root / "beside"
    kills = 0
    for new in (False, luck.random() < 0.7):
        if where.exists():
            shutil.copytree(where, beside, dirs_exist_ok=True)
        steps = _export(place.root, queue.root, kind, beside, new=new)
        wanted = kills + KILLS
        for _ in range(MOST_TRIES):
            ended = _export(place.root, queue.root, kind, where, new=new, kill_at=luck.randint(1, steps))
            steps = ended or steps  # they vary a little: it may have got through
            kills += not ended
            for path in files(where).values():
                content(kind, path)  # raises for what is half there
            if kills == wanted:
                break
        else:
            raise AssertionError(f"{kind}: killed {kills} times in {MOST_TRIES} tries, of {steps} steps")
        assert _export(place.root, queue.root, kind, where, new=new)
        found = rows_of(kind, where)
        count = len(Path(queue.manifest).read_bytes().splitlines())
        assert (len(found), found.total()) == (count, count), (kind, new, len(found), found.total(), count)
        assert not [name for name in os.listdir(where / ".engine-export") if name.startswith("staged")]
        canned_batch.grow(queue, canned_batch.some(MORE, 5000, input={EDITION: "e1"}))
    return Told(kills, f"{kind}: killed {kills} times")


def _export(room: Path, root: str, kind: str, where: Path, *, new: bool, kill_at: int = 0) -> int:
    """Export in a session of its own, killed at this step to disk; how many steps there were, 0 if it was killed."""
    log = room / "steps"
    log.unlink(missing_ok=True)
    changes = {"engine.storage.disk": COUNTING.format(log=str(log), at=kill_at, names=STEPS)}
    command = [sys.executable, "-m", "engine", "export", "-q", root, "--to", kind, "-o", where, "-p", "2"]
    command += [*OPTIONS.get(kind, ()), *(["--new"] if new else [])]
    done = subprocess.run(
        command,
        env=environment(**injected(room, changes), EXPORTING="1"),
        stderr=subprocess.PIPE,
        start_new_session=True,
        timeout=600.0,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        return 0
    assert done.returncode == 0, done.stderr.decode()
    return log.stat().st_size


EXPORTING = """
import os as _os
_real_exported = _exported
def _exported(*args):
    _os.environ["EXPORTING"] = "1"
    return _real_exported(*args)
"""


@row(21, "export-run-killed", "kill -9 of everything while `engine run --export` exports", trials=10)
def run_killed(place: Place, seed: int) -> Told:
    """At any step to disk of the exports: of the run that has fetched the videos, then of runs that only export."""
    luck = random.Random(seed)
    site = place.stand_in(seed=seed)
    names = videos(60, seed)
    steps = _run(place.batch(names, site, "undisturbed"), place.root / "beside")
    batch, where = place.batch(names, site), place.root / "x"
    kills = 0
    for _ in range(MOST_TRIES):
        ended = _run(batch, where, kill_at=luck.randint(1, steps))
        steps = ended or steps
        kills += not ended
        for kind in ("csv", "txt"):
            for path in files(where / kind).values():
                content(kind, path)  # raises for what is half there
        if kills == KILLS:
            break
    assert kills == KILLS, f"killed {kills} times in {MOST_TRIES} tries, of {steps} steps"
    assert _run(batch, where)
    batch.clean()
    assert rows_of("csv", where / "csv") == {(name, ""): 1 for name in batch.ids}
    assert rows_of("txt", where / "txt").total() == len(names)
    return Told(kills, f"of {steps} steps")


def _run(batch: Batch, where: Path, *, kill_at: int = 0) -> int:
    """Run and export twice, killed at this step of the exports; how many these were, 0 if it was killed."""
    log = where.with_name("steps")
    log.unlink(missing_ok=True)
    changes = {
        "engine.storage.disk": COUNTING.format(log=str(log), at=kill_at, names=STEPS),
        "engine.cli.run_exports": EXPORTING,
    }
    exports = [f"--export={kind}:{where / kind}" for kind in ("csv", "txt")]
    ended = batch.run("-p", "2", *exports, timeout_s=120.0, **injected(where.parent, changes))
    if ended.code == -signal.SIGKILL:
        return 0
    assert ended.code == 0, ended.said
    return log.stat().st_size


STATES = 40  # of each model in a trial
CUTS = [(kind, mode) for mode in MODES for kind in KINDS]
UNSYNCED = {
    "tables are not synced": ("csv", "again"),
    "lists are not synced": ("csv", "new"),
    "texts are not synced": ("txt", "again"),
}
NO_STRACE = Told(0, "strace is missing or not allowed here: nothing was tried")


@row(
    21,
    "export-power-cut",
    "power cut at any step of an export, states by two models",
    trials=18,
    quick=1,
    inside=True,
)
def power_cut(place: Place, seed: int) -> Told:
    if not power_trace.available():
        return NO_STRACE
    kind, mode = CUTS[(seed * 5 + 2) % len(CUTS)]
    with workshop() as work:
        trial, recording, since = recorded(work, kind, mode)
        played = [each for model in MODELS for each in play(trial, recording, since, model, seed, STATES)]
    wrong = [f"{state}: {what}" for state, what in played if what]
    assert not wrong, f"{kind} {mode}: {len(wrong)} of {len(played)} states\n" + "\n".join(wrong)
    return Told(len(played), f"{kind} {mode}: {len(recording.steps) - since} steps, {len(played)} states")


@row(
    21, "export-power-controls", "exports without a sync, each of which must be caught", trials=3, inside=True
)
def power_controls(place: Place, seed: int) -> Told:
    if not power_trace.available():
        return NO_STRACE
    name = list(UNSYNCED)[seed % len(UNSYNCED)]
    with workshop() as work:
        trial, recording, since = recorded(work, *UNSYNCED[name])
        played = list(play(trial, recording, since, "posix", seed, 100, name))
    caught = sum(bool(wrong) for _, wrong in played)
    assert caught, f"{name}: nothing is wrong in {len(played)} states"
    return Told(len(played), f"{name}: {caught} of {len(played)}")
