"""What the engine costs beside the fetch itself, beside scripts for the same job, and how well it uses its threads.

The floor is the same lean fetch, the same rendering and the same output files in bare processes and threads, with no
queue, budget, journal or monitor. The scripts (see scripts.py) and yt-dlp's own command line do the same job end to
end: a transcript and, but for the first, its metadata, in two files a video. All go through the same proxy to the
same stand-in with the same certificate authority, by turns in the same run. The stand-in's CPU is reported beside:
it shares the cores. Those that are slow get fewer videos: figures are a video.

The thread use is measured with a canned fetch, lognormal waits and 1 % that take thirty times their mean, and
beside it that of the bare floor: what the disk and the machine take from both is not the engine's.
Run by `scripts/bench engine [--videos N] [--rounds N] [--only NAME…] [--no-sync] [--no-tail] [--quick]`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import canned
import egresses
from children import CANNED, ENGINE, HERE, UNSYNCED, Measured, measured
from rows import ids
from tables import machine, middle, spread, table

from engine.rehearsal import Rehearsal, RehearsalSettings, start

PROCESSES, THREADS, LATENCY_S = 2, 32, 0.05
TAIL_PROCESSES, TAIL_THREADS, TAIL_S = 4, 32, 0.1
NOT_DURABLE = "left in the page cache"


# ---- end to end ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Job:
    """One turn of one way: a room of its own, the site, and the file that names the videos."""

    room: Path
    site: Rehearsal
    names: Path
    sync: bool

    @property
    def out(self) -> Path:
        return self.room / "o"

    @property
    def changes(self) -> dict[str, str]:
        return {} if self.sync else UNSYNCED


def floor(job: Job) -> Measured:
    command = [sys.executable, HERE / "bare.py", job.out, job.names, job.room / "counter", str(THREADS)]
    through = ["--through", job.site.proxy_url, job.site.ca_bundle]
    return measured(*[[*command, *through]] * PROCESSES, changes=job.changes)


def engine(job: Job) -> Measured:
    options = ["-p", str(PROCESSES), "-t", str(THREADS), "--rate", "none", "--progress", "none"]
    where = ["-q", job.room / "q", "-o", job.out, "--proxy", job.site.proxy_url]
    command = [*ENGINE, "run", job.names, *where, "--ca-bundle", job.site.ca_bundle, *options]
    return measured(command, changes=job.changes)


def script(name: str) -> Callable[[Job], Measured]:
    def run(job: Job) -> Measured:
        where = [name, job.site.proxy_url, job.site.ca_bundle, job.out, job.names]
        trust = {"REQUESTS_CA_BUNDLE": job.site.ca_bundle, "SSL_CERT_FILE": job.site.ca_bundle}
        return measured([sys.executable, HERE / "scripts.py", *where, str(PROCESSES * THREADS)], **trust)

    return run


def yt_dlp(job: Job) -> Measured:
    """Its command line. Without `no-certifi` it trusts the list that certifi brings and no other; so it checks the
    certificate as all others do, rather than not at all."""
    wanted = [
        "--skip-download",
        "--write-subs",
        "--write-auto-subs",
        "--sub-langs",
        "en",
        "--sub-format",
        "json3",
    ]
    where = ["-a", job.names, "-o", job.out / "%(id)s.%(ext)s", "--proxy", job.site.proxy_url]
    trust = ["--compat-options", "no-certifi", "--ignore-config", "--cache-dir", job.room / "cache"]
    command = [sys.executable, "-m", "yt_dlp", *wanted, "--write-info-json", *where, *trust]
    return measured(command, codes=(0,), SSL_CERT_FILE=job.site.ca_bundle)


@dataclass(frozen=True)
class Way:
    """A way to do the job. `share`: how many of the videos it gets; `least` of them it gets at any rate.
    `files`: how their names end, one of each for every video."""

    run: Callable[[Job], Measured]
    files: tuple[str, str]
    durable: bool = False
    share: float = 1.0
    least: int = 1


WAYS = {
    "floor": Way(floor, (".json", ".md"), durable=True),
    "engine": Way(engine, (".json", ".md"), durable=True),
    "script: youtube-transcript-api, no metadata": Way(script("library"), (".json", ".txt"), share=0.5),
    "script: yt-dlp for metadata + youtube-transcript-api": Way(
        script("origin"), (".json", ".txt"), share=0.05, least=PROCESSES * THREADS
    ),
    "yt-dlp, its command line": Way(yt_dlp, (".en.json3", ".info.json"), share=0.05, least=16),
}


def turn(way: Way, count: int, seed: int, sync: bool) -> dict[str, float]:
    """One way's figures a video. Raises SystemExit if a file is missing."""
    with (
        tempfile.TemporaryDirectory(prefix="engine-bench-") as directory,
        start(RehearsalSettings(latency_s=LATENCY_S, real_sizes=True)) as site,
    ):
        job = Job(Path(directory), site, Path(directory) / "ids.txt", sync)
        job.out.mkdir()
        names = ids(count, seed)
        job.names.write_text("\n".join(names) + "\n")
        before_s = site.stats()["cpu_s"]
        item = way.run(job)
        stats = site.stats()
        made = {path.name for path in job.out.rglob("*") if path.is_file()}
        missing = {name + end for name in names for end in way.files} - made
        if missing:
            raise SystemExit(
                f"{len(missing)} files are missing, {sorted(missing)[0]} for one:\n{item.out[-2000:]}"
            )
    return {
        "cpu_ms": item.cpu_s * 1000 / count,
        "rate": count / item.wall_s,
        "requests": sum(stats["requests"].values()) / count,
        "kb": sum(egress["bytes"] for egress in stats["egresses"].values()) / count / 1000,
        "site_ms": (stats["cpu_s"] - before_s) * 1000 / count,
    }


