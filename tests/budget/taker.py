"""A process that uses a budget, for tests with real ones.

taker.py take PATH RATE THREADS START SECONDS   takes from START (monotonic) on; prints when each was granted
                                                and when it was had
taker.py hold PATH                              takes the lock, says so and keeps it
"""

from __future__ import annotations

import json
import sys
import threading
import time

from engine.budget import Budget, BudgetSettings, parse_rate
from engine.budget.store import Store
from engine.model import EgressSpec


def take(path: str, rate: str, threads: str, start: str, seconds: str) -> None:
    budget = Budget.open(path, [EgressSpec("direct")], BudgetSettings(parse_rate(rate)))
    stop, begin = threading.Event(), threading.Event()
    logs: list[list[tuple[float, float]]] = [[] for _ in range(int(threads))]

    def work(log: list[tuple[float, float]]) -> None:
        begin.wait()
        while (permit := budget.take(stop=stop)) is not None:
            log.append((permit.granted_s, time.monotonic()))

    workers = [threading.Thread(target=work, args=(log,)) for log in logs]
    for worker in workers:
        worker.start()
    threading.Event().wait(float(start) - time.monotonic())
    begin.set()
    threading.Event().wait(float(seconds))
    stop.set()
    for worker in workers:
        worker.join()
    budget.close()
    print(json.dumps([both for log in logs for both in log]))


def hold(path: str) -> None:
    with Store(path, [EgressSpec("direct")], BudgetSettings(parse_rate("none"))).locked():
        print("held", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    {"take": take, "hold": hold}[sys.argv[1]](*sys.argv[2:])
