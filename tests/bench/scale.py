"""The same work at 10 thousand, 100 thousand and 1 million jobs: what grows, and what must not.

For each size: seeding a text file of addresses, and the same again; working through all of it with a canned fetch
(1 KB records, real rows and files, two processes, the monitor running); the memory of each sort of process;
fetching again after a kill -9 of the whole group; `status --json` in a new process; `verify`.
With --seed-only (for 10 million) only what does not need every job to be worked through.
With --by-ones instead: the same jobs seeded one by one and all at once, in system calls (`ones.py`).
Run by `scripts/bench scale [--jobs N…] [--seed-only] [--sync] [--by-ones [--nights N]] [--quick]`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ones
from children import CANNED, ENGINE, UNSYNCED, environment, measured
from rows import ids
from tables import machine, middle, table

STATUS_ROUNDS = 7
OPTIONS = ("-p", "2", "-t", "16", "--rate", "none", "--progress", "none")


def write_ids(path: Path, count: int) -> None:
    with open(path, "w", encoding="ascii") as file:
        for first in range(0, count, 100_000):
            for video_id in ids(min(100_000, count - first), first // 100_000):
                file.write(f"https://www.youtube.com/watch?v={video_id}\n")


def status_s(queue: Path) -> float:
    """The median of some cold `status --json`, process start included, in seconds."""
    return middle([measured([*ENGINE, "status", "--json", "-q", queue]).wall_s for _ in range(STATUS_ROUNDS)])


def again_s(queue: Path, out: Path, room: Path, kill_after_s: float) -> float:
    """Kill a run as a group and start another: seconds from its start to its first fetch."""
    command = list(map(str, [*ENGINE, "run", "-q", queue, "-o", out, *OPTIONS]))
    first = room / "first"
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):
            first.unlink()
        began = time.monotonic()
        run = subprocess.Popen(
            command,
            env=environment(CANNED | UNSYNCED, CANNED_S="0.02", CANNED_FIRST=str(first)),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (first.exists() and first.read_text()):
            if run.poll() is not None or time.monotonic() - began > 120:
                raise SystemExit("a run did not come to fetch anything")
            time.sleep(0.01)
        took_s = float(first.read_text()) - began
        time.sleep(kill_after_s)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    return took_s


def one(count: int, *, seed_only: bool, sync: bool) -> dict[str, str]:
    said: dict[str, str] = {"jobs": f"{count:,}"}
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as directory:
        room = Path(directory)
        queue, out, names = room / "q", room / "o", room / "ids.txt"
        write_ids(names, count)
        for what in ("seed", "again"):
            item = measured([*ENGINE, "seed", names, "-q", queue])
            said[f"{what} s"], said[f"{what} MB"] = f"{item.wall_s:.1f}", f"{item.peak_mb:.0f}"
        fresh_s = status_s(queue)
        said["fetching again s"] = f"{again_s(queue, out, room, 2.0):.2f}"
        half_s = status_s(queue)
        if not seed_only:
            changes = CANNED | ({} if sync else UNSYNCED)
            done = measured([*ENGINE, "run", "-q", queue, "-o", out, *OPTIONS], changes=changes, watch=True)
            rows = sum(1 for _ in open(queue / "manifest.jsonl", "rb"))
            if rows != count:
                raise SystemExit(f"{rows:,} rows for {count:,} jobs")
            said["jobs/s"] = f"{count / done.wall_s:,.0f}"
            said["CPU ms a job"] = f"{done.cpu_s * 1000 / count:.3f}"
            for name in ("worker", "monitor", "supervisor"):
                said[f"{name} MB"] = f"{done.rss_mb.get(name, 0):.0f}"
        said["status s: seeded, begun, now"] = f"{fresh_s:.2f}, {half_s:.2f}, {status_s(queue):.2f}"
        # Where a kill was the last thing that happened, it may name what the next run will clear away: exit 14.
        audit = measured([*ENGINE, "verify", "-q", queue, "--json"], codes=(0, 14) if seed_only else (0,))
        said["verify s"] = f"{audit.wall_s:.1f}"
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--seed-only", action="store_true", help="do not work through all jobs")
    parser.add_argument(
        "--sync", action="store_true", help="make the output files durable (a disk's speed, not ours)"
    )
    parser.add_argument("--by-ones", action="store_true", help="2,000 jobs (--quick: 300), seeded one by one")
    parser.add_argument(
        "--nights", type=int, default=0, help="with --by-ones: worked through after so many of the seedings"
    )
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000 jobs")
    wanted = parser.parse_args()
    if wanted.by_ones:
        sys.exit(ones.main(300 if wanted.quick else 2000, wanted.nights))
    found = []
    for count in [1000, 10_000] if wanted.quick else wanted.jobs:
        found.append(one(count, seed_only=wanted.seed_only, sync=wanted.sync))
        print(", ".join(f"{name} {value}" for name, value in found[-1].items()), flush=True)
    print(f"\n{machine('numpy', 'loky')}; output files {'durable' if wanted.sync else 'not made durable'}\n")
    table(
        ("", *(item["jobs"] for item in found)),
        ((name, *(item.get(name, "") for item in found)) for name in found[0] if name != "jobs"),
    )


if __name__ == "__main__":
    main()
