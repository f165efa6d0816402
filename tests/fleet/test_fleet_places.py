"""Which machine gets a share: the choice, and what comes of it with a real driver, scheduler and workers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from commands import environment
from fleet_night import Night
from fleet_tasks import waiting
from patience import HANG_S, ends, until

from engine.errors import Exit
from engine.fleet import names
from engine.fleet.drive import Driver, Handed
from engine.fleet.join import RESOURCE
from engine.fleet.ledger import Fleet, Generation, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.places import FreePlaces, Machine, machines
from engine.rehearsal import Rehearsal
from engine.storage.processes import SignalEvent

HELPERS = str(Path(__file__).parents[1] / "helpers")


# ---- the choice ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("there", "out", "expected"),
    [
        ({}, [], []),
        ({"a": Machine(2), "b": Machine(1)}, [], ["a", "a", "b"]),
        ({"a": Machine(4), "b": Machine(1)}, ["a", "a", "a", "b"], ["a"]),
        ({"a": Machine(2, running=2), "b": Machine(2)}, ["b"], ["b"]),  # an earlier driver's tasks
        ({"a": Machine(2, running=1)}, ["a"], ["a"]),  # the same task, seen by both
        ({"a": Machine(1, running=3)}, ["a", "gone"], []),
        ({"a": Machine(0), "b": Machine(1)}, [], ["b"]),
    ],
)
def test_each_free_place_is_taken_once_the_emptiest_machine_first(
    there: dict[str, Machine], out: list[str], expected: list[str]
) -> None:
    free = FreePlaces(there, out)
    assert sorted(iter(free.take, None)) == expected


def test_the_emptiest_machine_comes_first_and_one_may_be_left_out() -> None:
    free = FreePlaces({"a": Machine(1), "b": Machine(3)}, [])
    assert [free.take(), free.take(but="b"), free.take(but="a"), free.take(but="b")] == ["b", "a", "b", None]


def test_a_worker_that_leaves_has_no_places_and_yet_is_there() -> None:
    known = {
        "resources": {RESOURCE: 2.0},
        "metrics": {"task_counts": {"executing": 1, "cancelled": 1, "memory": 7}},
    }
    workers = {"a": known, "b": {**known, "status": "closing_gracefully"}, "c": {}}
    assert machines(workers) == {"a": Machine(2, 2), "b": Machine(0, 2), "c": Machine(0, 0)}


@pytest.mark.parametrize(
    ("code", "times", "given_up"),
    [
        (Exit.HELD, 50, False),
        (Exit.DISK, 7, False),
        (Exit.DISK, 8, True),
        (Exit.USAGE, 2, False),
        (Exit.USAGE, 3, True),
    ],
)
def test_a_share_that_a_machine_is_still_at_work_on_is_never_given_up(
    tmp_path: Path, code: Exit, times: int, given_up: bool
) -> None:
    driver, handed, key = (
        Driver(Ledger(str(tmp_path)), "tcp://none", lambda text: None),
        Handed(),
        ShareKey(0),
    )
    driver._handed = handed
    for _ in range(times):
        handed.todo.clear()
        handed.tries[key] += 1
        driver._again(key, code, "said")
    assert (key in handed.given_up, handed.todo == [key]) == (given_up, not given_up)


# ---- with a real scheduler -------------------------------------------------------------------------------
class Cluster:
    """A scheduler, workers, and drivers whose shares wait until the test lets them go on."""

    def __init__(self, root: Path, shares: int) -> None:
        self.root = root
        (root / "at").mkdir()
        self.ledger = Ledger(str(root / "ledger"))
        self.ledger.make(Fleet("f" * 32, shares, {}))
        self.ledger.publish(Generation(1, "0" * 16, "plan", dict.fromkeys(range(shares), 1)))
        (root / "ledger" / "done").mkdir()
        self.night = Night(root / "night", cast(Rehearsal, None), self.ledger.where)
        self.night.env["PYTHONPATH"] = HELPERS  # a scheduler reads tasks, too
        self.night.start_scheduler()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.said: list[str] = []
        self.code: int | None = None

    def worker(self, name: str, places: int) -> None:
        """A worker with a thread more than places, as `join` starts it."""
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.night.address, "--name", name]
        command += [
            "--nthreads",
            str(places + 1),
            "--resources",
            f"{RESOURCE}={places}",
            "--memory-limit",
            "0",
        ]
        command += ["--no-nanny", "--no-dashboard", "--local-directory", str(self.root / name)]
        with (self.root / f"{name}.log").open("ab") as said:
            self.workers[name] = subprocess.Popen(
                command, env=environment(PYTHONPATH=HELPERS), cwd=self.root, stdout=said, stderr=said
            )

    def joined(self, running: int = 0) -> None:
        """Wait until the scheduler knows all of them, and that so many tasks run there."""
        from distributed import Client

        with Client(self.night.address, set_as_default=False) as dask:
            dask.wait_for_workers(len(self.workers), timeout=HANG_S)

            def told() -> int:
                there = machines(dask.scheduler_info(n_workers=-1)["workers"])
                return sum(machine.running for machine in there.values())

            until(lambda: told() >= running, HANG_S, f"for workers to tell of {running} tasks")

    def kill(self, name: str) -> None:
        worker = self.workers.pop(name)
        worker.kill()
        worker.wait()

    @contextlib.contextmanager
    def driver(self, **options: Any) -> Iterator[threading.Thread]:
        """A driver at work; it is stopped when the block ends."""
        stop = SignalEvent()
        driver = Driver(self.ledger, self.night.address, self.said.append, work=waiting, **options)
        thread = threading.Thread(target=lambda: setattr(self, "code", driver.run(stop)))
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            ends(thread, "the driver does not end")

    def at(self) -> Counter[str]:
        """How many shares each worker has begun."""
        return Counter(path.name.partition("@")[2] for path in (self.root / "at").iterdir())

    def begun(self, shares: int) -> Counter[str]:
        """Where they are, once so many shares have been begun."""
        until(
            lambda: self.at().total() >= shares,
            HANG_S,
            f"for {shares} shares to begin: {self.at()} {self.said}",
        )
        return self.at()

    def go(self) -> None:
        (self.root / "go").touch()

    def end(self) -> None:
        for name in list(self.workers):
            self.kill(name)
        self.night.__exit__()


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    found = Cluster(tmp_path, request.param)
    try:
        yield found
    finally:
        found.end()


@pytest.mark.parametrize("cluster", [5], indirect=True)
def test_no_share_waits_at_a_full_machine_while_another_has_a_place(cluster: Cluster) -> None:
    """By threads and expected times, Dask would give the small one of these two a second share."""
    cluster.worker("large", 4)
    cluster.worker("small", 1)
    cluster.joined()
    with cluster.driver() as driver:
        assert cluster.begun(5) == {"large": 4, "small": 1}
        cluster.go()
        ends(driver)
    assert cluster.code == 0, cluster.said


@pytest.mark.parametrize("cluster", [3], indirect=True)
def test_shares_are_handed_out_again_when_all_workers_have_died(cluster: Cluster) -> None:
    """They were tied to workers that never come again."""
    cluster.worker("first", 1)
    cluster.worker("second", 1)
    cluster.joined()
    with cluster.driver() as driver:
        cluster.begun(2)
        for name in ("first", "second"):
            cluster.kill(name)
        until(lambda: sum("has left" in line for line in cluster.said) == 2, HANG_S, "for both to be missed")
        cluster.worker("third", 3)
        assert cluster.begun(5)["third"] == 3
        cluster.go()
        ends(driver)
    assert cluster.code == 0, cluster.said


@pytest.mark.parametrize("cluster", [4], indirect=True)
def test_places_that_an_earlier_drivers_shares_have_are_not_free(cluster: Cluster) -> None:
    """They are begun, so they come last; the idle machine gets the others."""
    cluster.worker("full", 2)
    cluster.joined()
    with cluster.driver():
        cluster.begun(2)
    for number in range(2):
        cluster.ledger.put(names.beat(ShareKey(number)), b"{}")
    cluster.worker("idle", 2)
    cluster.joined(running=2)
    with cluster.driver() as driver:
        assert cluster.begun(4) == {"full": 2, "idle": 2}
        assert {path.name for path in (cluster.root / "at").glob("*@idle")} == {"00002@idle", "00003@idle"}
        cluster.go()
        ends(driver)
    assert cluster.code == 0, cluster.said


@pytest.mark.parametrize("cluster", [2], indirect=True)
def test_a_second_copy_is_begun_elsewhere(cluster: Cluster) -> None:
    """With --twice a share of a machine gets a copy on the other one, though its own has a place free."""
    cluster.worker("large", 3)
    cluster.worker("small", 1)
    cluster.joined()
    with cluster.driver(twice=True) as driver:
        assert cluster.begun(3) == {"large": 2, "small": 1}
        cluster.go()
        ends(driver)
    assert cluster.code == 0, cluster.said
