"""What the soak plays on: a live batch, its run, the faults that may befall it, and what must hold behind each."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import recount
from commands import (
    MONITOR,
    WORKER,
    Batch,
    Command,
    Ended,
    Onlooker,
    engine,
    expected_kinds,
    kinds,
    until,
    videos,
)
from gauges import Gauges
from killing import Killer, bring_back, poisoned, repeated, same_status, slack
from warm import start

from engine.rehearsal import RehearsalSettings

LATENCY_S = 0.5
ABSENT, FLAKY = "absent=0.03", "flaky=0.03"
OPTIONS = ("-p", "2", "-t", "8", "--deadline", "6")
FEED, LOW = 600, 300  # so many videos at once, when fewer than so many are left
FETCHING_S = 5.0  # after any start
BACK_S = 30.0  # after an outage
QUEUE_MB = 1024  # room for the queue, where it has a file system of its own


class Soak:
    """One soak: a batch, its run, and what was seen."""

    def __init__(self, root: Path, seed: int, stack: contextlib.ExitStack) -> None:
        self.dice = random.Random(seed)
        self.began_s = time.monotonic()
        self.own_disk = _mounted(root / "batch" / "queue", stack)
        self.arrivals = root / "arrivals.jsonl"
        settings = RehearsalSettings(
            latency_s=LATENCY_S, seed=seed, scenarios=(ABSENT, FLAKY), arrivals=str(self.arrivals)
        )
        self.seed = seed
        self.site = stack.enter_context(start(settings))
        self.batch = Batch(root / "batch", self.site)
        self.killer = Killer(self.batch, self.dice)
        self.gauges = stack.enter_context(Gauges(2.0))
        self.faults: collections.Counter[str] = collections.Counter()
        self.violations: list[str] = []
        self.figures: dict[str, list[float]] = collections.defaultdict(list)
        self.outages: list[tuple[float, float]] = []  # from, to: requests of that time are nobody's
        self.run: Command | None = None
        self._stack = stack
        self._ids = videos(1_000_000, seed)
        self._deck: list[str] = []
        self.feed()
        self.onlooker = stack.enter_context(Onlooker(self.batch, 5.0))

    # ---- the run ----------------------------------------------------------------------------------------
    def begin(self, *, after_crash: bool = True) -> None:
        """Start the run; it fetches soon."""
        seen, began_s = self.requests(), time.monotonic()
        command = Command(*self.batch.run_args(*OPTIONS), ENGINE_BUDGET_PACE="4")
        self.run = self._stack.enter_context(command)
        self.batch.pids.append(command.pid)
        self.gauges.follow(command)
        until(
            lambda: self.requests() > seen or not command.live,
            20.0 * slack(),
            "the run does not fetch",
            each_s=0.05,
        )
        assert command.live, f"the run ended at once: {command.said()}"
        took_s = time.monotonic() - began_s
        if not self.in_outage(began_s):
            self.figures["fetching_s"].append(took_s)
            assert took_s <= FETCHING_S * slack(), f"fetching only {took_s:.1f} s after its start"

    def ended(self, *codes: int, within_s: float = 25.0) -> Ended:
        """The run ends with one of these codes and leaves nothing alive."""
        run, self.run = self.run, None
        assert run is not None
        with run:
            asked_s = time.monotonic()
            ended = run.wait(within_s * slack())
            self.figures["ending_s"].append(time.monotonic() - asked_s)
            self.batch.gone(run)
        assert "Traceback" not in ended.said, ended.said
        assert ended.code in codes, (ended.code, codes, ended.said)
        return ended

    def tend(self) -> None:
        """Seed more when little is left; start anew when the batch was finished."""
        if self.run is not None and not self.run.live:
            self.ended(0)
            assert len(recount.manifest(self.batch.queue)) == len(self.batch.ids), "finished too early"
            self.batch.clean()
            self.note("finished")
        last = self.onlooker.last
        final = sum(last[name] for name in ("ok", "absent", "failed")) if last else 0
        if len(self.batch.ids) - final < LOW:
            self.feed()
        if self.run is None:
            self.begin()

    def feed(self) -> None:
        """Seed more videos, some of them twice."""
        at = len(self.batch.ids)
        names = self._ids[at : at + FEED]
        listed = names + self.batch.ids[-5:]
        self.dice.shuffle(listed)
        ended = engine("seed", "-q", self.batch.queue, "-", stdin="\n".join(listed).encode())
        assert ended.code == 0, ended.said
        assert f"added {len(names):,}," in ended.out, ended.out
        self.batch.ids += names

    def requests(self) -> int:
        return sum(self.site.stats()["requests"].values())

    def in_outage(self, at_s: float) -> bool:
        return any(since <= at_s <= to for since, to in self.outages)

    def note(self, what: str) -> None:
        print(f"{time.monotonic() - self.began_s:6.0f} s  {what}", flush=True)

    # ---- faults -----------------------------------------------------------------------------------------
    def play(self, gentle: bool) -> None:
        """One fault of the deck, and what must hold behind it."""
        if not self._deck:
            self._deck = self.dice.sample(ROUGH, len(ROUGH))
        name = self._deck.pop()
        while gentle and name not in GENTLE:
            name = self.dice.choice(GENTLE)
        self.faults[name] += 1
        told = FAULTS[name](self)
        self.note(f"{name} {told or ''}")
        if self.run is None:
            self.stopped()
            self.begin()

    def stopped(self) -> None:
        """Nobody is at work: status equals a recount of the journals, and the files are sound."""
        counts = same_status(self.batch)
        assert counts["total"] == len(self.batch.ids)
        assert counts["failed"] == 0, [row for row in self.batch.rows().values() if row["status"] == "failed"]

    def kill_worker(self) -> str | None:
        run = self.alive()
        known = set(recount.workers(self.batch.queue))
        before = collections.Counter(event["event"] for event in recount.events(self.batch.queue))
        pid = self.killer.worker(run)
        if pid is None:
            return "none is there"
        killed_s = time.monotonic()
        until(
            lambda: set(recount.workers(self.batch.queue)) - known,
            10.0,
            "no new worker in a killed one's slot",
        )
        self.figures["slot_back_s"].append(time.monotonic() - killed_s)
        since = collections.Counter(event["event"] for event in recount.events(self.batch.queue)) - before
        assert since["slot_died"] <= 1 + since["worker_silent"], "another slot was touched"
        return str(pid)

    def kill_monitor(self) -> None:
        pid = self.killer.monitor(self.alive())
        run = self.alive()
        until(
            lambda: [member for member in run.members(MONITOR) if member != pid],
            5.0 * slack(),
            "no new monitor",
        )

    def kill_supervisor(self) -> None:
        self.killer.supervisor(self.alive())
        self.ended(-signal.SIGKILL)

    def kill_group(self) -> None:
        self.killer.group(self.alive())
        self.ended(-signal.SIGKILL)

    def alive(self) -> Command:
        assert self.run is not None
        assert self.run.live, f"the run has ended: {self.run.said()}"
        return self.run

    def stop_some(self, what: str) -> str:
        """SIGSTOP for some seconds, then CONT."""
        run = self.alive()
        pids = (
            [run.pid]
            if what == "supervisor"
            else run.members({"worker": WORKER, "monitor": MONITOR}.get(what, ""))
        )
        if what == "worker":
            pids = pids[:1]
        for_s = self.dice.uniform(2.5, 7.0)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(for_s)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
        self.alive()
        return f"{len(pids)} for {for_s:.1f} s"

    def send_request(self, number: signal.Signals) -> None:
        """One signal: it drains."""
        self.alive().signal(number)
        ended = self.ended(128 + number)
        assert "work remains" in ended.err, ended.said
        self.drained()

    def ask_twice(self) -> str:
        """Two signals: it ends now, and what was in flight is lost."""
        run = self.alive()
        run.signal(signal.SIGINT)
        time.sleep(0.2)  # the threads have heard of it and begin nothing more
        lost = [name for path in recount.workers(self.batch.queue).values() for name in recount.busy(path)]
        self.killer.in_flight.update(lost)
        with contextlib.suppress(ProcessLookupError):
            run.signal(signal.SIGTERM)
        self.ended(130, within_s=8.0)
        return f"{len(lost)} lost"

    def ask_by_command(self) -> None:
        assert self.batch.does("stop").code == 0
        self.ended(4)
        self.drained()

    def drained(self) -> None:
        """A run that ended by itself leaves nothing; now and then the whole is audited."""
        self.batch.clean(finished=False)
        if self.dice.random() < 0.25:
            began_s = time.monotonic()
            verified = self.batch.does("verify")
            assert verified.code == 0, verified.said
            self.figures["verify_s"].append(time.monotonic() - began_s)

    def block(self) -> str:
        """The site refuses everybody in one of its ways."""
        scene = self.dice.choice(("429", "429_after", "bot"))
        return f"{scene} {self.outage(scene)}"

    def outage(self, scene: str) -> str:
        """Nothing comes through for a while; sometimes a process dies over it."""
        since_s, lasts_s = time.monotonic(), self.dice.uniform(3.0, 8.0)
        self.outages.append((since_s, float("inf")))
        self.site.play(f"{scene}@0-{lasts_s:g}")
        time.sleep(lasts_s / 2)
        beside = self.dice.choice(["", "", "", "kill worker", "kill monitor"])
        if beside:
            FAULTS[beside](self)
        until(lambda: time.monotonic() >= since_s + lasts_s, 60.0, "the time to pass")
        passed, over_s = self.passed(), time.monotonic()
        until(
            lambda: self.passed() > passed,
            BACK_S,
            f"nothing is fetched {BACK_S:g} s after {scene}",
            each_s=0.1,
        )
        back_s = time.monotonic() - over_s
        self.figures["back_s"].append(back_s)
        time.sleep(1.0)
        self.outages[-1] = (since_s, time.monotonic())
        return f"{lasts_s:.1f} s {beside}, back after {back_s:.1f} s"

    def passed(self) -> int:
        return int(self.site.stats()["statuses"].get("200", 0))

    def full_disk(self) -> str:
        """The queue's file system is full for a while: exit 13, a message, and all goes on when there is room."""
        if not self.own_disk:
            return "not played: no file system can be mounted here"
        run, place = self.alive(), str(self.batch.queue)
        now = os.statvfs(place)
        used = (now.f_blocks - now.f_bfree) * now.f_frsize
        _remount(place, used + 4096)  # less than a snapshot takes, however slow the run is
        try:
            until(lambda: not run.live, 30.0, "a run goes on with a full disk")
            claims = list(recount.workers(self.batch.queue).values())
            ended = self.ended(13)
        finally:
            _remount(place, QUEUE_MB << 20)
        for path in claims:
            self.killer.in_flight.update(recount.busy(path))
        assert "disk" in ended.err or "space" in ended.err, ended.said
        return f"{used / 1e6:.0f} MB"

    def second_run(self) -> None:
        """Another run beside is refused; `verify` as well; neither costs the one at work anything."""
        run = self.alive()
        began_s = time.monotonic()
        ended = engine(*self.batch.run_args())
        self.figures["refused_s"].append(time.monotonic() - began_s)
        assert ended.code == 11, ended.said
        assert str(run.pid) in ended.err, ended.said
        assert self.batch.does("verify").code == 11
        self.alive()

    # ---- the end ----------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Work off the rest in peace, then hold everything against everything."""
        if self.run is None:
            self.begin()
        assert self.run is not None
        seen, since_s = -1, time.monotonic()
        while self.run.live:  # slowly it may be after so many blocks, but it gets on
            if (now := self.requests()) > seen:
                seen, since_s = now, time.monotonic()
            assert time.monotonic() - since_s < 2 * BACK_S, "nothing is fetched any more"
            time.sleep(1.0)
        self.ended(3 if poisoned(self.batch) else 0)
        self.stopped()
        bring_back(self.batch)
        self.batch.clean()
        rows = self.batch.rows()
        assert recount.folded(self.batch.queue) == rows, "the manifest is not what the journals say"
        assert kinds(rows) == expected_kinds(self.batch.ids, ABSENT, self.seed)
        status_s = self.onlooker.check(at_least=2)
        self.figures["status_s"].append(status_s)
        self.requests_repeated(rows)

    def requests_repeated(self, rows: dict[str, dict[str, Any]]) -> None:
        """What the site saw beyond what the rows own up to was in flight at a kill."""
        self.site.stop()  # its file is whole
        lines = map(json.loads, self.arrivals.read_bytes().splitlines())
        asked = [line["video_id"] for line in lines if not self.in_outage(line["t"])]
        cost = repeated(rows, asked, self.killer.in_flight, outages=True)
        self.figures["requests_repeated"].append(cost)
        self.figures["in_flight_at_kills"].append(self.killer.in_flight.total())

    def fail(self, what: str, exc: BaseException) -> None:
        """Note a violation, and clear the way for the next fault."""
        text = f"{time.monotonic() - self.began_s:.0f} s, {what}: {type(exc).__name__}: {exc}"
        self.violations.append(text[:4000])
        print(f"VIOLATION {text}", file=sys.stderr)
        traceback.print_exception(exc, limit=4, file=sys.stderr)
        if self.run is not None:
            self.killer.group(self.run)
            self.run = None
        if self.outages and self.outages[-1][1] == float("inf"):
            self.outages[-1] = (self.outages[-1][0], time.monotonic() + BACK_S)


