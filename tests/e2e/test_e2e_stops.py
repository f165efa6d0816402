"""Runs that are asked to stop: they drain, say so by their exit code, leave nothing, and the next goes on."""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass

import recount
from commands import Batch, Ended, run_on_a_terminal, session_members, until, videos
from nights import Place, played
from patience import HANG_S, Limit

SLOW_S = 0.25  # an answer takes so long: there is always something in flight
DRAIN_S, NOW_S = 16.0, 5.0  # shares
FEW = ("-p", "2", "-t", "4")


def slow_batch(place: Place, count: int = 60, latency_s: float = SLOW_S) -> Batch:
    return place.batch(videos(count, 7), place.stand_in(seed=7, latency_s=latency_s))


@dataclass(frozen=True)
class Stop:
    """How one stopped run ended, and what was final behind it."""

    why: str
    ended: Ended
    final: int


def stopped_again_and_again(place: Place) -> tuple[Batch, list[Stop]]:
    """A batch stopped by each signal, by command and at a limit, then finished."""
    # So slow that on a busy machine, too, no run gets to the end before it is stopped.
    batch = slow_batch(place, 100, latency_s=4 * SLOW_S)
    stops = []

    def note(why: str, ended: Ended) -> None:
        stops.append(Stop(why, ended, len(recount.manifest(batch.queue))))
        batch.clean(finished=False)

    seen = 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with batch.start(*FEW) as run:
            batch.seen(seen + 12)
            run.signal(number)
            ended = run.wait(DRAIN_S)
            batch.gone(run)
        note(number.name, ended)
        seen = sum(batch.site.stats()["requests"].values()) if batch.site else 0
    with batch.start(*FEW) as run:
        batch.seen(seen + 12)
        assert batch.does("stop").code == 0
        ended = run.wait(DRAIN_S)
        batch.gone(run)
    note("stop", ended)
    note("limit", batch.run(*FEW, "--limit", "7"))
    note("end", batch.run())
    return batch, stops


@played(stopped_again_and_again)
def test_each_stop_has_its_code_and_the_next_run_goes_on(night: tuple[Batch, list[Stop]]) -> None:
    batch, stops = night
    codes = {stop.why: stop.ended.code for stop in stops}
    assert codes == {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "stop": 4, "limit": 4, "end": 0}
    assert all("Traceback" not in stop.ended.said for stop in stops)
    finals = [stop.final for stop in stops]
    assert finals == sorted(set(finals)), "each run made some final, none lost any"
    by_why = {stop.why: stop for stop in stops}
    assert 7 <= by_why["limit"].final - by_why["stop"].final <= 7 * 2, "what is in flight may go over it"
    for why in ("SIGINT", "SIGTERM", "SIGHUP", "stop", "limit"):
        assert "work remains" in by_why[why].ended.err
    batch.clean()
    assert {row["attempts"] for row in batch.rows().values()} == {1}
    assert batch.site is not None
    assert sum(batch.site.stats()["requests"].values()) == 2 * len(batch.ids), "a drain repeats no request"


def stopped_at_the_last(place: Place) -> tuple[Batch, Ended]:
    """Stopped while the last jobs are in flight: draining them finishes the batch."""
    batch = slow_batch(place, 4, latency_s=4 * SLOW_S)
    with batch.start("-p", "1", "-t", "4") as run:
        batch.seen(4)
        assert batch.does("stop").code == 0
        ended = run.wait(DRAIN_S)
        batch.gone(run)
    return batch, ended


@played(stopped_at_the_last)
def test_a_stop_that_lets_the_last_jobs_finish_is_the_end(night: tuple[Batch, Ended]) -> None:
    batch, ended = night
    assert batch.status()["state"] == "finished"
    assert ended.code == 0, ended.said
    assert "work remains" not in ended.err
    batch.clean()


def twice(place: Place, number: int) -> tuple[Batch, Ended]:
    """Two signals while every job hangs."""
    site = place.stand_in(seed=7, scenarios=("hang=1",))
    batch = place.batch(videos(8, 7), site)
    with batch.start(*FEW) as run:
        batch.seen(4)
        run.signal(number)
        time.sleep(0.5)  # it drains: eight hanging jobs take longer
        assert run.live
        run.signal(number)
        ended = run.wait(NOW_S)
        batch.gone(run)
    site.play(replace=True)
    return batch, ended


def check_twice(night: tuple[Batch, Ended], code: int) -> None:
    batch, ended = night
    assert ended.code == code, ended.said
    assert "Traceback" not in ended.said
    assert batch.status()["in_flight"] == 0
    assert batch.run().code == 0
    batch.clean()
    assert {row["attempts"] for row in batch.rows().values()} == {1}


@played(twice, number=signal.SIGINT)
def test_a_second_int_ends_it_now(night: tuple[Batch, Ended]) -> None:
    check_twice(night, 130)


@played(twice, number=signal.SIGTERM)
def test_a_second_term_ends_it_now(night: tuple[Batch, Ended]) -> None:
    check_twice(night, 143)


def on_a_terminal(place: Place) -> tuple[Batch, int, str]:
    """^C typed at a run's own terminal: the signal goes to the whole group."""
    batch = slow_batch(place)
    process, master = run_on_a_terminal(batch, *FEW)
    shown, typed, limit = b"", False, Limit(40.0)
    while not limit.over:
        ready, _, _ = select.select([master], [], [], 0.05)
        try:
            piece = os.read(master, 65536) if ready else None
        except OSError:  # nobody has the other end any more
            break
        shown += piece or b""
        if not typed and batch.site and sum(batch.site.stats()["requests"].values()) >= 12:
            os.write(master, b"\x03")
            typed = True
    code = process.wait(HANG_S)
    until(lambda: not session_members(process.pid), 3.0, "orphans of a run on a terminal")
    os.close(master)
    return batch, code, shown.decode("utf-8", "replace")


@played(on_a_terminal)
def test_control_c_on_a_terminal(night: tuple[Batch, int, str]) -> None:
    batch, code, shown = night
    assert code == 130, shown
    assert "Traceback" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor is shown again"
    batch.clean(finished=False)
    assert 0 < len(batch.rows()) < len(batch.ids)
    assert batch.run().code == 0
    batch.clean()
