"""The soak: one live batch, a fault about every ten seconds, for as long as one likes.

    soak.py --minutes M [--seed N] [--json FILE]

A run of 2 processes x 8 threads works against a stand-in that outlives it; new videos are seeded beside it as the
queue drains. The faults are drawn from a seeded deck: kills, stopped processes, signals, blocks, a lost network,
a full disk, second runs. Stretches with every fault alternate with gentle ones, in which the supervisor lives on,
so that what only shows in a long life shows. After each fault that ends the run the files are recounted, held
against `status`, and the run is started again. At the end the batch is finished, audited, and what the processes
used in the first third of the time is held against the last. Exit 1 when anything did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]

from live import Soak  # noqa: E402

PACE_S = 6.0  # from the end of a fault to the next, on average; one takes about as long
TOO_MANY = 10  # violations, after which going on tells nothing new


def soak(root: Path, minutes: float, seed: int) -> tuple[Soak, dict[str, Any]]:
    """Play it; returns it and its figures."""
    with contextlib.ExitStack() as stack:
        item = Soak(root, seed, stack)
        ends_s = item.began_s + minutes * 60
        while time.monotonic() < ends_s and len(item.violations) < TOO_MANY:
            # Four stretches with every fault, four gentle ones, in turn.
            gentle = int((time.monotonic() - item.began_s) / (minutes * 60) * 8) % 2 == 1
            _guarded(item, "between faults", item.tend)
            next_s = time.monotonic() + item.dice.uniform(0.4, 1.6) * PACE_S
            while time.monotonic() < min(next_s, ends_s):
                time.sleep(1.0)
                _guarded(item, "between faults", item.tend)
            _guarded(item, "a fault", lambda gentle=gentle: item.play(gentle))
        _guarded(item, "the end", item.finish)
        if item.violations and item.own_disk:
            shutil.copytree(item.batch.queue, root / "queue as it was found")
    return item, _figures(item, minutes)


def _guarded(soak: Soak, what: str, act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as exc:  # one thing that does not hold must not hide the others
        soak.fail(what, exc)


def _figures(soak: Soak, minutes: float) -> dict[str, Any]:
    trends = soak.gauges.trends()
    soak.violations += [f"not flat: {found}" for found in trends if not found.flat]
    timed = {
        name: {"median": sorted(found)[len(found) // 2], "max": max(found), "n": len(found)}
        for name, found in soak.figures.items()
    }
    return {
        "minutes": minutes,
        "seed": soak.seed,
        "jobs": len(soak.batch.ids),
        "faults": dict(soak.faults),
        "kills": dict(soak.killer.kills),
        "violations": soak.violations,
        "figures": timed,
        "trends": [str(found) for found in trends],
        "samples": len(soak.gauges.samples),
        "at": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/crash soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="add what it came to, as one line")
    options = parser.parse_args()
    # Where it was started with `nohup`, its runs would not hear of HUP either.
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave no run and no mount behind
    root = Path(tempfile.mkdtemp(prefix="engine-soak-"))
    item, value = soak(root, options.minutes, options.seed)
    print(json.dumps(value, indent=1))
    if options.json:
        with open(options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(value) + "\n")
    word = f"{len(item.violations)} violations" if item.violations else "everything held"
    print(
        f"{sum(item.faults.values())} faults in {options.minutes:g} minutes, {len(item.batch.ids):,} jobs: {word}"
    )
    if item.violations:
        print(f"left in {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
