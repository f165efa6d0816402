"""The ways to YouTube at full size: one dies at noon, each alone, none at all, the mask, two clients that disagree.

Each row is a real run against the rehearsal server, its videos and faults drawn from the seed, and says what did not
hold. Run by `scripts/bench ways [ROW…] [--seed N] [--videos N] [--quick]`; a ROW is a name or how it begins
(`noon`, `alone`, `"case made for kids"`). Exit code 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]

from commands import LATENCY_S, Batch  # noqa: E402
from tables import machine  # noqa: E402
from way_trials import Came, Trial, trials  # noqa: E402

from engine.rehearsal import Rehearsal, RehearsalSettings, start  # noqa: E402

QUICK = 20  # times fewer videos


class Place:
    """A directory, and rehearsal servers that end with it."""

    def __init__(self, root: Path, stack: contextlib.ExitStack) -> None:
        self.root = root
        self._stack = stack

    def stand_in(self, **settings: Any) -> Rehearsal:
        return self._stack.enter_context(start(RehearsalSettings(**{"latency_s": LATENCY_S, **settings})))

    def batch(self, ids: list[str], site: Rehearsal | None = None, name: str = "batch") -> Batch:
        return Batch(self.root / name, site, ids)


def play(trial: Trial, seed: int, count: int) -> Came:
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-ways-")))
        try:
            return trial.play(Place(root, stack), seed, count)
        except AssertionError as exc:
            return Came(count, 0.0, 0.0, "", [str(exc)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench ways", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names, or how they begin; default: all")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--videos", type=int, metavar="N", help="instead of each row's full size")
    parser.add_argument(
        "--quick", action="store_true", help=f"a {QUICK}th of the videos: does it work at all?"
    )
    wanted = parser.parse_args()
    chosen = [trial for trial in trials() if not wanted.rows or trial.name.startswith(tuple(wanted.rows))]
    if not chosen:
        names = ", ".join(trial.name for trial in trials())
        print(f"no such row. There are: {names}", file=sys.stderr)
        return 2
    print(f"seed {wanted.seed}; {machine('yt-dlp', 'youtube-transcript-api')}\n")
    print("| row | videos | requests | KB | s | what was seen | |")
    print("|---|---|---|---|---|---|---|", flush=True)
    failed = 0
    for trial in chosen:
        count = wanted.videos or (max(trial.least, trial.size // QUICK) if wanted.quick else trial.size)
        began = time.monotonic()
        found = play(trial, wanted.seed, count)
        failed += bool(found.wrong)
        held = f"WRONG: {'; '.join(found.wrong)}" if found.wrong else "held"
        figures = f"{found.videos} | {found.requests:.2f} | {found.kb:.1f} | {time.monotonic() - began:.0f}"
        print(f"| {trial.name} | {figures} | {found.saw} | {held} |", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
