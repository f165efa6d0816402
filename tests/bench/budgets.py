"""The request budget under 4 processes x 16 threads: what a permit costs, and how well a rate is kept.

First without a rate (permits/s, CPU a permit), then at 50, 500 and 2,000 a second: the share of the rate that
is used, and by how much the fullest of all windows, of whatever length, holds more than rate x its length: of the
times when permits were granted, and of those when a datagram that each thread sends at once with its permit came
in at a receiver, stamped by the kernel. The promise is burst + rate x L + 1, L being how late a permit may still be
used (50 ms below 100/s, else 20 ms). Beside it pyrate-limiter (its multiprocess bucket, its SQLite bucket under a
file lock) and limits (moving window; it has no store that processes share without a server, so each process gets
a quarter of the rate). Run by `scripts/bench budget [--seconds N] [--rounds N] [--quick]`.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import queue
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from receiver import Arrivals, arrivals
from tables import installed, machine, middle, spread, table

PROCESSES, THREADS = 4, 16
RATES = (50, 500, 2000)
Take = Callable[[], bool]  # True: go; False: the time is over


def engine(room: Path, rate: int | None, number: int, shared: Any, stop: threading.Event) -> Take:
    from engine.budget import Budget, BudgetSettings, parse_rate
    from engine.model import EgressSpec

    budget = Budget.open(
        str(room / "budget"), [EgressSpec("direct")], BudgetSettings(parse_rate(str(rate or "none")))
    )
    return lambda: budget.take(stop=stop) is not None


def pyrate_sqlite(room: Path, rate: int | None, number: int, shared: Any, stop: threading.Event) -> Take:
    from pyrate_limiter import Duration, Limiter, Rate, SQLiteBucket

    bucket = SQLiteBucket.init_from_file(
        [Rate(rate or 10**9, Duration.SECOND)], db_path=str(room / "pyrate.db"), use_file_lock=True
    )
    return _pyrate(Limiter(bucket), stop)


def pyrate_shared(room: Path, rate: int | None, number: int, shared: Any, stop: threading.Event) -> Take:
    from pyrate_limiter import Limiter

    return _pyrate(Limiter(shared), stop)


def _pyrate(limiter: Any, stop: threading.Event) -> Take:
    def take() -> bool:
        while not stop.is_set():
            if limiter.try_acquire("bench", timeout=1):
                return True
        return False

    return take


def limits(room: Path, rate: int | None, number: int, shared: Any, stop: threading.Event) -> Take:
    from limits import RateLimitItemPerSecond
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter

    limiter = MovingWindowRateLimiter(MemoryStorage())
    item = RateLimitItemPerSecond(max(1, (rate or 10**9) // PROCESSES))

    def take() -> bool:
        while not stop.is_set():
            if limiter.hit(item, "bench"):
                return True
            time.sleep(0.001)
        return False

    return take


CONTENDERS: dict[str, tuple[str, Callable[..., Take]]] = {
    "engine": ("", engine),
    "pyrate-limiter, MultiprocessBucket": ("pyrate-limiter", pyrate_shared),
    "pyrate-limiter, SQLite + file lock": ("pyrate-limiter", pyrate_sqlite),
    "limits, a quarter of the rate a process": ("limits", limits),
}


def _shared(name: str, rate: int | None) -> Any:
    if "MultiprocessBucket" not in name:
        return None
    from pyrate_limiter import Duration, MultiprocessBucket, Rate

    return MultiprocessBucket.init([Rate(rate or 10**9, Duration.SECOND)])


def _process(
    name: str,
    room: Path,
    rate: int | None,
    number: int,
    shared: Any,
    ready: Any,
    seconds: float,
    out: Any,
    wire: Arrivals | None,
) -> None:
    stop, begin = threading.Event(), threading.Event()
    take = CONTENDERS[name][1](room, rate, number, shared, stop)
    send: Callable[[bytes], object] = (lambda data: None) if wire is None else wire.sender().send
    logs: list[list[float]] = [[] for _ in range(THREADS)]

    def work(log: list[float]) -> None:
        begin.wait()
        while take():
            log.append(time.monotonic())
            send(b"!")

    workers = [threading.Thread(target=work, args=(log,), daemon=True) for log in logs]
    for worker in workers:
        worker.start()
    ready.wait()
    used = resource.getrusage(resource.RUSAGE_SELF)
    begin.set()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join(10.0)
    now = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    out.put((cpu_s, [at for log in logs for at in log]))


def measure(name: str, rate: int | None, seconds: float) -> tuple[float, list[float], list[float]]:
    """(CPU seconds of the processes, when each permit was granted, when what was sent with it came in).

    Nothing is sent without a rate.
    """
    context = multiprocessing.get_context("fork")  # the only one a MultiprocessBucket can be shared in
    with contextlib.ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-bench-")))
        ready, out = context.Barrier(PROCESSES), context.Queue()
        shared = _shared(name, rate)
        wire = None if rate is None else stack.enter_context(arrivals(context))
        children = [
            context.Process(target=_process, args=(name, room, rate, n, shared, ready, seconds, out, wire))
            for n in range(PROCESSES)
        ]
        for child in children:
            child.start()
        try:
            said = [out.get(timeout=seconds + 60) for _ in children]
        except queue.Empty:
            raise SystemExit(f"{name} did not come back") from None
        for child in children:
            child.join()
    granted = sorted(at for _, times in said for at in times)
    arrived = [] if wire is None else sorted(wire.times_s)
    if wire is not None and len(arrived) != len(granted):
        print(f"note: {name}: {len(arrived)} arrivals of {len(granted)} permits", file=sys.stderr)
    return sum(cpu_s for cpu_s, _ in said), granted, arrived


def most_over(times_s: list[float], rate: float) -> float:
    """By how much the fullest of all windows holds more than rate x its length."""
    worst, least = 0.0, float("inf")
    for number, at_s in enumerate(times_s):
        least = min(least, number - rate * at_s)
        worst = max(worst, number - rate * at_s - least + 1)
    return worst


def main() -> None:
    from engine.budget.settings import burst, look_ahead_s

    parser = argparse.ArgumentParser(prog="scripts/bench budget", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1 round of 1.5 s")
    wanted = parser.parse_args()
    seconds, rounds = (1.5, 1) if wanted.quick else (wanted.seconds, wanted.rounds)
    chosen = [name for name, (package, _) in CONTENDERS.items() if not package or installed(package)]
    print(machine("filelock", "pyrate-limiter", "limits"))
    print(
        f"{PROCESSES} processes x {THREADS} threads, {rounds} rounds of {seconds:g} s interleaved; medians\n"
    )
    free: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name in chosen:
            cpu_s, times, _ = measure(name, None, seconds)
            free[name].append((len(times) / seconds, cpu_s / max(1, len(times)) * 1e6))
    base = middle([number for number, _ in free["engine"]])
    table(
        ("without a rate", "permits/s", "x", "CPU us a permit"),
        (
            (
                name,
                spread([r for r, _ in got]),
                f"{base / middle([r for r, _ in got]):.1f}",
                spread([c for _, c in got]),
            )
            for name, got in free.items()
        ),
    )
    print()
    rows = []
    for rate in RATES:
        bound = burst(1 / rate) + rate * look_ahead_s(1 / rate) + 1
        for name in chosen:
            used, over, wire, cpu = [], [], [], []
            for _ in range(rounds):
                cpu_s, times, arrived = measure(name, rate, seconds)
                span = times[-1] - times[0] if len(times) > 1 else seconds
                used.append(100 * (len(times) - 1) / (rate * span))
                over.append(most_over(times, rate))
                wire.append(most_over(arrived, rate))
                cpu.append(cpu_s / max(1, len(times)) * 1e6)
            rows.append(
                (
                    f"{rate:,}",
                    name,
                    spread(used, ".1f"),
                    spread(over, ".1f"),
                    spread(wire, ".1f"),
                    f"{bound:.1f}",
                    spread(cpu),
                )
            )
    head = ("rate/s", "limiter", "used %", "fullest window over, granted", "the same, arrived")
    table((*head, "our promise", "CPU us a permit"), rows)


if __name__ == "__main__":
    main()