FAULTS: dict[str, Callable[[Soak], str | None]] = {
    "kill worker": Soak.kill_worker,
    "kill monitor": Soak.kill_monitor,
    "kill supervisor": Soak.kill_supervisor,
    "kill group": Soak.kill_group,
    "stop all": lambda soak: soak.stop_some("all"),
    "stop worker": lambda soak: soak.stop_some("worker"),
    "stop monitor": lambda soak: soak.stop_some("monitor"),
    "stop supervisor": lambda soak: soak.stop_some("supervisor"),
    "INT": lambda soak: soak.ask(signal.SIGINT),
    "TERM": lambda soak: soak.ask(signal.SIGTERM),
    "HUP": lambda soak: soak.ask(signal.SIGHUP),
    "INT twice": Soak.ask_twice,
    "engine stop": Soak.ask_by_command,
    "block": Soak.block,
    "network gone": lambda soak: soak.outage("gone"),
    "full disk": Soak.full_disk,
    "second run": Soak.second_run,
}
ENDS = {"kill supervisor", "kill group", "INT", "TERM", "HUP", "INT twice", "engine stop", "full disk"}
ROUGH = [*FAULTS, "kill worker", "kill worker", "kill group"]
GENTLE = [name for name in ROUGH if name not in ENDS]


def _mounted(place: Path, stack: contextlib.ExitStack) -> bool:
    """Give the queue a file system of its own, whose size can be changed; False where that is not allowed."""
    place.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={QUEUE_MB}m", "none", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode == 0:
        stack.callback(subprocess.run, ["umount", "-l", str(place)], check=False)
    return made.returncode == 0


def _remount(place: str, size_bytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size_bytes}", place], check=True)
