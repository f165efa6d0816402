"""Power cuts: the steps of a real run to its disk, recorded; every sort of state a cut may leave; the next run."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path

import power_trace
from commands import engine, unpaced
from nights import Place
from power_play import Cuts, NextRun, Variant
from power_record import ENGINE, record, workshop
from power_resume import Resumed, resume
from power_states import MODELS
from power_variants import VARIANTS
from scorecard import Told, row

from engine.rehearsal import RehearsalSettings, start

STATES = 50  # of each model in a trial
BROKEN_STATES = 100  # at most, until a broken variant is caught
REAL_STATES = 4
NO_STRACE = Told(0, "strace is missing or not allowed here: nothing was tried")


def cuts(
    seed: int,
    count: int,
    after: str = "",
    next_run: NextRun = resume,
    options: tuple[str, ...] = (),
    control: Variant | None = None,
) -> Told:
    """Cut one recorded run off in so many ways under each model; raises AssertionError with the violations.

    `control`: a broken engine that must be caught on the same recording.
    """
    if not power_trace.available():
        return NO_STRACE
    with workshop() as place:
        recorded = record(place, seed, after, options)
        played = [
            (state, wrong)
            for model in MODELS
            for state, wrong in Cuts(recorded, model, next_run).play(seed, count)
        ]
        if control is not None:
            broken = Cuts(recorded, control.model, next_run).play(seed, BROKEN_STATES, control)
            assert any(wrong for _, wrong in broken), f"{control.name}: nothing is wrong"
    wrong = [f"{state}: {what}" for state, what in played if what]
    assert not wrong, f"{len(wrong)} of {len(played)} states\n" + "\n".join(wrong)
    counts = collections.Counter(state.model for state, _ in played)
    steps = len(recorded.recording.steps) - recorded.since
    return Told(len(played), f"{steps} steps, states: {dict(counts)}")


@row(
    5, "power-cut", "power cut at any step, states of the disk by two models", trials=12, quick=1, inside=True
)
def power_cut(place: Place, seed: int) -> Told:
    return cuts(seed, STATES)


@row(5, "power-cut-after-kill", "the same in the run after a kill -9 of everything", trials=6, inside=True)
def power_cut_after_kill(place: Place, seed: int) -> Told:
    return cuts(seed, STATES, "kill")


@row(5, "power-cut-twice", "the same in the run after another power cut", trials=6, inside=True)
def power_cut_twice(place: Place, seed: int) -> Told:
    return cuts(seed, STATES, "cut")


@row(5, "power-cut-real", "the same, and the next run is the real command", trials=5)
def power_cut_real(place: Place, seed: int) -> Told:
    return cuts(seed, REAL_STATES, ("", "kill", "cut")[seed % 3], next_run=_real)


def _real(root: Path, listed: Path | None, kinds: Mapping[str, str | None]) -> Resumed:
    """The next `engine run`, with its processes, against a stand-in that answers as in the recorded run."""
    seed = int((root.parent / "seed").read_text())
    with start(RehearsalSettings(latency_s=0.01, seed=seed, scenarios=("private=0.15",))) as site:
        way = ("--proxy", site.proxy_url, "--ca-bundle", site.ca_bundle)
        args = [*unpaced(root), "-p", "2", "-t", "4", *way, *([listed] if listed else [])]
        ended = engine(*args, PYTHONPATH=str(ENGINE))
        asked = {str(arrival["video_id"]) for arrival in site.arrivals()}
    return Resumed(ended.code, ended.said, collections.Counter(asked))


@row(5, "power-cut-controls", "broken engines, each of which the checker must catch", trials=1, inside=True)
def power_cut_controls(place: Place, seed: int) -> Told:
    """Not a fault but the proof that the others can fail."""
    if not power_trace.available():
        return NO_STRACE
    return caught(seed, VARIANTS)


def caught(
    seed: int, variants: list[Variant], options: tuple[str, ...] = (), next_run: NextRun = resume
) -> Told:
    """Play each broken engine until it is caught; raises AssertionError for one that is not."""
    told, tried = [], 0
    with workshop() as work:
        recorded = record(work, seed, options=options)
        for variant in variants:
            played = list(Cuts(recorded, variant.model, next_run).play(seed, BROKEN_STATES, variant))
            found = sum(bool(wrong) for _, wrong in played)
            assert found, f"{variant.name}: nothing is wrong in {len(played)} states"
            told.append(f"{variant.name}: {found} of {len(played)}")
            tried += len(played)
    return Told(tried, "; ".join(told))
