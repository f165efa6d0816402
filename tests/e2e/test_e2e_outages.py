"""Blocks and a lost network: no job is lost to them or charged, nobody hammers, and work goes on by itself."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import recount
from commands import THREADS, Batch, Ended, videos, watching
from nights import Place, played
from patience import BUSY, Lateness

BEGINS_AFTER = 60  # requests
PROBE_GAP_S = 2.9  # at least 3 s, less what a request takes to arrive
BACK_WITHIN_S = 10.0
PROCESSES = 2


@dataclass(frozen=True)
class Outage:
    """A run with an outage in its middle. Times are monotonic seconds."""

    batch: Batch
    ended: Ended
    arrivals: list[dict[str, Any]]
    sent_s: list[float]  # when requests left, by the adapter's own log
    began_s: float
    set_s: float  # by then it had begun
    lasted_s: float
    status_s: float
    machine: Lateness


def outage(place: Place, scene: str, lasted_s: float, count: int, pause_s: float) -> Outage:
    """A run that an outage meets after some requests."""
    site = place.stand_in(seed=3)
    batch = place.batch(videos(count, 3), site)
    wire = place.root / "wire"
    with (
        Lateness() as machine,
        watching(batch, pause_s) as onlooker,
        batch.start("-p", str(PROCESSES), ENGINE_WIRE_LOG=str(wire)) as run,
    ):
        batch.seen(BEGINS_AFTER)
        began_s = time.monotonic()
        site.play(f"{scene}@0-{lasted_s:g}")
        set_s = time.monotonic()
        ended = run.wait(lasted_s + 80)
        batch.gone(run)
    arrivals = site.arrivals()
    began_s = next((arrival["t"] for arrival in arrivals if arrival["status"] == 429), began_s)
    status_s = onlooker.check(at_least=5)
    return Outage(batch, ended, arrivals, read_wire(wire), began_s, set_s, lasted_s, status_s, machine)


def read_wire(path: Path) -> list[float]:
    return sorted(float(line.split()[0]) for line in path.read_bytes().splitlines())


def nobody_lost(night: Outage) -> None:
    """All jobs ok, none charged an attempt for the outage."""
    assert night.ended.code == 0, night.ended.said
    rows = night.batch.rows()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {row["attempts"] for row in rows.values()} == {1}
    night.batch.clean()


def back_in_time(night: Outage) -> None:
    """Work went on by itself soon after the end."""
    answered = [
        arrival["t"] for arrival in night.arrivals if arrival["status"] == 200 and arrival["t"] > night.set_s
    ]
    assert answered, "nothing was fetched after the outage"
    assert min(answered) >= night.began_s + night.lasted_s - 0.5
    assert min(answered) - night.set_s - night.lasted_s <= BACK_WITHIN_S * night.machine.slack


def single_probes(night: Outage, sent_s: list[float]) -> int:
    """What was in flight, all at the beginning, and then one at a time; returns how many were in flight.

    On a busy machine one in flight may get away a while after the others.
    """
    gaps = [after - before for before, after in itertools.pairwise(sent_s)]
    wave = max((number for number, gap in enumerate(gaps, 1) if gap < PROBE_GAP_S), default=0) + 1
    assert sent_s[wave:] or night.machine.crowd > BUSY, "an outage of this length is probed"
    assert sent_s[wave - 1] < night.set_s + 1.0 or night.machine.crowd > BUSY, sent_s
    return wave


def check_block(night: Outage) -> None:
    nobody_lost(night)
    refused_s = [arrival["t"] for arrival in night.arrivals if arrival["status"] == 429]
    # On a busy machine the last in flight and the first probe look alike.
    assert single_probes(night, refused_s) <= PROCESSES * THREADS + (night.machine.crowd > BUSY)
    back_in_time(night)
    names = [event["event"] for event in recount.events(night.batch.queue)]
    assert {"start", "block", "resume", "stop"} <= set(names), names


def check_gone(night: Outage) -> None:
    nobody_lost(night)
    silent = [at_s for at_s in night.sent_s if night.began_s < at_s < night.began_s + night.lasted_s]
    single_probes(night, silent)
    back_in_time(night)
    names = [event["event"] for event in recount.events(night.batch.queue)]
    assert {"network_lost", "probe", "network_back"} <= set(names), names


def test_a_second_probe_that_comes_too_soon_is_found() -> None:
    machine = Lateness()
    night = Outage(None, None, [], [], 0.0, 0.1, 10.0, 0.0, machine)  # type: ignore[arg-type]
    wave = [0.1, 0.2, 0.3]
    assert single_probes(night, [*wave, 3.3, 6.5]) == 3
    for too_soon in ([3.3, 4.3, 7.5], [2.0, 5.0, 8.0]):
        with pytest.raises(AssertionError):
            single_probes(night, [*wave, *too_soon])
    with pytest.raises(AssertionError, match="is probed"):
        single_probes(night, wave)


@played(outage, scene="429", lasted_s=8, count=150, pause_s=1.0)
def test_a_block_costs_no_job_and_no_attempt(night: Outage) -> None:
    check_block(night)


@played(outage, scene="gone", lasted_s=10, count=150, pause_s=1.0)
def test_a_lost_network_costs_no_job_and_no_attempt(night: Outage) -> None:
    check_gone(night)


@pytest.mark.long
@played(outage, scene="429", lasted_s=20, count=300, pause_s=0.05)
def test_a_block_of_twenty_seconds(night: Outage) -> None:
    check_block(night)
    print(f"median time of engine status: {night.status_s:.3f} s")


@pytest.mark.long
@played(outage, scene="gone", lasted_s=60, count=300, pause_s=0.2)
def test_a_network_gone_for_a_minute(night: Outage) -> None:
    check_gone(night)
    print(f"median time of engine status: {night.status_s:.3f} s")


# ---- a whole night in which everything is blocked three times for an hour -----------------------------------
PACE = 120  # the budget's hour is half a minute
HOUR_S = 3600 / PACE
BLOCKS = ("429@4-34", "bot@40-70", "captcha@76-106")
BEGINS_S = (4.0, 40.0, 76.0)
NOTED_S = 0.001  # arrivals are noted to a tenth of a millisecond
NIGHT_THREADS = 4  # in each of the two processes
GAP_S, GROWTH, LONGEST_S, SPREAD = (
    3.0,
    1.5,
    600.0,
    0.1,
)  # the cool-downs, as the settings of the budget have them


def least_gap_s(probe: int) -> float:
    """How long the n-th probe of a block waits at least after the refusal before it."""
    return max(GAP_S, min(GAP_S * GROWTH ** (probe - 1), LONGEST_S) * (1 - SPREAD)) / PACE


def most_probes(length_s: float) -> int:
    """How many probes fit into a block when each waits no longer than it must."""
    ends_s = itertools.accumulate(least_gap_s(probe) for probe in itertools.count(1))
    return sum(1 for _ in itertools.takewhile(lambda end_s: end_s < length_s, ends_s))


def in_flight_then_probes(arrived_s: Sequence[float]) -> int:
    """How many of an egress's arrivals in a block came before its probes began: with all after these, no arrival
    follows the one before it sooner than a probe may."""
    for wave in range(1, len(arrived_s) + 1):
        after = arrived_s[wave - 1 :]
        if all(
            b - a + NOTED_S >= least_gap_s(probe) for probe, (a, b) in enumerate(itertools.pairwise(after), 1)
        ):
            return wave
    return 0


def test_probes_that_come_too_soon_are_found() -> None:
    probes = list(itertools.accumulate((least_gap_s(probe) for probe in range(1, 17)), initial=0.0))
    assert in_flight_then_probes(probes) == 1
    assert in_flight_then_probes([-0.02, -0.01, *probes]) == 3
    assert in_flight_then_probes([*probes[:9], probes[8] + 1.0, *probes[9:]]) > 2 * NIGHT_THREADS
    assert len(probes) - 1 <= most_probes(HOUR_S) <= len(probes)


def blocked_night(place: Place) -> tuple[Batch, Ended, list[dict[str, Any]]]:
    site = place.stand_in(seed=7, scenarios=BLOCKS)
    batch = place.batch(videos(260, 7), site)
    proxies = itertools.chain.from_iterable(("--proxy", site.proxy_url_as(name)) for name in "bc")
    options = ("-p", str(PROCESSES), "-t", str(NIGHT_THREADS), "--rate", "6", *proxies)
    ended = batch.run(*options, proxy=site.proxy_url_as("a"), timeout_s=240, ENGINE_BUDGET_PACE=str(PACE))
    return batch, ended, site.arrivals()


@pytest.mark.long
@played(blocked_night)
def test_a_night_that_is_blocked_three_times_for_an_hour(
    night: tuple[Batch, Ended, list[dict[str, Any]]],
) -> None:
    """A refusal, a bot check and a captcha, an hour each, by all three egresses: no job fails or is charged an
    attempt, and what an egress sends into a block is what was in flight, then single probes, each no sooner than
    the cool-downs of the budget allow."""
    batch, ended, arrivals = night
    assert ended.code == 0, ended.said
    rows = batch.rows()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {row["attempts"] for row in rows.values()} == {1}
    charged = [body for verb, body in recount.journal_lines(batch.queue) if verb == "try" and body["charged"]]
    assert charged == []
    began_s = arrivals[0]["t"]
    for egress, begins_s in itertools.product("abc", BEGINS_S):
        here = [arrival for arrival in arrivals if arrival["egress"] == egress]
        block = [value["t"] for value in here if begins_s <= value["t"] - began_s < begins_s + HOUR_S]
        wave = in_flight_then_probes(block)
        assert 1 <= wave <= PROCESSES * NIGHT_THREADS, (egress, begins_s, block)
        probes = len(block) - wave
        assert 3 <= probes <= most_probes(HOUR_S), (egress, begins_s, block)
        print(f"{egress}@{begins_s:g}: {wave} in flight, {probes} probes of at most {most_probes(HOUR_S)}")
        after = [value["t"] - began_s - begins_s - HOUR_S for value in here if value["status"] == 200]
        # No later than the longest cool-down, and what a slow machine takes.
        assert min(at_s for at_s in after if at_s > 0) <= LONGEST_S * (1 + SPREAD) / PACE + 5
    names = [event["event"] for event in recount.events(batch.queue)]
    assert names.count("resume") >= 3 * len(BEGINS_S)
    batch.clean()
