"""What the driver hands out, with real Dask processes: a straggler's share once more, shares ahead of places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_night import Night, audit, directory_files
from patience import HANG_S, until

from engine.rehearsal import RehearsalSettings, start

pytestmark = pytest.mark.crash


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with start(RehearsalSettings(latency_s=0.02, scenarios=("absent=0.05",), seed=6)) as site:
        with Night(tmp_path / "night", site, str(tmp_path / "ledger"), seed=6, places=1) as found:
            yield found


def test_twice_a_stragglers_share_is_begun_beside_it(night: Night) -> None:
    """A slow machine has the last share. An idle one begins it, takes over what is there, and is done first."""
    night.plan(40, 40)
    night.start_scheduler()
    night.rate = "1/s"
    night.join("slow")
    night.drive("--twice")
    night.progressed(2)
    night.rate = "none"
    night.join("quick")
    ended = night.finished()
    assert ended.code in (0, 3), night.said()
    night.leave()

    files = directory_files(night.ledger)
    found = audit(files, night.ids)
    assert (found.problems, found.holds) == ([], 2), night.said()
    notes = [json.loads(files[f"holds/00000/{hold}.json"]) for hold in ("001", "002")]
    done = json.loads(files["done/00000.json"])
    assert notes[0]["machine"] != notes[1]["machine"] == done["machine"]
    assert done["hold"] == 2


@pytest.mark.long
def test_who_joined_hears_of_another_machine_on_its_proxy(night: Night) -> None:
    """A share's warning is passed on to where its machine has joined. Without --twice each share has one hold."""
    night.plan(40, 20)
    night.start_scheduler()
    night.rate = "3/s"
    for name in ("m0", "m1"):
        night.join(name, user="both")
    night.drive()
    assert night.finished().code in (0, 3), night.said()
    night.leave()
    assert any("uses p001" in machine.said() for machine in night.machines.values()), night.said()
    found = audit(directory_files(night.ledger), night.ids)
    assert (found.problems, found.holds) == ([], 2)


def test_shares_ahead_of_places_are_demand_that_an_autoscaler_sees(night: Night) -> None:
    """Without --ahead, Dask is told of no share that has no place, and wants no machine."""
    from distributed import Client

    night.plan(12, 4)
    night.start_scheduler()
    with Client(night.address, set_as_default=False) as dask:

        def demand(dask_scheduler: Any = None) -> tuple[int, int]:
            """(tasks that the scheduler knows, workers that it would have)."""
            return len(dask_scheduler.tasks), dask_scheduler.adaptive_target()

        night.drive()
        assert night.driver is not None
        until(lambda: "no machine has joined" in night.said(), HANG_S, "for the driver to look for places")
        assert dask.run_on_scheduler(demand) == (0, 0)
        night.driver.kill_all()

        night.drive("--ahead", "2")
        until(lambda: dask.run_on_scheduler(demand)[0] == 2, HANG_S, "for two shares without a place")
        assert dask.run_on_scheduler(demand)[1] > 0
    night.join("m0")
    assert night.finished().code in (0, 3), night.said()
    night.leave()
    found = audit(directory_files(night.ledger), night.ids)
    assert (found.problems, found.holds) == ([], found.shares)
