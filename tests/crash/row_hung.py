"""Row 10: answers that never come, or come at five bytes a second, and a proxy that takes connections and is silent.

The attempt ends as a `timeout` within its deadline and a second. The run is paced so slowly that the processor
is no matter: then the others keep their pace if the threads that hang do not hold them up.
"""

from __future__ import annotations

import socket
import threading
import time

import recount
from commands import Batch, videos
from nights import Place
from patience import BUSY, Lateness
from scorecard import row

from engine.model import WAYS

DEADLINE_S = 4.0
SLACK_S = 1.0
LOOK_S = 0.1  # what watching from outside may add
RATE_PER_S = 8.0
PACE = 0.9
THREADS = ("-p", "2", "-t", "8")


class Watch:
    """Notes, from outside, when each job was last seen in flight."""

    def __init__(self, batch: Batch) -> None:
        self.last_s: dict[str, float] = {}
        self._batch = batch
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.03):
            began_s = time.monotonic()  # before the look: who was there then may be gone by its end
            for path in recount.workers(self._batch.queue).values():
                self.last_s |= dict.fromkeys(recount.busy(path), began_s)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(5)


@row(
    10,
    "hung-fetch",
    "answers that hang or trickle, for one video in ten",
    trials=20,
    quick=1,
    quiet=True,
    waits=True,
)
def fetch(place: Place, seed: int) -> str:
    scene = ("hang", "trickle")[seed % 2]
    site = place.stand_in(seed=seed, scenarios=(f"{scene}=0.1",))
    batch = place.batch(videos(70, seed), site)
    pace = ("--rate", f"{RATE_PER_S:g}/s", "--deadline", f"{DEADLINE_S:g}", "--attempts", "1")
    with Lateness() as machine, Watch(batch) as watch:
        ended = batch.run(*THREADS, *pace)
    arrivals = site.arrivals()
    hung_s = {arrival["video_id"]: arrival["t"] for arrival in arrivals if arrival["scene"] == scene}
    assert hung_s, "a scene that touches nobody shows nothing"
    assert ended.code in (0, 3), ended.said
    rows = batch.rows()
    late = {name for name, value in rows.items() if value["kind"] == "timeout"}
    assert late <= hung_s.keys(), (
        "only those that hang are late; where another answer comes at once they are fetched"
    )
    assert {value["kind"] for name, value in rows.items() if name not in late} == {None}
    lines = recount.journal_lines(batch.queue)
    lost = {body["job"] for verb, body in lines if verb == "try" and body["kind"] == "timeout"}
    served = {name for name, value in rows.items() if value["way"] not in (None, WAYS[0])}
    assert hung_s.keys() - late <= lost | served, (
        "each was given up at its deadline, or asked for in another way"
    )
    # The first loss of a job charges nothing. Those that hang twice are given up, and time says when.
    late_s = {name: watch.last_s[name] - hung_s[name] for name in late} or {"": 0.0}
    slack_s = SLACK_S * machine.slack
    assert max(late_s.values()) <= DEADLINE_S + slack_s + LOOK_S, late_s
    elapsed_s = {name: rows[name]["elapsed_s"] for name in late} or {"": 0.0}  # waits for permits included
    assert max(elapsed_s.values()) <= DEADLINE_S + slack_s + 2.0, elapsed_s
    first_s: dict[str, float] = {}
    for arrival in arrivals:
        first_s.setdefault(arrival["video_id"], arrival["t"])
    asked_s = max(first_s.values())  # what comes later are retries alone, which wait for their time
    rate = _pace([arrival["t"] for arrival in arrivals if arrival["t"] <= asked_s])
    assert rate >= PACE * RATE_PER_S or machine.crowd > BUSY, (
        f"{rate:.2f} requests a second of {RATE_PER_S:g}"
    )
    batch.clean()
    took = f"{max(late_s.values()):.2f} s"
    return (
        f"{len(hung_s)} videos {scene}: the slowest was given up after {took}, pace {rate / RATE_PER_S:.0%}"
    )


def _pace(times_s: list[float]) -> float:
    """Requests a second, without the first few, which come in a burst."""
    times_s = sorted(times_s)[4:]
    return (len(times_s) - 1) / (times_s[-1] - times_s[0])


class SilentProxy:
    """Takes connections, reads what comes, and never answers."""

    def __init__(self, *, accepts: bool) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0 if not accepts else 64)
        self.port = self._listener.getsockname()[1]
        self.taken: list[socket.socket] = []
        if accepts:
            threading.Thread(target=self._accept, daemon=True).start()
        else:  # a full backlog: to a client the connection is never made
            self.taken = [socket.socket() for _ in range(4)]
            for item in self.taken:
                item.setblocking(False)
                item.connect_ex(("127.0.0.1", self.port))

    def _accept(self) -> None:
        while True:
            try:
                self.taken.append(self._listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()
        for item in self.taken:
            item.close()


@row(10, "hung-proxy", "one of two proxies takes connections and is silent, or takes none", trials=10)
def proxy(place: Place, seed: int) -> str:
    """All jobs end well by the other one, which keeps its pace."""
    site = place.stand_in(seed=seed)
    batch = place.batch(videos(90, seed), site)
    silent = SilentProxy(accepts=seed % 2 == 0)
    wire = place.root / "wire"
    pace = ("--rate", f"{RATE_PER_S:g}/s", "--deadline", f"{DEADLINE_S:g}")
    both = ("--proxy", f"http://127.0.0.1:{silent.port}")  # beside the stand-in, which comes first
    try:
        with Watch(batch) as watch:
            ended = batch.run(*THREADS, *both, *pace, ENGINE_WIRE_LOG=str(wire), timeout_s=180)
    finally:
        silent.close()
    assert ended.code == 0, ended.said
    assert {value["status"] for value in batch.rows().values()} == {"ok"}
    sent = [line.split() for line in wire.read_bytes().splitlines()]
    by_silent = [float(at_s) for at_s, index in sent if int(index) == 1]
    assert by_silent, "the silent proxy was tried"
    tries = [journal_line for verb, journal_line in recount.journal_lines(batch.queue) if verb == "try"]
    assert {try_["kind"] for try_ in tries} <= {"timeout", "proxy"}, tries
    assert tries, "who met it was told so"
    assert watch.last_s
    rate = _pace([float(at_s) for at_s, index in sent if int(index) == 0][: 2 * len(batch.ids) - 40])
    assert rate >= PACE * RATE_PER_S, f"{rate:.2f} requests a second of {RATE_PER_S:g}"
    batch.clean()
    return (
        f"{len(by_silent)} requests by the silent proxy, {len(tries)} tries lost, the other at "
        f"{rate / RATE_PER_S:.0%} of its pace"
    )
