"""Play rows of the scorecard, each trial in a process of its own, and print the table.

    run_scorecard.py [ROW…] [--seed N] [--trials N | --long] [--at-a-time N] [--json FILE]

A ROW is a number or a name; none means all. Without --long a tenth of each row's trials is played. Trial i of a
row has the seed N + i, so that a failure is played again by its row's name and its seed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]

from scorecard import Row, Told, alone, rows  # noqa: E402

TRIAL_S = 1800.0


@dataclass
class Score:
    """What the trials of one row came to."""

    row: Row
    calls: int = 0
    trials: int = 0
    violations: list[str] = field(default_factory=list)  # seeds
    told: list[str] = field(default_factory=list)
    took_s: float = 0.0


def main() -> int:
    options = _options()
    if options.one:
        return _one(options.one, options.seed)
    os.environ["SCORECARD_SHARE"] = "whole" if options.long else "tenth"  # see scorecard.share
    every = rows()
    chosen = [row for row in every if not options.rows or {row.name, str(row.number)} & set(options.rows)]
    unknown = set(options.rows) - {row.name for row in every} - {str(row.number) for row in every}
    if unknown:
        names = ", ".join(f"{row.number} {row.name}" for row in every)
        print(f"no such row: {', '.join(sorted(unknown))}. There are: {names}", file=sys.stderr)
        return 2
    scores = [Score(row, options.trials or _calls(row, options.long)) for row in chosen]
    began = time.monotonic()
    beside = [(score, i) for score in scores if not score.row.quiet for i in range(score.calls)]
    alone = [(score, i) for score in scores if score.row.quiet for i in range(score.calls)]
    with ThreadPoolExecutor(options.at_a_time) as pool:
        list(pool.map(lambda item: _trial(*item, options.seed), beside))
    for item in alone:
        _trial(*item, options.seed)
    _table(scores)
    print(f"{time.monotonic() - began:.0f} s, seeds from {options.seed}")
    if options.json:
        _write(options.json, scores, options.seed)
    return any(score.violations for score in scores)


def _calls(row: Row, long: bool) -> int:
    return row.trials if long else max(1, row.trials // 10)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="number or name; default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, help="so many of each row")
    parser.add_argument("--long", action="store_true", help="all trials of each row, not a tenth")
    parser.add_argument("--at-a-time", type=int, default=2, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="add what it came to, one line a row")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    return parser.parse_args()


def _one(name: str, seed: int) -> int:
    """One trial in this process; its last line of output is what it came to."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored in what a script starts with &, for ever
    row = {row.name: row for row in rows()}[name]
    with tempfile.TemporaryDirectory(prefix="engine-crash-") as root:
        told = alone(row, seed, Path(root))
    told = told if isinstance(told, Told) else Told(1, told or "")
    print(json.dumps({"trials": told.trials, "text": told.text}))
    sys.stdout.flush()
    os._exit(0)  # whatever thread is left


def _trial(score: Score, number: int, base: int) -> None:
    seed = base + number
    command = [sys.executable, str(HERE / "run_scorecard.py"), "--one", score.row.name, "--seed", str(seed)]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_S, check=False)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as exc:
        code, out, err = -1, "", f"not over after {TRIAL_S:g} s\n{exc.stderr or ''}"
    score.took_s += time.monotonic() - began
    if code:
        score.trials += 1
        score.violations.append(str(seed))
        print(f"FAILED {score.row.number} {score.row.name}, seed {seed}\n{out}{err}", file=sys.stderr)
        print(f"again: scripts/crash {score.row.name} --seed {seed} --trials 1", file=sys.stderr, flush=True)
        return
    value = json.loads(out.splitlines()[-1])
    score.trials += value["trials"]
    if value["text"]:
        score.told.append(value["text"])
        print(f"  {score.row.number} {score.row.name} seed {seed}: {value['text']}", flush=True)


def _table(scores: Iterable[Score]) -> None:
    print("\n| # | fault | trials | violations | s |\n|---|---|---|---|---|")
    for score in scores:
        row = score.row
        print(
            f"| {row.number} | {row.fault} | {score.trials:,} | {len(score.violations)} | {score.took_s:.0f} |"
        )


def _write(path: str, scores: Iterable[Score], seed: int) -> None:
    with open(path, "a", encoding="utf-8") as file:
        for score in scores:
            row = score.row
            value = {"row": row.number, "name": row.name, "fault": row.fault, "trials": score.trials}
            value |= {"violations": score.violations, "seed": seed, "at": time.strftime("%Y-%m-%d")}
            file.write(json.dumps({**value, "told": score.told}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
