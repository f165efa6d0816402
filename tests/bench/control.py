"""How much of a hidden limit the adaptive budget uses, and how often it runs into it.

The controller itself (pure functions) against a simulated server, hours in seconds: each scenario, hidden limit
and way to give the rate with several seeds. Run by `scripts/bench control [--seeds 201-208] [--limits 20,4,1]
[--scenarios constant,steps] [--rates auto,given] [--quick]`. `given` is a number half as high again as the limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "helpers"))

from scenarios import AUTO, GIVEN, SCENARIOS, Came, play

SEEDS = "201-208"


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _line(name: str, limit: float, rate: str, nights: list[Came]) -> str:
    share, steady, blocks, refused = (list(column) for column in zip(*nights, strict=True))
    return (
        f"| {SCENARIOS[name].text} | {limit:g}/s | {rate} | {_spread(share, 3)} | {_spread(steady, 3)} "
        f"| {_spread(blocks, 2)} | {_spread(refused, 2)} |"
    )


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench control", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default=SEEDS, metavar="A-B")
    parser.add_argument(
        "--limits", default="20,4,1", metavar="R,R", help="hidden limits, requests per second"
    )
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), metavar="NAME,NAME")
    parser.add_argument("--rates", default="auto,given", metavar="auto,given")
    parser.add_argument("--quick", action="store_true", help="two seeds, limits 4 and 1")
    wanted = parser.parse_args()
    seeds = _seeds(wanted.seeds)[: 2 if wanted.quick else None]
    limits = [float(limit) for limit in ("4,1" if wanted.quick else wanted.limits).split(",")]
    print(
        f"seeds {seeds[0]}-{seeds[-1]}; median (least-most); steady: without 30 min after the start and a step\n"
    )
    print("| the limit | | --rate | share | steady | blocks per 1,000 | refused per 1,000 |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = [
            (name, limit, rate, [pool.submit(play, name, limit, rate, seed) for seed in seeds])
            for name in wanted.scenarios.split(",")
            for limit in limits
            for rate in (AUTO if word == AUTO else f"{GIVEN * limit:g}" for word in wanted.rates.split(","))
        ]
        for name, limit, rate, nights in rows:
            print(_line(name, limit, rate, [night.result() for night in nights]), flush=True)


if __name__ == "__main__":
    main()
