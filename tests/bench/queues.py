"""Queues side by side: seeding, then claiming and settling every job with a full-size row, in two processes.

Every contender does the same work in the same run: hold each job once, and keep its row of about 1 KB. What a
contender's row is worth after a kill -9 and after a power cut differs, so it stands beside its figures. The
libraries commit once a job and get fewer jobs: a rate is a rate. Run by `scripts/bench queue [--jobs N] [--rounds N]
[--quick]`; the libraries come with the extra `bench`, those that are missing are left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

from contenders import CONTENDERS, Contender
from rows import ids
from tables import installed, machine, middle, spread, table

PROCESSES = 2


def measure(contender: Contender, count: int) -> tuple[float, float]:
    """Jobs/s of seeding, and of claiming and settling all in so many processes, from their start signal on."""
    room = Path(tempfile.mkdtemp(prefix="engine-bench-"))
    try:
        names = ids(count)
        began = time.perf_counter()
        contender.seed(room, names)
        seed_s = time.perf_counter() - began
        context = multiprocessing.get_context("spawn")
        ready, go = context.Barrier(PROCESSES + 1), context.Barrier(PROCESSES + 1)
        workers = [
            context.Process(target=_work, args=(contender.name, room, n, ready, go)) for n in range(PROCESSES)
        ]
        with contender.beside(room):
            for worker in workers:
                worker.start()
            ready.wait()
            began = time.perf_counter()
            go.wait()
            for worker in workers:
                worker.join()
                if worker.exitcode:
                    raise SystemExit(f"{contender.name}: a process ended with {worker.exitcode}")
        work_s = time.perf_counter() - began
        found = contender.rows(room)
        if found != count:
            print(f"note: {contender.name} has {found:,} rows for {count:,} jobs", file=sys.stderr)
        return count / seed_s, count / work_s
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _work(name: str, room: Path, number: int, ready: object, go: object) -> None:
    contender = CONTENDERS[name]
    work = contender.worker(room, number)
    ready.wait()  # type: ignore[attr-defined]
    go.wait()  # type: ignore[attr-defined]
    work()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench queue", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000, help="for those that commit by the batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="20,000 jobs, 2 rounds")
    wanted = parser.parse_args()
    jobs, rounds = (20_000, 2) if wanted.quick else (wanted.jobs, wanted.rounds)
    chosen = [
        contender
        for contender in CONTENDERS.values()
        if (not contender.package or installed(contender.package))
        and (not wanted.only or contender.name in wanted.only)
    ]
    seeded: dict[str, list[float]] = {contender.name: [] for contender in chosen}
    settled: dict[str, list[float]] = {contender.name: [] for contender in chosen}
    for turn in range(rounds):
        for contender in chosen[turn % len(chosen) :] + chosen[: turn % len(chosen)]:
            few = max(200, int(jobs * contender.share))
            seed_rate, work_rate = measure(contender, few)
            seeded[contender.name].append(seed_rate)
            settled[contender.name].append(work_rate)
    print(machine(*(contender.package for contender in chosen if contender.package)))
    print(f"{jobs:,} jobs (the libraries fewer), {PROCESSES} processes, {rounds} rounds interleaved; jobs/s, medians;"
          " x = engine's / this one's\n")  # fmt: skip
    base = chosen[0].name
    table(
        ("queue", "a row survives", "seed/s", "x", "claim + settle/s", "x"),
        (
            (
                contender.name,
                contender.durability,
                spread(seeded[contender.name]),
                f"{middle(seeded[base]) / middle(seeded[contender.name]):.1f}",
                spread(settled[contender.name]),
                f"{middle(settled[base]) / middle(settled[contender.name]):.1f}",
            )
            for contender in chosen
        ),
    )


if __name__ == "__main__":
    main()
