"""Live runs steered from a second process: what goes over the wire follows, and nothing is lost or done twice."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import recount
from commands import Batch, Command, Ended, until, videos
from nights import Place, played
from patience import BUSY, Lateness, crowd

SEED = 8
SLOW, FAST = 5.0, 40.0
BURST, LATE_S = 2, 0.25


def arrived(batch: Batch) -> int:
    assert batch.site is not None
    return sum(batch.site.stats()["requests"].values())


def drained(batch: Batch) -> None:
    """Wait until a paused run has finished what was in flight and given the rest back."""
    until(lambda: not list((batch.queue / "workers").iterdir()), 20.0, "for a paused run to drain")
    value = batch.status()
    assert (value["state"], value["workers"]) == ("paused", [])
    assert value["pending"] + value["ok"] == value["total"], value


def paused(batch: Batch) -> None:
    ended = batch.does("pause")
    assert (ended.code, "paused the run" in ended.err) == (0, True), ended.said
    drained(batch)


def slots(batch: Batch) -> list[str]:
    """The slots that have a worker."""
    return sorted(path.name.split(".")[1] for path in (batch.queue / "workers").iterdir())


def once_each(batch: Batch) -> None:
    """The batch is whole, and no request was made twice for all the steering."""
    batch.clean()
    assert {row["attempts"] for row in batch.rows().values()} == {1}
    assert arrived(batch) == 2 * len(batch.ids)


@dataclass
class Steered:
    """A run that was paused and given other rates; times are the monotonic clock's."""

    batch: Batch
    sent_s: list[float] = field(default_factory=list)
    asked_s: dict[str, float] = field(default_factory=dict)  # when a command began
    done_s: dict[str, float] = field(default_factory=dict)  # when it had ended
    said: dict[str, Ended] = field(default_factory=dict)
    quiet: tuple[int, int] = (0, 1)
    machine: Lateness = field(default_factory=Lateness)

    @property
    def prompt(self) -> bool:
        """Whether a word reached everybody, and a request the wire, as soon as that."""
        return self.machine.crowd < BUSY

    def rate(self, since: str, upto: str, settle_s: float = 0.5) -> float:
        """Requests a second between two moments, after a moment to settle."""
        start_s, end_s = self.done_s[since] + settle_s, self.asked_s[upto]
        return sum(start_s < number <= end_s for number in self.sent_s) / (end_s - start_s)

    def most(self, since: str, upto: str, settle_s: float = LATE_S) -> int:
        """The most requests in any second between two moments."""
        start_s, end_s = self.done_s[since] + settle_s, self.asked_s[upto]
        kept = [number for number in self.sent_s if start_s < number <= end_s]
        return max((sum(a <= b < a + 1.0 for b in kept) for a in kept), default=0)


def steered(place: Place) -> Steered:
    batch = place.batch(videos(300, SEED), place.stand_in(seed=SEED))
    night, wire = Steered(batch), place.root / "wire"

    def does(*args: str) -> None:
        name = " ".join(args)
        night.asked_s[name] = time.monotonic()
        night.said[name] = batch.does(*args)
        night.done_s[name] = time.monotonic()

    slowly = ("-p", "2", "-t", "4", "--rate", f"{SLOW:g}")
    with night.machine, batch.start(*slowly, ENGINE_WIRE_LOG=str(wire)) as run:
        batch.seen(1)
        night.done_s["start"] = time.monotonic()
        with Command("wait", "-q", batch.queue) as waiting:
            batch.seen(8)
            does("pause")
            drained(batch)
            before = arrived(batch)
            does("status", "--exit-code")
            does("set", f"rate={FAST:g}")
            does("wait", "--timeout", "1")
            does("status", "--json")
            night.quiet = before, arrived(batch)
            does("resume")
            batch.seen(before + 100)
            does("set", f"rate={SLOW:g}/s")
            batch.seen(arrived(batch) + 12)
            does("set", "rate=none")
            night.said["run"] = run.wait(60)
            night.said["waited"] = waiting.wait(20)
        batch.gone(run)
    night.sent_s = sorted(float(line.split()[0]) for line in wire.read_bytes().splitlines())
    does("status", "--exit-code")
    return night


@played(steered)
def test_nothing_is_sent_in_a_pause(night: Steered) -> None:
    before, after = night.quiet
    assert after == before > 0
    pause_s = night.asked_s["resume"] - night.done_s["pause"]
    assert pause_s * FAST > 40, "so many could have been sent"
    first_s = min(number for number in night.sent_s if number > night.asked_s["resume"])
    assert first_s < night.done_s["resume"] + 10.0 * night.machine.slack
    events = [(event["event"], event["reason"]) for event in recount.events(night.batch.queue)]
    assert [event for event in events if event[0] in ("pause", "resume")] == [
        ("pause", "by user"),
        ("resume", "by user"),
    ]


