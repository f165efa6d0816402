"""The floors: what the engine's workers do between queue and journal, in bare processes and threads.

The same fetch (or the canned one), the same rendering, the same output files as durable, their names synced as
often; no queue, budget, journal or monitor. The processes share the work by a counter in a file, one job at a time:
nobody can be left with more than the job in hand, so the end is as short as it can be.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SYNC_S = 5.0  # as the engine's workers


class Counter:
    """0, 1, 2 … for all threads of all processes that open the same file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                n = int.from_bytes(os.pread(self._fd, 8, 0), "big")
                os.pwrite(self._fd, (n + 1).to_bytes(8, "big"), 0)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        return n


def lean(proxies: Sequence[str], ca: str, masked: bool) -> Callable[[str, int], Any]:
    """The engine's fetch; the n-th job goes by the n-th proxy, and so around."""
    from engine.model import EgressSpec, Permit
    from engine.youtube.fetcher import Client, Fetcher, FetchSettings

    def permit(egress: int) -> Permit:
        return Permit(egress, 0, time.monotonic() + 60)

    specs = tuple(EgressSpec(f"p{number:03}", proxy) for number, proxy in enumerate(proxies, 1))
    settings = FetchSettings(mask="on") if masked else FetchSettings()
    fetcher = Fetcher(Client(specs, acquire=permit, ca_bundle=ca), settings)
    return lambda video_id, n: fetcher.fetch(video_id, permit(n % len(specs)))


def canned() -> Callable[[str, int], Any]:
    from canned import fetch

    return lambda video_id, n: fetch(None, video_id, None)


def work(
    fetch: Callable[[str, int], Any], out: Path, names: Path, counter: Path, threads: int
) -> dict[str, float]:
    """Do jobs until none are left; how many, and the seconds that all threads spent in their fetches."""
    from engine.model import Fetched, Record
    from engine.output.publisher import Output
    from engine.storage.timestamps import utc

    jobs, rest = names.read_text().split(), Counter(counter)
    out.mkdir(parents=True, exist_ok=True)
    output = Output(str(out), ("md",), f"bare-{os.getpid()}")
    spent_s, done = [0.0] * threads, [0] * threads

    def go(number: int) -> None:
        while (n := rest.next()) < len(jobs):
            began = time.monotonic()
            got = fetch(jobs[n], n)
            spent_s[number] += time.monotonic() - began
            assert isinstance(got, Fetched), got
            output.publish(Record(jobs[n], got.metadata, got.transcript, {}, utc()))
            done[number] += 1

    item = [threading.Thread(target=go, args=(number,)) for number in range(threads)]
    for thread in item:
        thread.start()
    for thread in item:
        while thread.is_alive():
            thread.join(SYNC_S)
            output.sync(output.touched())
    output.close()
    return {"jobs": sum(done), "fetching_s": sum(spent_s)}


def _proxies(text: str) -> list[str]:
    """The proxies that `--through` names: one, or a file of them."""
    return [text] if "://" in text else Path(text).read_text().split()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("names", type=Path)
    parser.add_argument("counter", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument(
        "--through",
        nargs=2,
        metavar=("PROXY", "CA"),
        help="without: the canned fetch",
    )
    parser.add_argument("--masked", action="store_true")
    wanted = parser.parse_args()
    fetch = (
        lean(_proxies(wanted.through[0]), wanted.through[1], wanted.masked) if wanted.through else canned()
    )
    print(json.dumps(work(fetch, wanted.out, wanted.names, wanted.counter, wanted.threads)))


if __name__ == "__main__":
    main()
