"""What the supervisor does by itself, without processes; with them: the end-to-end tests and `crash/`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import batch, finish, output_of

from engine.budget import BudgetSettings, Rate
from engine.errors import Exit
from engine.model import EgressSpec
from engine.queue import listings
from engine.queue.claims import run_id
from engine.queue.control import ControlRequest, send_request
from engine.run.helper_process import ListerProcess, MonitorProcess
from engine.run.run_end import RunEnd
from engine.run.supervisor import Supervisor
from engine.run.worker_pool import WorkerPool
from engine.settings import Frozen, Settings
from engine.storage.locks import Lock

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_a_clean_end_leaves_nothing_of_those_who_died_on_the_way(tmp_path: Path) -> None:
    """A monitor killed before it could rename its checkpoint, a worker killed before its directory had a name."""
    queue = batch(tmp_path, 4)
    egresses = (EgressSpec("direct"),)
    settings = Settings(queue.root, Frozen(output_of(queue)), egresses, BudgetSettings(Rate("none"), 1.0))
    supervisor = Supervisor(queue, settings, "run")
    seeding, unborn = Lock(queue.seed_lock), f"{run_id()}.0.1"
    for beside in (True, False):
        Path(queue.tmp, ".checkpoint.json.1a2b3c4d.tmp").write_bytes(b"{")
        Path(queue.tmp, unborn).mkdir(exist_ok=True)
        Path(queue.tmp, unborn, "lock").touch()
        assert not beside or seeding.take()
        supervisor._conclude()
        assert bool(os.listdir(queue.tmp)) is beside, "a seeding has its own there"
        seeding.release()


@pytest.mark.parametrize("state", listings.STATES)
def test_a_run_ends_when_all_jobs_are_final_and_no_listing_is_open(tmp_path: Path, state: str) -> None:
    queue = batch(tmp_path, 4)
    finish(queue)
    assert listings.Sources(queue).add("channel", "@one")
    (listing,) = listings.read_all(queue)
    listing.state = state
    listings.save(queue, listing)
    egresses = (EgressSpec("direct"),)
    settings = Settings(queue.root, Frozen(output_of(queue)), egresses, BudgetSettings(Rate("none"), 1.0))
    supervisor = Supervisor(queue, settings, "run")
    supervisor._poll()
    assert supervisor._end == (None if state == listings.OPEN else RunEnd(Exit.OK))
    if supervisor._end is not None:
        assert supervisor._conclude() == (Exit.SOME_FAILED if state == listings.FAILED else Exit.OK)


def test_a_paused_run_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = batch(tmp_path, 4)
    assert listings.Sources(queue).add("channel", "@one")
    egresses = (EgressSpec("direct"),)
    settings = Settings(queue.root, Frozen(output_of(queue)), egresses, BudgetSettings(Rate("none"), 1.0))
    supervisor = Supervisor(queue, settings, "run")
    for paused in (True, False):
        send_request(queue, ControlRequest(paused=paused))
        supervisor._receive()
        assert supervisor._control.run_state.paused is paused
        looked: list[bool] = []
        monkeypatch.setattr(WorkerPool, "check", lambda self: None)
        monkeypatch.setattr(MonitorProcess, "keep", lambda self, **_: None)
        monkeypatch.setattr(ListerProcess, "keep", lambda self, *, wanted: looked.append(wanted))  # noqa: B023
        supervisor._look()
        assert looked == [not paused]
