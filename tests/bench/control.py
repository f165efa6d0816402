"""How much of a hidden limit the adaptive rate uses, how often it is refused, and how often it is blocked.

Whole nights against simulated limits (`tests/helpers/low_rates.py`), beside AIMD, botocore's CUBIC, Scrapy's
AutoThrottle and an oracle that knows the limit. A cell is the median of the seeds, the worst in brackets. Run by
`scripts/bench control [--full] [--seeds 801-805] [--who ours,aimd] [--only TEXT,TEXT] [--rate auto]`; `--only` takes
the cells whose name contains each TEXT. The full grid takes about ten minutes a seed on two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "helpers"))

from low_rates import BLOCKS, KINDS, LIMITS, SPURIOUS, Came, Cell, play
from peers import PEERS

SEEDS = "801-803"
REALISTIC = 1000 / 3600


def quick() -> Iterator[Cell]:
    """A few cells of each sort."""
    for block in ("60 s", "15 min"):
        for kind in ("window 10 s", "bucket 100"):
            for limit in (0.33, 1.0):
                yield Cell(limit, kind, block)
    yield Cell(REALISTIC, "bucket 1000", "15 min")
    yield from (Cell(0.33, "window 10 s", "60 s", spurious) for spurious in SPURIOUS)
    yield Cell(1.0, "window 10 s", "60 s", steps=True)


def full() -> Iterator[Cell]:
    """The whole grid: constant limits, the realistic bucket, threads, refusals for no reason, steps."""
    for block in BLOCKS:
        for kind in KINDS:
            limits = LIMITS if block == "60 s" else LIMITS[:-1]  # at 20/s a night costs most, and shows least
            yield from (Cell(limit, kind, block) for limit in limits)
        yield from (Cell(REALISTIC, "bucket 1000", block, threads=threads) for threads in (1, 8, 32))
    for limit in (0.33, 1.0, 5.0):
        yield from (Cell(limit, "window 10 s", "60 s", spurious) for spurious in SPURIOUS)
    for limit in (0.33, 1.0):
        yield from (Cell(limit, "window 10 s", "60 s", threads=threads) for threads in (1, 32))
        yield from (Cell(limit, "window 10 s", block, steps=True) for block in ("60 s", "15 min"))


def cell_text(nights: list[Came]) -> str:
    """Share used in % / refused per 1,000 / block episodes / the whole night in %."""
    share, refused, episodes, whole = (list(column) for column in zip(*nights, strict=True))
    return (
        f"{100 * statistics.median(share):.0f} ({100 * min(share):.0f}) "
        f"| {statistics.median(refused):.2f} ({max(refused):.2f}) "
        f"| {statistics.median(episodes):g} ({max(episodes):g}) "
        f"| {100 * statistics.median(whole):.0f} ({100 * min(whole):.0f})"
    )


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench control", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the whole grid")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", default=SEEDS, metavar="A-B")
    parser.add_argument("--who", default="ours", metavar="NAME,NAME", help=f"ours, {', '.join(PEERS)}")
    parser.add_argument("--only", default="", metavar="TEXT,TEXT", help="cells whose name contains each TEXT")
    parser.add_argument("--rate", default="auto", help="what --rate says")
    wanted = parser.parse_args()
    seeds = _seeds(wanted.seeds)[: 1 if wanted.quick else None]
    texts = [text for text in wanted.only.split(",") if text]
    cells = [
        cell for cell in (full() if wanted.full else quick()) if all(text in f"{cell}," for text in texts)
    ]
    print(f"seeds {seeds[0]}-{seeds[-1]}: median (worst); share and refused after the first hour\n")
    print("| cell | who | share used, % | refused per 1,000 | block episodes | whole night, % |")
    print("|---|---|---|---|---|---|")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = [
            (cell, who, [pool.submit(play, cell, seed, who, wanted.rate) for seed in seeds])
            for cell in cells
            for who in wanted.who.split(",")
        ]
        for cell, who, nights in rows:
            print(f"| {cell} | {who} | {cell_text([night.result() for night in nights])} |", flush=True)


if __name__ == "__main__":
    main()