def end_to_end(videos: int, rounds: int, sync: bool, only: Sequence[str]) -> None:
    names = [name for name in WAYS if name == "engine" or not only or name in only]
    counts = {name: max(WAYS[name].least, int(videos * WAYS[name].share)) for name in names}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            found[name].append(turn(WAYS[name], counts[name], number, sync))
    print(
        f"{PROCESSES} x {THREADS} threads (the scripts: {PROCESSES * THREADS} in one process, yt-dlp's command line "
        f"has one), {LATENCY_S * 1000:g} ms a request, bodies of the site's sizes, {rounds} rounds; start and end "
        "included; x: this one's divided by the engine's, within a round\n"
    )

    def ratio(name: str, what: str) -> str:
        pairs = zip(found[name], found["engine"], strict=True)
        return f"{middle([value[what] / base[what] for value, base in pairs]):.2f}"

    def all_of(name: str, what: str, form: str) -> str:
        return spread([value[what] for value in found[name]], form)

    head = ("", "videos", "two files a video", "CPU ms a video", "x", "videos/s", "x")
    table(
        (*head, "requests a video", "body KB a video", "stand-in's CPU ms a video"),
        (
            (
                name,
                f"{counts[name]:,}",
                "durable" if sync and WAYS[name].durable else NOT_DURABLE,
                all_of(name, "cpu_ms", ".2f"),
                ratio(name, "cpu_ms"),
                all_of(name, "rate", ",.1f"),
                ratio(name, "rate"),
                f"{middle([value['requests'] for value in found[name]]):.2f}",
                f"{middle([value['kb'] for value in found[name]]):.1f}",
                all_of(name, "site_ms", ".2f"),
            )
            for name in names
        ),
    )


# ---- the use of threads ----------------------------------------------------------------------------------
def tail_of_engine(room: Path, names: Path) -> tuple[Measured, int, float]:
    """What it took, the jobs it did, and the seconds its threads spent in their fetches."""
    measured([*ENGINE, "seed", names, "-q", room / "q"])
    options = ["-p", str(TAIL_PROCESSES), "-t", str(TAIL_THREADS), "--rate", "none", "--progress", "none"]
    run = [*ENGINE, "run", "-q", room / "q", "-o", room / "o", *options]
    item = measured(run, changes=CANNED, CANNED_S=str(TAIL_S))
    with (room / "q/manifest.jsonl").open() as rows:
        spent_s = [json.loads(row)["elapsed_s"] for row in rows]
    return item, len(spent_s), sum(spent_s)


