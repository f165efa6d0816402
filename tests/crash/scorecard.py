"""The scorecard's frame: for each numbered fault, how one trial of it is played, and how often it is tried.

A row is a function `play(place, seed)`: one seeded trial in a directory of its own (`place`, see nights.py), with
real commands wherever it can. It raises AssertionError at a violation and returns what is worth telling; a sweep
returns `Told(trials, ...)`, because one call of it is many trials. The same seed makes the same faults.

Rows register themselves in the modules `row_*.py` beside this one; `rows()` imports them all. `run_scorecard.py`
plays them and makes the table; `test_crash_scorecard.py` and `test_crash_inside.py` play each row's quick share in
every test run.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nights import Place

QUICK_SEED = 1


@dataclass(frozen=True)
class Told:
    """What a sweep came to: how many trials it was, and what to tell."""

    trials: int
    text: str = ""


def repeats(often: int, quick: int) -> int:
    """How often a trial repeats its fault: `quick` times in a test run, else `often`."""
    return quick if share() == "quick" else often


Play = Callable[[Place, int], str | Told | None]


def share() -> str:
    """How much is being played: `quick` (in a test run), `tenth`, or `whole`. For a fault that lasts: how long."""
    return os.environ.get("SCORECARD_SHARE", "quick")


@dataclass(frozen=True)
class Row:
    """One way to make one fault."""

    number: int  # in the scorecard
    name: str  # a word or two with dashes, unique
    fault: str  # for the table
    trials: int  # the whole, in calls of `play`
    quick: int  # of them, in every test run
    play: Play
    inside: bool  # patches this process: nothing may be played beside it
    quiet: bool  # measures time: nothing may be played beside it
    waits: bool  # most of its time, so that others can be played meanwhile


_ROWS: dict[str, Row] = {}


def row(
    number: int,
    name: str,
    fault: str,
    *,
    trials: int,
    quick: int = 0,
    inside: bool = False,
    quiet: bool = False,
    waits: bool = False,
) -> Callable[[Play], Play]:
    """Register a play as a row of the scorecard."""

    def register(play: Play) -> Play:
        if name in _ROWS and _ROWS[name].play.__qualname__ != play.__qualname__:
            raise ValueError(f"two rows are called {name}")
        _ROWS[name] = Row(number, name, fault, trials, quick, play, inside, quiet, waits)
        return play

    return register


def rows() -> list[Row]:
    """All rows, by number, then in the order they were written."""
    for path in sorted(Path(__file__).parent.glob("row_*.py")):
        importlib.import_module(path.stem)
    return sorted(_ROWS.values(), key=lambda row: row.number)


def quick() -> Iterator[tuple[Row, int]]:
    """The trials of every test run: rows and seeds. Those that wait come in between those that work."""
    trials = [(row, QUICK_SEED + number) for row in rows() for number in range(row.quick)]
    sorts = ([trial for trial in trials if trial[0].waits is waits] for waits in (True, False))
    for both in itertools.zip_longest(*sorts):
        yield from filter(None, both)


def alone(row: Row, seed: int, root: Path) -> str | Told | None:
    """Play one trial below a directory; its stand-ins end with it."""
    with contextlib.ExitStack() as stack:
        return row.play(Place(root, stack), seed)