@played(steered)
def test_the_wire_follows_the_rate(night: Steered) -> None:
    slowly, fast, none = f"set rate={SLOW:g}/s", f"set rate={FAST:g}", "set rate=none"
    for name in (slowly, fast, none):
        assert night.said[name].code == 0, night.said[name].said
    assert night.said[fast].err.strip() == f"rate {SLOW:g}/s -> {FAST:g}/s"
    assert f'"rate_per_s": {FAST}' in night.said["status --json"].out, "told in the pause already"
    assert night.most("resume", slowly) > 2 * SLOW
    slow = (night.most("start", "pause"), night.most(slowly, none))  # in all processes
    assert max(slow) < night.most("resume", slowly) / 2
    if night.prompt:
        assert max(slow) <= SLOW + BURST + 1
        assert night.most("resume", slowly) <= FAST * (1 + LATE_S) + BURST
        assert night.rate(slowly, none) > 0.5 * SLOW


@played(steered)
def test_exit_codes_and_the_end_of_a_steered_run(night: Steered) -> None:
    assert night.said["wait --timeout 1"].code == 21
    assert night.said["run"].code == night.said["waited"].code == night.said["status --exit-code"].code == 0
    assert "finished: 300 of 300 final, 0 failed" in night.said["waited"].err
    once_each(night.batch)


class OverError(Exception):
    """The batch was done before all was tried."""


def resized(place: Place) -> tuple[Batch, list[Ended], Ended]:
    """One thread of one process, then more of both, then fewer.

    On a busy machine commands may take longer than the batch; then the same is done with a longer one.
    """
    for count in (70, 280, 1120):
        batch = place.batch(videos(count, SEED), place.stand_in(seed=SEED, latency_s=0.3), f"batch{count}")
        with contextlib.suppress(OverError), batch.start("-p", "1", "-t", "1") as run:
            said = resize(batch, run)
            ended = run.wait(60)
            batch.gone(run)
            return batch, said, ended
    raise AssertionError("no batch was long enough")


def resize(batch: Batch, run: Command) -> list[Ended]:
    """Steer a run until two processes are at work at its end. Raises OverError."""

    def comes(what: Callable[[], object], why: str, each_s: float = 0.02) -> None:
        until(lambda: what() or not run.live, 20.0, why, each_s=each_s)
        if not run.live:
            raise OverError

    batch.seen(3)
    assert batch.status()["in_flight"] <= 1
    said = [batch.does("set", "threads=6", "processes=2")]
    comes(lambda: batch.status()["in_flight"] > 7, "for more than an old slot and a new one", 0.2)
    said.append(batch.does("set", "processes=1"))
    comes(lambda: slots(batch) == ["0"], "for one process")
    assert batch.status()["in_flight"] <= 6
    said += [batch.does("set", "threads=2"), batch.does("set", "processes=2")]  # shortly after each other
    comes(lambda: slots(batch) == ["0", "1"], "for two processes")
    return said


@played(resized)
def test_threads_and_processes_of_a_live_run(night: tuple[Batch, list[Ended], Ended]) -> None:
    batch, said, ended = night
    assert [item.err.strip() for item in said] == [
        "threads 1 -> 6\nprocesses 1 -> 2",
        "processes 2 -> 1",
        "threads 6 -> 2",
        "processes 1 -> 2",
    ]
    assert ended.code == 0, ended.said
    once_each(batch)


def ended_in_a_pause(place: Place) -> tuple[Batch, dict[str, int]]:
    """Paused runs that are ended by a signal, by command, and with kill -9; then one that is left alone."""
    batch = place.batch(videos(200, SEED), place.stand_in(seed=SEED, latency_s=0.25))
    codes = {}
    for way in ("INT", "stop", "KILL", "capped"):
        lasts_s = int(10 * max(1.0, crowd() / 2))  # so that it is paused before
        more = ("--max-duration", f"{lasts_s}s") if way == "capped" else ()
        with batch.start("-p", "1", "-t", "2", *more) as run:
            batch.seen(arrived(batch) + 4)
            paused(batch)
            if way == "INT":
                run.signal(signal.SIGINT)
            elif way == "stop":
                assert batch.does("stop").code == 0
            elif way == "KILL":
                run.kill_all()
            codes[way] = run.wait(20 + lasts_s).code
            batch.gone(run)
        codes[f"wait after {way}"] = batch.does("wait").code
    codes["run"] = batch.run("-p", "1", "-t", "16").code
    return batch, codes


@played(ended_in_a_pause)
def test_a_pause_ends_with_its_run(night: tuple[Batch, dict[str, int]]) -> None:
    batch, codes = night
    assert [codes[way] for way in ("INT", "stop", "KILL", "capped")] == [130, 4, -signal.SIGKILL, 4]
    assert {codes[f"wait after {way}"] for way in ("INT", "stop", "KILL", "capped")} == {23}
    assert codes["run"] == 0, "the next run is not paused"
    assert not (batch.queue / "live.json").exists()
    once_each(batch)