def tail_of_floor(room: Path, names: Path) -> tuple[Measured, int, float]:
    command = [sys.executable, HERE / "bare.py", room / "o", names, room / "counter", str(TAIL_THREADS)]
    item = measured(*[command] * TAIL_PROCESSES, CANNED_S=str(TAIL_S))
    said = [json.loads(line) for line in item.out.splitlines() if line.startswith("{")]
    return item, sum(one["jobs"] for one in said), sum(one["fetching_s"] for one in said)


def tail(jobs: int, rounds: int) -> None:
    names = ids(jobs)
    waits_s = sum(canned.wait_s(name, TAIL_S) for name in names)
    found: dict[str, list[dict[str, float]]] = {"floor": [], "engine": []}
    sides: dict[str, Any] = {"floor": tail_of_floor, "engine": tail_of_engine}
    for number in range(rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            with tempfile.TemporaryDirectory(prefix="engine-bench-") as directory:
                room = Path(directory)
                (room / "o").mkdir()
                (room / "ids.txt").write_text("\n".join(names) + "\n")
                item, done, fetching_s = sides[name](room, room / "ids.txt")
                made = sum(1 for path in (room / "o").rglob("*") if path.is_file())
            if (done, made) != (jobs, 2 * jobs):
                raise SystemExit(
                    f"the {name} did {done:,} of {jobs:,} jobs, {made:,} files:\n{item.out[-2000:]}"
                )
            threads_s = TAIL_PROCESSES * TAIL_THREADS * item.wall_s
            found[name].append(
                {
                    "fetching": 100 * fetching_s / threads_s,
                    "waits": 100 * waits_s / threads_s,
                    "wall": item.wall_s,
                    "cpu": item.cpu_s * 1000 / jobs,
                }
            )
    print(
        f"\n{jobs:,} jobs, lognormal waits of {TAIL_S * 1000:g} ms on average, 1 % of {canned.LONG * TAIL_S:g} s, "
        f"{TAIL_PROCESSES} x {TAIL_THREADS} threads, two durable files a job in both, {rounds} rounds, start and end "
        "included. Shares of the threads' time; the waits are as they were ordered, without waking up late\n"
    )
    table(
        ("", "in a fetch, %", "in the waits, %", "wall s", "CPU ms a job"),
        (
            (name, *(spread([value[what] for value in got], form) for what, form in
                     (("fetching", ".1f"), ("waits", ".1f"), ("wall", ".1f"), ("cpu", ".2f"))))
            for name, got in found.items()
        ),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench engine", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=(), help="these ways beside the engine")
    parser.add_argument("--no-sync", action="store_true", help="files are made durable in none")
    parser.add_argument("--tail-jobs", type=int, default=100_000)
    parser.add_argument("--tail-rounds", type=int, default=3)
    parser.add_argument("--no-tail", action="store_true", help="leave out the thread use")
    parser.add_argument("--quick", action="store_true", help="400 videos, 1 round, 3,000 jobs")
    many = parser.add_argument_group("by many egresses instead")
    many.add_argument(
        "--egresses", type=int, metavar="N", help="the engine by N proxies, and the floor by the same"
    )
    many.add_argument("--rate", default="0.5", help="of each (default 0.5)")
    many.add_argument("--threads", type=int, default=64, help="of each process (default 64)")
    many.add_argument("--trouble", action="store_true", help="a twentieth each dies, hangs and is blocked")
    wanted = parser.parse_args()
    wanted.sync = not wanted.no_sync
    if wanted.egresses:
        wanted.videos, wanted.rounds = (400, 1) if wanted.quick else (wanted.videos, wanted.rounds)
        print(machine("loky", "requests"))
        egresses.run(wanted)
        return
    videos, rounds, jobs, tails = (
        (400, 1, 3000, 1)
        if wanted.quick
        else (wanted.videos, wanted.rounds, wanted.tail_jobs, wanted.tail_rounds)
    )
    print(machine("loky", "requests", "youtube-transcript-api", "yt-dlp"))
    end_to_end(videos, rounds, not wanted.no_sync, wanted.only)
    if not wanted.no_tail:
        tail(jobs, tails)


if __name__ == "__main__":
    main()
