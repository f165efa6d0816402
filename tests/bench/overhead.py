"""What the engine costs beside the fetch itself, and how well it uses its threads.

The floor is the same lean fetch, the same rendering and the same output files in bare processes and threads, with no
queue, budget, journal or monitor. Both fetch the same videos from the same stand-in in the same run, whose own CPU
is reported beside: it shares the cores. Output files are made durable in both (or, with --no-sync, in neither).
The thread use is measured with a canned fetch: lognormal waits, and 1 % that take thirty times their mean.
Run by `scripts/bench engine [--videos N] [--rounds N] [--no-sync] [--no-tail] [--quick]`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import canned
from children import CANNED, ENGINE, UNSYNCED, Measured, measured
from rows import ids
from tables import machine, middle, spread, table

from engine.rehearsal import Rehearsal, Settings, start

PROCESSES, THREADS, LATENCY_S = 2, 32, 0.05
TAIL_PROCESSES, TAIL_THREADS, TAIL_S = 4, 32, 0.1


def floor(proxy: str, ca: str, out: str, first: str, names: str) -> None:
    """One bare process: its share of the videos on its threads, each fetched, rendered and written."""
    from engine.clock import utc
    from engine.model import EgressSpec, Fetched, Permit, Record
    from engine.output import Output
    from engine.youtube import Door, Fetcher, FetchSettings

    def permit(egress: int) -> Permit:
        return Permit(0, 0, time.monotonic() + 60)

    mine = Path(names).read_text().split()[int(first) :: PROCESSES]
    fetcher = Fetcher(Door((EgressSpec("p001", proxy),), take=permit, ca_bundle=ca), FetchSettings())
    output, rest, lock = Output(out, ("md",), f"floor-{first}"), iter(mine), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                video_id = next(rest, None)
            if video_id is None:
                return
            got = fetcher.fetch(video_id, permit(0))
            assert isinstance(got, Fetched), got
            output.publish(Record(video_id, got.metadata, got.transcript, {}, utc()))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output.close()


def bare(room: Path, site: Rehearsal, names: Path, sync: bool) -> Measured:
    out = room / "bare"
    out.mkdir()
    where = [__file__, "--floor", site.proxy_url, site.ca_bundle, out]
    its = [[sys.executable, *where, str(number), names] for number in range(PROCESSES)]
    return measured(*its, changes={} if sync else UNSYNCED)


def whole(room: Path, site: Rehearsal, names: Path, sync: bool) -> Measured:
    options = ["-p", str(PROCESSES), "-t", str(THREADS), "--rate", "none", "--progress", "none"]
    where = ["-q", room / "q", "-o", room / "o", "--proxy", site.proxy_url, "--ca-bundle", site.ca_bundle]
    return measured([*ENGINE, "run", names, *where, *options], changes={} if sync else UNSYNCED)


def side_by_side(videos: int, rounds: int, sync: bool) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {"floor": [], "engine": []}
    for turn in range(rounds):
        for name in ("floor", "engine") if turn % 2 else ("engine", "floor"):
            with (
                tempfile.TemporaryDirectory(prefix="engine-bench-") as directory,
                start(Settings(latency_s=LATENCY_S, real_sizes=True)) as site,
            ):
                room = Path(directory)
                (room / "ids.txt").write_text("\n".join(ids(videos, turn)) + "\n")
                before = site.stats()["cpu_s"]
                its = (bare if name == "floor" else whole)(room, site, room / "ids.txt", sync)
                site_s = site.stats()["cpu_s"] - before
                stats = site.stats()
                assert sum(stats["requests"].values()) >= 2 * videos, its.out
            found[name].append((its.cpu_s * 1000 / videos, videos / its.wall_s, site_s * 1000 / videos))
    base = [middle([one[n] for one in found["floor"]]) for n in range(2)]
    print(
        f"{videos:,} videos, {PROCESSES} x {THREADS}, {LATENCY_S * 1000:g} ms a request, bodies of the site's "
        f"sizes, {rounds} rounds; files made durable in {'both' if sync else 'neither'}; start and end included\n"
    )
    table(
        ("", "CPU ms a video", "x floor", "videos/s", "x floor", "stand-in's CPU ms a video"),
        (
            (
                name,
                spread([one[0] for one in got], ".2f"),
                f"{middle([one[0] for one in got]) / base[0]:.2f}",
                spread([one[1] for one in got]),
                f"{middle([one[1] for one in got]) / base[1]:.2f}",
                spread([one[2] for one in got], ".2f"),
            )
            for name, got in found.items()
        ),
    )


def tail(jobs: int) -> None:
    names = ids(jobs)
    work_s = sum(canned.wait_s(name, TAIL_S) for name in names)
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as directory:
        room = Path(directory)
        (room / "ids.txt").write_text("\n".join(names) + "\n")
        seeded = [*ENGINE, "seed", room / "ids.txt", "-q", room / "q"]
        measured(seeded)
        options = ["-p", str(TAIL_PROCESSES), "-t", str(TAIL_THREADS), "--rate", "none", "--progress", "none"]
        run = [*ENGINE, "run", "-q", room / "q", "-o", room / "o", *options]
        its = measured(run, changes=CANNED, CANNED_S=str(TAIL_S))
        with (room / "q/manifest.jsonl").open() as rows:
            fetching_s = sum(json.loads(row)["elapsed_s"] for row in rows)
    threads_s = TAIL_PROCESSES * TAIL_THREADS * its.wall_s
    print(f"\n{jobs:,} jobs, lognormal waits of {TAIL_S * 1000:g} ms on average, 1 % of {canned.LONG * TAIL_S:g} s, "
          f"{TAIL_PROCESSES} x {TAIL_THREADS} threads, output on and durable:")  # fmt: skip
    print(f"{100 * fetching_s / threads_s:.1f} % of the threads' time is spent in a fetch, "
          f"{100 * work_s / threads_s:.1f} % in the waits as they were ordered, without waking up late "
          f"({its.wall_s:.1f} s, start and end included; {its.cpu_s * 1000 / jobs:.2f} ms CPU a job)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench engine", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-sync", action="store_true", help="files are made durable in neither")
    parser.add_argument("--tail-jobs", type=int, default=100_000)
    parser.add_argument("--no-tail", action="store_true", help="leave out the thread use")
    parser.add_argument("--quick", action="store_true", help="1,000 videos, 1 round, 5,000 jobs")
    wanted = parser.parse_args()
    videos, rounds, jobs = (
        (1000, 1, 5000) if wanted.quick else (wanted.videos, wanted.rounds, wanted.tail_jobs)
    )
    print(machine("loky", "requests", "youtube-transcript-api"))
    side_by_side(videos, rounds, not wanted.no_sync)
    if not wanted.no_tail:
        tail(jobs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--floor"]:
        floor(*sys.argv[2:7])
    else:
        main()
