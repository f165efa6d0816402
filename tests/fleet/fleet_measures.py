"""What a fleet costs and gains, measured on this machine: `scripts/fleet scale` and `scripts/fleet driver`.

`scale`: videos per second of 1, 2 and 4 machines with one egress each at 12/s, against the rehearsal server.
`driver`: processor time and memory of driver and scheduler for so many shares that do nothing.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import psutil
from commands import environment
from fleet_night import Night, fullest_second

from engine.fleet.drive import Driver, Handed
from engine.fleet.join import RESOURCE
from engine.fleet.ledger import Fleet, Generation, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.protocol import to_bytes
from engine.fleet.task import nothing
from engine.rehearsal import RehearsalSettings, start
from engine.storage.processes import SignalEvent

SKIPPED = 0.15  # of an egress's requests: at the start and at the end it is not at work for the whole second


def scale(counts: list[int], videos: int) -> None:
    """The rate of each egress is taken at the server, in the middle of the run."""
    for count in counts:
        with (
            tempfile.TemporaryDirectory(prefix="engine-fleet-scale-") as root,
            start(RehearsalSettings(latency_s=0.05)) as site,
            Night(Path(root), site, str(Path(root) / "ledger"), places=1) as night,
        ):
            night.plan(videos * count, videos)
            night.start_scheduler()
            for at in range(count):
                night.join(f"m{at}")
            night.drive()
            ended = night.finished(900.0)
            assert ended.code in (0, 3), night.said()
            arrivals = site.arrivals()
            total = 0.0
            for at in range(count):
                times = sorted(each["t"] for each in arrivals if each["egress"] == f"m{at}")
                middle = times[int(SKIPPED * len(times)) : int((1 - SKIPPED) * len(times))]
                total += (len(middle) - 1) / (middle[-1] - middle[0]) if len(middle) > 1 else 0.0
            most = max(fullest_second(arrivals, f"m{at}") for at in range(count))
            print(
                f"{count} machines: {total / 2:.2f} videos/s ({total:.2f} requests/s), fullest second {most}",
                flush=True,
            )
            night.leave()


def driver(shares: int, places: int) -> None:
    """Shares that do nothing but say that they are done, through the real driver, scheduler and a worker."""
    with tempfile.TemporaryDirectory(prefix="engine-fleet-driver-") as root:
        there = Ledger(str(Path(root) / "ledger"))
        there.make(Fleet("f" * 32, shares, {}))
        there.publish(Generation(1, "0" * 16, "plan", dict.fromkeys(range(shares), 1)))
        night = Night(Path(root), None, there.where)  # type: ignore[arg-type]
        night.start_scheduler()
        command = [sys.executable, "-m", "distributed.cli.dask_worker", night.address, "--no-dashboard"]
        command += ["--nthreads", "4", "--resources", f"{RESOURCE}={places}", "--memory-limit", "0"]
        worker = subprocess.Popen(
            command, env=environment(), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            assert night.scheduler is not None
            process = psutil.Process(night.scheduler.pid)
            before_s, before_cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
            scheduler_cpu = sum(process.cpu_times()[:2])
            done = Marking(there)
            code = Driver(there, night.address, lambda text: None, work=nothing, on_tick=done).run(
                SignalEvent()
            )
            after = resource.getrusage(resource.RUSAGE_SELF)
            own = after.ru_utime + after.ru_stime - before_cpu.ru_utime - before_cpu.ru_stime
            used = sum(process.cpu_times()[:2]) - scheduler_cpu
            print(
                f"{shares:,} shares, exit {code}, {time.monotonic() - before_s:.0f} s: "
                f"driver {own:.1f} s of processor time and {after.ru_maxrss / 1024:.0f} MB, "
                f"scheduler {used:.1f} s and {process.memory_info().rss / 1e6:.0f} MB"
            )
        finally:
            worker.terminate()
            worker.wait(20)
            night.__exit__()


class Marking:
    """Writes the `done/` of each share that is out, in place of its machine."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._marked: set[ShareKey] = set()

    def __call__(self, handed: Handed) -> None:
        for key in {out.key for out in handed.out.values()} - self._marked:
            self._marked.add(key)
            self._ledger.objects.put(f"done/{key}.json", to_bytes({"parts": [], "jobs": 1}))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["scale", "driver"])
    parser.add_argument("--machines", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--videos", type=int, default=500, help="of each machine")
    parser.add_argument("--shares", type=int, default=10_000)
    parser.add_argument("--places", type=int, default=1000)
    args = parser.parse_args()
    if args.what == "scale":
        scale(args.machines, args.videos)
    else:
        driver(args.shares, args.places)
    return 0


if __name__ == "__main__":
    sys.exit(main())
